"""Reads JSON, and finds keys that an object has twice."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from ..messages.message import Quoted
from .reading import (
    MAX_DEPTH,
    MAX_DUPLICATES,
    MAX_VALUES,
    TOO_DEEP,
    Location,
    Path,
    Reading,
    TextError,
    fraction,
    integer,
    location_of,
    too_many,
)

__all__ = ["read_json"]

_Duplicates = tuple[dict[str, Any], list[str]]  # an object, and the keys it gives twice


def read_json(text: str) -> Reading:
    """Read one value. Raises TextError."""
    duplicates: dict[int, _Duplicates] = {}  # by the id() of the object

    # Called for each object, which also lets other threads run while the text is read.
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs) and len(duplicates) < MAX_DUPLICATES:
            counts = Counter(key for key, _ in pairs)
            duplicates[id(fields)] = fields, [key for key in fields if counts[key] > 1]
        return fields

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_int=integer, parse_float=fraction)
    except json.JSONDecodeError as error:
        raise TextError(Quoted(error.msg), error.lineno, error.colno) from None
    except RecursionError:
        raise TextError(TOO_DEEP, 1, 1, certain=True) from None
    _check_size(value)
    reading = Reading(value)
    if duplicates:
        reading.duplicates += _found(duplicates, value)
    return reading


def _check_size(value: Any) -> None:
    """Refuse a value with too many values or levels. Iterates by level instead of recursing."""
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
            raise TextError(too_many(MAX_VALUES), 1, 1, certain=True)
        level = inner
    if level:
        raise TextError(TOO_DEEP, 1, 1, certain=True)


def _found(duplicates: dict[int, _Duplicates], value: Any) -> list[Location]:
    """Return the locations of objects with duplicate keys, except overwritten ones."""
    found: list[Location] = []
    waiting: list[tuple[Path, Any]] = [(None, value)]
    while waiting and len(found) < MAX_DUPLICATES:
        path, each = waiting.pop()
        if isinstance(each, dict):
            twice = duplicates.get(id(each))
            found += (location_of((path, key)) for key in (twice[1] if twice else ()))
            inner = [((path, key), item) for key, item in each.items()]
        else:
            inner = [((path, index), item) for index, item in enumerate(each)]
        waiting += [entry for entry in reversed(inner) if isinstance(entry[1], (dict, list))]
    return found[:MAX_DUPLICATES]
