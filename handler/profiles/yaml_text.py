"""Reads YAML from the events of its parser, with the places of values if requested."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from ..messages.message import Message, Quoted
from .reading import (
    MAX_DEPTH,
    MAX_DUPLICATES,
    TOO_DEEP,
    Path,
    Place,
    Position,
    Reading,
    TextError,
    fraction,
    integer,
    location_of,
    too_many,
)

__all__ = ["read_yaml"]

# The C parser recurses to build a tree, and a deep one crashes the process. Events do not.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

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


def read_yaml(text: str, most: int, *, places: bool = False) -> Iterator[Reading]:
    """Read each document of a stream, with the places of its values if requested.

    Raises TextError, also for more than ``most`` values in total.
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
        if line > last:  # to the parser, the end of the text is on a new line
            line, column = last, end
        problem: Message = Quoted(error.problem) if error.problem else Message("not YAML")
        if "nesting" in problem:  # some versions of the parser have a limit too
            problem = Message("nested too deeply")
        raise TextError(problem, line, column) from None
    except yaml.YAMLError as error:  # a character that is not allowed in YAML
        raise TextError(Quoted(" ".join(str(error).split())), 1, 1) from None
    except UnicodeEncodeError:
        raise TextError(Message("an unpaired surrogate"), 1, 1) from None


class _Builder:
    """Builds values from the events of the parser. It recurses, so depth is limited."""

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
        self, event: Any, reading: Reading, place: Place | None, path: Path, depth: int
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
        self, reading: Reading, place: Place | None, path: Path, depth: int
    ) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        twice: set[str] = set()
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _error(Message("a key must be text"), event)
            key: str = event.value
            if key in fields and key not in twice and len(reading.duplicates) < MAX_DUPLICATES:
                twice.add(key)
                reading.duplicates.append(location_of((path, key)))
            value = next(self._events)
            inner = place and _placed(place, key, value, event)
            fields[key] = self._value(value, reading, inner, (path, key), depth + 1)
        return fields

    def _check(self, event: Any, depth: int) -> None:
        self._count += 1
        if self._count > self._most:
            raise _error(too_many(self._most), event)
        if depth > MAX_DEPTH:
            raise _error(TOO_DEEP, event)
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            message = Message(
                "anchors and aliases (& and *) are not supported; write the value out"
            )
            raise _error(message, event)
        if event.tag not in _TAGS:
            tag = event.tag if len(event.tag) <= 60 else f"{event.tag[:57]}..."
            raise _error(Message("the tag {tag} is not supported", tag=tag), event)


def _placed(place: Place, part: int | str, event: Any, key: Any = None) -> Place:
    literal = isinstance(event, yaml.ScalarEvent) and event.style == "|"
    inner = Place(_position(event), key and _position(key), literal)
    if place.inner is None:
        place.inner = {}
    place.inner[part] = inner
    return inner


def _scalar(event: Any) -> Any:
    text: str = event.value
    if not event.implicit[0]:  # quoted, or with a tag
        return text
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return integer(text)
    if text[-1].isdigit() and _FRACTION.fullmatch(text):
        return fraction(text)
    return text


def _position(event: Any) -> Position:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _end(text: str) -> Position:
    """Return the position after the last character, without line breaks at the end."""
    line, begin, length = 1, 0, len(text)
    for found in re.finditer(r"\r\n|[\n\r\x85\u2028\u2029]", text):
        if found.end() == length:
            length = found.start()
        else:
            line, begin = line + 1, found.end()
    return line, length - begin + 1


def _error(message: Message, event: Any) -> TextError:
    return TextError(message, *_position(event), certain=True)
