"""Reads what an administrator wrote in a ConfigMap: JSON, JSON with comments and tabs, or YAML.

Scalars mean what they mean in JSON: only ``true``, ``false``, ``null`` and decimal numbers are
not text, so YAML 1.1's ``yes``, ``0x10`` and ``2024-01-01`` stay as written. Numbers with a
fraction are Decimals, since those remember how they were written.

Whoever may write the text can't make reading it dear: time and memory are linear in its size,
and a text has at most `MAX_BYTES` bytes, `MAX_VALUES` values and `MAX_DEPTH` levels.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any

import yaml

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_FILE_BYTES",
    "MAX_VALUES",
    "Location",
    "Place",
    "Position",
    "Reading",
    "TextError",
    "locate",
    "read",
    "read_documents",
    "too_large",
]

Location = tuple[int | str, ...]
"""The path to a value: keys of objects and indexes of lists."""
Position = tuple[int, int]
"""Line and column, both from 1."""

MAX_BYTES = 3 * 2**19
"""The most bytes of UTF-8 that a text may have: etcd takes no object beyond 1.5 MiB."""
MAX_FILE_BYTES = 8 * 2**20
"""The most bytes of a file. 10 000 namespaces as kubectl writes them have 5 MB."""
MAX_VALUES = 150_000
"""The most values of a text: 10 bytes for each in `MAX_BYTES`, fewer than a selector needs."""
MAX_DEPTH = 100
_MAX_FILE_VALUES = 500_000
_MAX_DUPLICATES = 100

_Path = tuple[Any, int | str] | None  # to a value: the path to what holds it, and its key there
_Duplicates = tuple[dict[str, Any], list[str]]  # an object, and the keys it gives twice

# The C parser recurses for a whole tree, and a deep one ends the process. Its events do not.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_BOM = "\ufeff"
# Each of these matches a character or two, or repeats one class that ends by itself: none goes
# back over what it has seen. A pattern of a whole string would, and keeps 120 bytes a character.
_MARK = re.compile(r"""["'\t]|(?<![^\s,:\[\]{}"'])\#""")
_IN_STRING = re.compile(r'["\\]')
_LINE_BREAK = re.compile(r"[\n\r\x85\u2028\u2029]")  # those that end a comment of YAML
_ESCAPE = re.compile(r"\\(?:(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL)

_TAGS = (None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")))
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEANS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FRACTION = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_LONGEST_INTEGER = 100  # characters; the time that int() takes grows with their square


class TextError(ValueError):
    """The text is neither JSON nor YAML; the message says where (line and column from 1)."""

    def __init__(self, message: str, line: int, column: int, *, certain: bool = False) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.message = message
        self.certain = certain  # says what was meant, not only where reading stopped
        self.position: Position = (line, column)


@dataclass(slots=True)
class Place:
    """Where a value begins, its key if it has one, and the places of what it holds.

    ``literal``: it is a block after ``|``.
    """

    value: Position
    key: Position | None = None
    literal: bool = False
    inner: dict[int | str, Place] | None = None

    def find(self, location: Location) -> tuple[Place, bool]:
        """The place of what is at a location in it, or of the nearest around; whether it is it."""
        place = self
        for part in location:
            inner = (place.inner or {}).get(part)
            if inner is None:
                return place, False
            place = inner
        return place, True


@dataclass(slots=True)
class Reading:
    """The value that a text holds, and the keys which one of its objects gives twice.

    Of the latter it has the first 100. ``place`` is there if it was asked for. ``position`` is
    where the document begins.
    """

    value: Any
    duplicates: list[Location] = field(default_factory=list)
    place: Place | None = None
    position: Position = (1, 1)


def too_large(text: str) -> int | None:
    """The bytes of a text that has more than a ConfigMap can hold, else None."""
    if 4 * len(text) <= MAX_BYTES:
        return None
    size = len(text) if len(text) > MAX_BYTES else len(text.encode("utf-8", "surrogatepass"))
    return size if size > MAX_BYTES else None


def read(text: str) -> Reading:
    """Read one value. Text without any, such as only comments, is None.

    Raises TextError.
    """
    errors = []
    for attempt, variant in _attempts(text.removeprefix(_BOM)):
        found = _tried(attempt, variant)
        if isinstance(found, Reading):
            return found
        errors.append(found)
    # The parser that came further has understood more of what was meant.
    raise max(errors, key=lambda error: error.position)


def locate(text: str) -> Place:
    """Where the values stand in a text that `read` takes: the place of the whole.

    It holds nothing under a key with an escaped surrogate pair, nor, rarely, in a whole text.
    """
    text = text.removeprefix(_BOM)
    if too_large(text) is None:
        for attempt, variant in _attempts(text):
            if attempt is _read_yaml:
                with contextlib.suppress(TextError):  # JSON that isn't YAML: a break before a colon
                    reading = _read_yaml(_without_surrogates(variant), places=True)
                    return reading.place or Place((1, 1))
    return Place((1, 1))


def read_documents(
    text: str, *, places: bool = False, most: int = _MAX_FILE_VALUES
) -> Iterator[Reading]:
    """Read each document of a YAML stream, with the places of its values if they are asked for.

    Raises TextError, also for more than ``most`` values in all.
    """
    try:
        events = yaml.parse(text, Loader=_LOADER)
        builder = _Builder(events, most, places)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                yield builder.document(_position(event))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        last, end = _end(text)
        if line > last:  # the parser sees the end of the text as a line of its own
            line, column = last, end
        problem = error.problem or "not YAML"
        if "nesting" in problem:  # the parser has a limit of its own, by version
            problem = "nested too deeply"
        raise TextError(problem, line, column) from None
    except yaml.YAMLError as error:  # a character that YAML forbids
        raise TextError(" ".join(str(error).split()), 1, 1) from None
    except UnicodeEncodeError:
        raise TextError("half a surrogate pair", 1, 1) from None


def _attempts(text: str) -> Iterator[tuple[Callable[[str], Reading], str]]:
    """The ways to read a text, in turn.

    Comments and tabs are taken out only for JSON, or where the text is no YAML with them: in
    YAML they may be part of a value. What is JSON without them, YAML reads as the same or not
    at all.
    """
    yield _read_json, text
    plain = text
    if text.lstrip().startswith(("[", "{", "#")):
        plain = _without_comments(text)
    if plain != text:
        yield _read_json, plain
    yield _read_yaml, text
    if plain != text:
        yield _read_yaml, plain


def _tried(attempt: Callable[[str], Reading], text: str) -> Reading | TextError:
    try:
        return attempt(text)
    except TextError as error:
        if error.certain:
            raise
        return error


def _without_comments(text: str) -> str:
    """The text with blanks for comments and tabs that are in no string, so all stays in place."""
    return _joined(_uncommented(text))


def _uncommented(text: str) -> Iterator[str]:
    copied = at = 0
    while mark := _MARK.search(text, at):
        start = mark.start()
        match text[start]:
            case '"':
                at = _end_of_string(text, start + 1)
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


def _end_of_string(text: str, at: int) -> int:
    """Where a string ends that goes on here; one that is never closed, at the end of the text."""
    while found := _IN_STRING.search(text, at):
        if found.group() == '"':
            return found.end()
        at = found.end() + 1  # after what is escaped
    return len(text)


def _without_surrogates(text: str) -> str:
    """The text with blanks for halves of surrogate pairs that are escaped.

    JSON writes them as two escapes, which the C parser of YAML doesn't take.
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
    """The pieces in one, joined group by group: a short string takes fifty times its length."""
    groups = []
    while group := "".join(islice(pieces, 1000)):
        groups.append(group)
    return "".join(groups)


def _read_json(text: str) -> Reading:
    duplicates: dict[int, _Duplicates] = {}  # by the identity of the object

    # Called for each object, it also lets other threads go on: one call reads all of the text.
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs) and len(duplicates) < _MAX_DUPLICATES:
            counts = Counter(key for key, _ in pairs)
            duplicates[id(fields)] = fields, [key for key in fields if counts[key] > 1]
        return fields

    try:
        value = json.loads(
            text, object_pairs_hook=unique, parse_int=_integer, parse_float=_fraction
        )
    except json.JSONDecodeError as error:
        raise TextError(error.msg, error.lineno, error.colno) from None
    except RecursionError:
        raise TextError(_TOO_DEEP, 1, 1, certain=True) from None
    _check_size(value)
    reading = Reading(value)
    if duplicates:
        reading.duplicates += _found(duplicates, value)
    return reading


def _read_yaml(text: str, *, places: bool = False) -> Reading:
    documents = read_documents(text, places=places, most=MAX_VALUES)
    reading = next(documents, Reading(None))
    if second := next(documents, None):
        message = "a second YAML document; write one only"
        raise TextError(message, *second.position, certain=True)
    return reading


def _check_size(value: Any) -> None:
    """Refuse what has too many values or levels. A level at a time, so it doesn't recurse."""
    count, level = 1, [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                count += len(each)
                inner.extend(each.values())
            elif isinstance(each, list):
                count += len(each)
                inner.extend(each)
        if count > MAX_VALUES:
            raise TextError(_too_many(MAX_VALUES), 1, 1, certain=True)
        level = inner
    if level:
        raise TextError(_TOO_DEEP, 1, 1, certain=True)


def _found(duplicates: dict[int, _Duplicates], value: Any) -> list[Location]:
    """Where the objects with duplicate keys are; one that was itself overwritten is nowhere."""
    found: list[Location] = []
    waiting: list[tuple[_Path, Any]] = [(None, value)]
    while waiting and len(found) < _MAX_DUPLICATES:
        path, each = waiting.pop()
        if isinstance(each, dict):
            twice = duplicates.get(id(each))
            found += (_location((path, key)) for key in (twice[1] if twice else ()))
            inner = [((path, key), item) for key, item in each.items()]
        else:
            inner = [((path, index), item) for index, item in enumerate(each)]
        waiting += [entry for entry in reversed(inner) if isinstance(entry[1], (dict, list))]
    return found[:_MAX_DUPLICATES]


class _Builder:
    """Makes values of the parser's events. It recurses, so depth is limited."""

    def __init__(self, events: Iterator[Any], most: int, places: bool) -> None:
        self._events = events
        self._most = most
        self._places = places
        self._count = 0

    def document(self, position: Position) -> Reading:
        event = next(self._events)
        place = Place(_position(event)) if self._places else None
        reading = Reading(None, place=place, position=position)
        reading.value = self._value(event, reading, place, None, 0)
        return reading

    def _value(
        self, event: Any, reading: Reading, place: Place | None, path: _Path, depth: int
    ) -> Any:
        self._check(event, depth)
        match event:
            case yaml.ScalarEvent():
                return _scalar(event)
            case yaml.SequenceStartEvent():
                items: list[Any] = []
                while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                    index = len(items)
                    inner = place and _placed(place, index, event)
                    items.append(self._value(event, reading, inner, (path, index), depth + 1))
                return items
            case _:
                return self._object(reading, place, path, depth)

    def _object(
        self, reading: Reading, place: Place | None, path: _Path, depth: int
    ) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        twice: set[str] = set()
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _error("a key must be text", event)
            key: str = event.value
            if key in fields and key not in twice and len(reading.duplicates) < _MAX_DUPLICATES:
                twice.add(key)
                reading.duplicates.append(_location((path, key)))
            value = next(self._events)
            inner = place and _placed(place, key, value, event)
            fields[key] = self._value(value, reading, inner, (path, key), depth + 1)
        return fields

    def _check(self, event: Any, depth: int) -> None:
        self._count += 1
        if self._count > self._most:
            raise _error(_too_many(self._most), event)
        if depth > MAX_DEPTH:
            raise _error(_TOO_DEEP, event)
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            message = "anchors and aliases (& and *) are not supported; write the value out"
            raise _error(message, event)
        if event.tag not in _TAGS:
            tag = event.tag if len(event.tag) <= 60 else f"{event.tag[:57]}..."
            raise _error(f"the tag {tag} is not supported", event)


_TOO_DEEP = f"nested too deeply: more than {MAX_DEPTH} levels"


def _too_many(most: int) -> str:
    return f"more than {most} values, which is more than is read"


def _placed(place: Place, part: int | str, event: Any, key: Any = None) -> Place:
    literal = isinstance(event, yaml.ScalarEvent) and event.style == "|"
    inner = Place(_position(event), key and _position(key), literal)
    if place.inner is None:
        place.inner = {}
    place.inner[part] = inner
    return inner


def _location(path: _Path) -> Location:
    parts: list[int | str] = []
    while path:
        path, part = path
        parts.append(part)
    return tuple(reversed(parts))


def _scalar(event: Any) -> Any:
    text: str = event.value
    if not event.implicit[0]:  # quoted, or with a tag
        return text
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if text[-1].isdigit() and _FRACTION.fullmatch(text):
        return _fraction(text)
    return text


def _integer(text: str) -> int | Decimal | float:
    return int(text) if len(text) <= _LONGEST_INTEGER else _fraction(text)


def _fraction(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except ArithmeticError:  # an exponent beyond what a Decimal holds
        return float(text)


def _position(event: Any) -> Position:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _end(text: str) -> Position:
    """The position after the last character that is no line break at the end."""
    line, begin, length = 1, 0, len(text)
    for found in re.finditer(r"\r\n|[\n\r\x85\u2028\u2029]", text):
        if found.end() == length:
            length = found.start()
        else:
            line, begin = line + 1, found.end()
    return line, length - begin + 1


def _error(message: str, event: Any) -> TextError:
    return TextError(message, *_position(event), certain=True)
