"""Reads what an administrator wrote in a ConfigMap: JSON, JSON with comments and tabs, or YAML.

Scalars mean what they mean in JSON: only ``true``, ``false``, ``null`` and decimal numbers are
not text, so YAML 1.1's ``yes``, ``0x10`` and ``2024-01-01`` stay as written. Numbers with a
fraction are Decimals, since those remember how they were written.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import yaml

__all__ = [
    "Location",
    "Place",
    "Position",
    "Reading",
    "TextError",
    "locate",
    "nearest",
    "read",
    "read_documents",
]

Location = tuple[int | str, ...]
"""The way to a value: keys of objects and indexes of lists."""
Position = tuple[int, int]
"""Line and column, both from 1."""

_Duplicates = tuple[dict[str, Any], list[str]]  # an object, and the keys it gives twice

# The C parser recurses for a whole tree, and a deep one ends the process. Its events do not.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_DEPTH = 100

_STRING_COMMENT_OR_TAB = re.compile(
    r""" "(?:[^"\\]|\\.)*" | '(?:[^']|'')*' | (?<![^\s,:\[\]{}"'])\#[^\n]* | \t """,
    re.VERBOSE | re.DOTALL,
)
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
# The C parser doesn't take the halves of a surrogate pair, which JSON writes as two escapes.
_SURROGATE = re.compile(r"(?<!\\)((?:\\\\)*)\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FRACTION = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


class TextError(ValueError):
    """The text is neither JSON nor YAML; the message says where (line and column from 1)."""

    def __init__(self, message: str, line: int, column: int, *, certain: bool = False) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.message = message
        self.certain = certain  # says what was meant, not only where reading stopped
        self.position: Position = (line, column)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value begins, and its key if it has one. ``literal``: it is a block after ``|``."""

    value: Position
    key: Position | None = None
    literal: bool = False


@dataclass(slots=True)
class Reading:
    """The value that a text holds, and the keys which one of its objects gives twice.

    ``places`` are there if they were asked for.
    """

    value: Any
    duplicates: list[Location] = field(default_factory=list)
    places: dict[Location, Place] | None = None


def read(text: str) -> Reading:
    """Read one value. Text without any, such as only comments, is None.

    Raises TextError.
    """
    try:
        return _read_json(text)
    except TextError as error:
        json_error = error
    if text.lstrip().startswith(("[", "{", "#")):
        text = _STRING_COMMENT_OR_TAB.sub(_blank, text)
        try:
            return _read_json(text)
        except TextError as error:
            json_error = error
    try:
        documents = list(read_documents(text))
    except TextError as yaml_error:
        # The parser that came further has understood more of what was meant.
        raise max(json_error, yaml_error, key=lambda e: (e.certain, e.position)) from None
    if len(documents) > 1:
        raise TextError("a second YAML document; write one only", 1, 1)
    return documents[0] if documents else Reading(None)


def locate(text: str) -> Mapping[Location, Place]:
    """Where the values stand in a text that `read` takes. Takes longer than reading it.

    What is under a key with an escaped surrogate pair has none; nor, rarely, has a whole text.
    """
    if text.lstrip().startswith(("[", "{", "#")):
        text = _STRING_COMMENT_OR_TAB.sub(_blank, text)
    text = _SURROGATE.sub(r"\1\\u0020", text)
    try:
        return next(read_documents(text, places=True), Reading(None)).places or {}
    except TextError:  # JSON that isn't YAML, such as a line break before a colon
        return {}


def nearest(places: Mapping[Location, Place], location: Location) -> Place:
    """The place of what is at a location, or of the nearest thing around it."""
    while location and location not in places:
        location = location[:-1]
    return places.get(location, Place((1, 1)))


def read_documents(text: str, *, places: bool = False) -> Iterator[Reading]:
    """Read each document of a YAML stream, with the places of its values if they are asked for.

    Raises TextError.
    """
    try:
        events = yaml.parse(text, Loader=_LOADER)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                reading = Reading(None, places={} if places else None)
                reading.value = _value(next(events), events, reading, ())
                yield reading
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        lines = text.splitlines() or [""]
        if line > len(lines):  # the parser sees the end of the text as a line of its own
            line, column = len(lines), len(lines[-1]) + 1
        raise TextError(error.problem or "not YAML", line, column) from None
    except yaml.YAMLError as error:  # a character that YAML forbids
        raise TextError(" ".join(str(error).split()), 1, 1) from None


def _blank(match: re.Match[str]) -> str:
    found = match.group()
    return found if found[0] in "\"'" else " " * len(found)


def _read_json(text: str) -> Reading:
    reading = Reading(None)
    duplicates: dict[int, _Duplicates] = {}  # by the identity of the object

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            duplicates[id(fields)] = fields, [key for key in fields if counts[key] > 1]
        return fields

    try:
        reading.value = json.loads(text, object_pairs_hook=unique, parse_float=_fraction)
        if duplicates:
            reading.duplicates += _found(duplicates, reading.value, ())
    except json.JSONDecodeError as error:
        raise TextError(error.msg, error.lineno, error.colno) from None
    except RecursionError:
        raise TextError("nested too deeply", 1, 1) from None
    except ValueError:  # more digits than Python converts
        raise TextError("a number with too many digits", 1, 1) from None
    return reading


def _found(duplicates: Mapping[int, _Duplicates], value: Any, at: Location) -> Iterator[Location]:
    """Where the objects with duplicate keys are; one that was itself overwritten is nowhere."""
    if isinstance(value, dict):
        if id(value) in duplicates:
            for key in duplicates[id(value)][1]:
                yield (*at, key)
        for key, item in value.items():
            yield from _found(duplicates, item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _found(duplicates, item, (*at, index))


def _check_supported(event: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _error("nested too deeply", event)
    if isinstance(event, yaml.AliasEvent) or event.anchor:
        raise _error("anchors and aliases (& and *) are not supported; write the value out", event)
    if event.tag not in _TAGS:
        raise _error(f"the tag {event.tag} is not supported", event)


def _value(
    event: Any, events: Iterator[Any], reading: Reading, at: Location, key: Any = None
) -> Any:
    _check_supported(event, len(at))
    if reading.places is not None:
        literal = isinstance(event, yaml.ScalarEvent) and event.style == "|"
        reading.places[at] = Place(_position(event), key and _position(key), literal)
    match event:
        case yaml.ScalarEvent():
            return _scalar(event)
        case yaml.SequenceStartEvent():
            items: list[Any] = []
            while not isinstance(event := next(events), yaml.SequenceEndEvent):
                items.append(_value(event, events, reading, (*at, len(items))))
            return items
        case _:
            fields: dict[str, Any] = {}
            while not isinstance(event := next(events), yaml.MappingEndEvent):
                if not isinstance(event, yaml.ScalarEvent):
                    raise _error("a key must be text", event)
                way = (*at, event.value)
                if event.value in fields and way not in reading.duplicates:
                    reading.duplicates.append(way)
                fields[event.value] = _value(next(events), events, reading, way, event)
            return fields


def _scalar(event: Any) -> Any:
    text: str = event.value
    if not event.implicit[0]:  # quoted, or with a tag
        return text
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text) and len(text) < 100:
        return int(text)
    if text[-1].isdigit() and _FRACTION.fullmatch(text):
        return _fraction(text)
    return text


def _fraction(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except ArithmeticError:  # an exponent beyond what a Decimal holds
        return float(text)


def _position(event: Any) -> Position:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _error(message: str, event: Any) -> TextError:
    return TextError(message, *_position(event), certain=True)
