"""What bounds the work on what others write: a row for each loop, regex and recursion over it.

Twice the input may take three times the time at most, and memory as many times the input as the
row says. To add to the table, append a `Row`: its name, what bounds it, how an input of about
``size`` bytes is made, and what is done with it.
"""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from handler.profile import ProfileError, parse
from handler.text import TextError, locate, read, read_documents

FLOOR = 0.004  # seconds: what is faster is not told apart from noise
GROWTH = 3.0


@dataclass(frozen=True)
class Row:
    """``make`` gives an input of about so many bytes; ``memory``: at most so many times that."""

    name: str
    bound: str
    make: Callable[[int], Any]
    run: Callable[[Any], object]
    memory: float = 8.0
    size: int = 2**16


def refused(run: Callable[[Any], object], *errors: type[Exception]) -> Callable[[Any], None]:
    """The same, where the input may be refused."""

    def quiet(given: Any) -> None:
        with contextlib.suppress(*errors):
            run(given)

    return quiet


def repeated(unit: str, before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda size: before + unit * (size // len(unit.encode())) + after


def numbered(unit: str, before: str = "", after: str = "") -> Callable[[int], str]:
    """The unit again and again, with a number in place of its ``%d``."""

    def make(size: int) -> str:
        count = size // (len(unit) + 3)
        return before + "".join(unit % number for number in range(count)) + after

    return make


reading = refused(read, TextError)
parsing = refused(lambda text: parse({"selectors": text}), ProfileError)
documents = refused(lambda text: [None for _ in read_documents(text)], TextError)

TEXT = [
    Row("escaped quotes", "one pass over marks", repeated('\\"', '["'), reading),
    Row("escaped quotes after a comment", "one pass over marks", repeated('\\"', '#\n"'), reading),
    Row("quotes", "one pass over marks", repeated('"', "["), reading),
    Row("single quotes", "one pass over marks", repeated("'", "["), reading),
    Row("pairs of quotes", "one pass over marks", repeated("''", "["), reading),
    Row("comments", "one pass over marks", repeated("#\n", "[", "]"), reading),
    Row(
        "comments before a list",
        "one pass over marks",
        repeated("# c\n", "", "- a: ["),
        reading,
        memory=16,
    ),
    Row("a comment without end", "one pass over marks", repeated("#", "["), reading),
    Row("tabs", "one pass over marks", repeated("\t", "[", "x"), reading),
    Row("backslashes", "one pass over marks", repeated("\\", "["), reading),
    Row("blanks", "json's own scanner", repeated(" "), reading),
    Row("line breaks", "the YAML parser", repeated("\n"), reading),
    Row(
        "line breaks before an error", "one pass over line breaks", repeated("\n", "[", ""), reading
    ),
    Row("digits", "an int has 100 digits at most", repeated("9", "[", "]"), reading),
    Row("digits in YAML", "an int has 100 digits at most", repeated("9", "- "), reading),
    Row("digits of a fraction", "Decimal is linear", repeated("9", "- 1."), reading),
    Row(
        "digits and a letter",
        "no part of the regex can stand for another",
        repeated("9", "- ", "x9"),
        reading,
    ),
    Row(
        "digits of an exponent", "Decimal and float are linear", repeated("9", "[1e", "]"), reading
    ),
    Row("a long plain text", "the YAML parser", repeated("a "), reading),
    Row("a block", "the YAML parser", repeated("a\n ", "a: |\n "), reading),
    Row("values of a list", "MAX_VALUES", repeated("1,", "[", "1]"), reading, memory=40),
    Row("values of a list in YAML", "MAX_VALUES", repeated("a,", "[", "]"), reading, memory=64),
    Row("lists in a list", "MAX_VALUES", repeated("[],", "[", "[]]"), reading, memory=48),
    Row("lists in a list in YAML", "MAX_VALUES", repeated("[],", "[", "a]"), reading, memory=64),
    Row("objects", "MAX_VALUES", repeated("{},", "[", "{}]"), reading, memory=64),
    Row("nested lists", "MAX_DEPTH", repeated("["), reading),
    Row(
        "nested lists that end",
        "MAX_DEPTH",
        lambda size: "[" * (size // 2) + "]" * (size // 2),
        reading,
        memory=80,
    ),
    Row("nested lists in YAML", "MAX_DEPTH", repeated("- "), reading),
    Row("nested objects", "MAX_DEPTH", repeated('{"a":'), reading, memory=80),
    Row(
        "nested to the limit",
        "MAX_DEPTH",
        repeated("[" * 90 + "]" * 90 + ",", "[", "0]"),
        reading,
        memory=48,
    ),
    Row(
        "nested to the limit in YAML",
        "MAX_DEPTH",
        repeated("[" * 90 + "]" * 90 + ",", "[", "a]"),
        reading,
        memory=64,
    ),
    Row("keys", "a dict", numbered('"%d":1,', "{", '"a":1}'), reading, memory=64),
    Row(
        "a key given again and again",
        "a Counter",
        repeated('"a":1,', "{", '"a":1}'),
        reading,
        memory=64,
    ),
    Row(
        "keys given twice",
        "a Counter for each object",
        repeated('{"a":1,"a":1},', "[", "{}]"),
        reading,
        memory=64,
    ),
    Row(
        "keys given twice in YAML",
        "a set for each object",
        numbered("{a%d: 1, b: 1, b: 1},", "[", "]"),
        reading,
        memory=64,
    ),
    Row(
        "a key given again and again in YAML", "a set for each object", repeated("a: 1\n"), reading
    ),
    Row(
        "keys given twice, each once",
        "a set for each object",
        lambda size: numbered("a%d: 1\n")(size // 2) * 2,
        reading,
        memory=64,
    ),
    Row("documents", "reading stops at the second", repeated("---\n"), reading),
    Row("documents of a stream", "each is let go", repeated("--- a\n"), documents),
    Row("objects of a stream", "each is let go", repeated("a: [b]\n---\n"), documents),
    Row("anchors", "reading stops at the first", repeated("- &a b\n"), reading),
    Row("tags", "reading stops at the first", repeated("!a", "- "), reading),
    Row("questions", "reading stops at the first", repeated("? "), reading),
    Row("places of values", "MAX_VALUES", repeated("a,", "[", "]"), locate, memory=160),
    Row(
        "places of nested values",
        "a place holds those in it",
        repeated("[" * 90 + "]" * 90 + ",", "[", "a]"),
        locate,
        memory=240,
    ),
    Row("places with surrogates", "one pass over escapes", repeated("\\ud83d", '["', '"]'), locate),
    Row("places with backslashes", "one pass over escapes", repeated("\\\\", '["', '"]'), locate),
]

TABLE = [*TEXT]


def seconds(run: Callable[[Any], object], given: Any) -> float:
    began = time.thread_time()
    run(given)
    return time.thread_time() - began


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_twice_the_input_takes_twice_the_time(row: Row) -> None:
    once, twice = row.make(row.size), row.make(2 * row.size)
    for _ in range(5):  # what disturbs one run doesn't disturb all
        first = min(seconds(row.run, once) for _ in range(3))
        second = min(seconds(row.run, twice) for _ in range(2))
        if second <= GROWTH * max(first, FLOOR):
            return
    raise AssertionError(f"{first:.4f} s for {row.size} bytes, {second:.4f} s for twice as many")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_memory_is_a_multiple_of_the_input(row: Row) -> None:
    given = row.make(row.size)
    tracemalloc.start()
    try:
        row.run(given)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= row.memory * row.size, f"{peak / row.size:.1f} times the input"
