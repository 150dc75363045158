"""Replaces what a parser does not accept with blanks, so that positions stay the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

__all__ = ["end_of_string", "without_comments", "without_surrogates"]

# Each of these matches one or two characters, or repeats one class: none backtracks. A pattern for
# a whole string would, and needs 120 bytes for each character.
_MARK = re.compile(r"""["'\t]|(?<![^\s,:\[\]{}"'])\#""")
_IN_STRING = re.compile(r'["\\]')
_LINE_BREAK = re.compile(r"[\n\r\x85\u2028\u2029]")  # those that end a comment of YAML
_ESCAPE = re.compile(r"\\(?:(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL)


def without_comments(text: str) -> str:
    """Return the text with blanks for comments and tabs outside strings."""
    return _joined(_uncommented(text))


def _uncommented(text: str) -> Iterator[str]:
    copied = at = 0
    while mark := _MARK.search(text, at):
        start = mark.start()
        match text[start]:
            case '"':
                at = end_of_string(text, start + 1)
                continue
            case "'":
                at = text.find("'", start + 1) + 1 or len(text)
                continue
            case "#":
                end = _LINE_BREAK.search(text, start)
                at = end.start() if end else len(text)
            case _:
                at = start + 1
        yield text[copied:start]
        yield " " * (at - start)
        copied = at
    yield text[copied:]


def end_of_string(text: str, at: int) -> int:
    """Return the end of the string at this position; without a quote, the end of the text."""
    while found := _IN_STRING.search(text, at):
        if found.group() == '"':
            return found.end()
        at = found.end() + 1  # after the escaped character
    return len(text)


def without_surrogates(text: str) -> str:
    """Return the text with blanks for escaped surrogates.

    JSON writes a pair as two escapes, which the C parser of YAML does not accept.
    """
    return _joined(_unpaired(text))


def _unpaired(text: str) -> Iterator[str]:
    copied = 0
    for escape in _ESCAPE.finditer(text):
        if escape[1]:
            yield text[copied : escape.start()]
            yield "\\u0020"
            copied = escape.end()
    yield text[copied:]


def _joined(pieces: Iterator[str]) -> str:
    """Join the pieces group by group: a short string takes fifty times its length in memory."""
    groups = []
    while group := "".join(islice(pieces, 1000)):
        groups.append(group)
    return "".join(groups)
