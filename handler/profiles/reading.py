"""The result of reading a text, a value with places or an error, and the limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ..messages.message import Message

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_DUPLICATES",
    "MAX_FILE_BYTES",
    "MAX_FILE_VALUES",
    "MAX_VALUES",
    "TOO_DEEP",
    "Location",
    "Path",
    "Place",
    "Position",
    "Reading",
    "TextError",
    "fraction",
    "integer",
    "location_of",
    "too_many",
]

Location = tuple[int | str, ...]
"""The path to a value: keys of objects and indexes of lists."""
Position = tuple[int, int]
"""Line and column, both from 1."""
Path = tuple[Any, int | str] | None
"""The path to a value while it is read: the path of its container, and its key in it."""

MAX_BYTES = 3 * 2**19
"""The most bytes of a text in UTF-8: etcd stores objects of up to about 1.5 MiB."""
MAX_FILE_BYTES = 8 * 2**20
"""The most bytes of a file. 10 000 namespaces, as printed by kubectl, have 5 MB."""
MAX_VALUES = 150_000
"""The most values of a text: 10 bytes for each in `MAX_BYTES`, fewer than a selector needs."""
MAX_FILE_VALUES = 500_000
"""The most values of a file."""
MAX_DEPTH = 100
MAX_DUPLICATES = 100

TOO_DEEP = Message("nested too deeply: more than {most} levels", most=MAX_DEPTH)

_LONGEST_INTEGER = 100  # characters; the time of int() grows with their square


class TextError(ValueError):
    """The text is neither JSON nor YAML; the message says where (line and column from 1)."""

    def __init__(self, message: Message, line: int, column: int, *, certain: bool = False) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.message = message
        self.certain = certain  # the message names the mistake, not only where reading stopped
        self.position: Position = (line, column)


@dataclass(slots=True)
class Place:
    """The position of a value, of its key, and the places of the values in it.

    ``literal``: it is a block after ``|``.
    """

    value: Position
    key: Position | None = None
    literal: bool = False
    inner: dict[int | str, Place] | None = None

    def find(self, location: Location) -> tuple[Place, bool]:
        """Return the place of a location, or of the nearest around it, and if it is exact."""
        place = self
        for part in location:
            inner = (place.inner or {}).get(part)
            if inner is None:
                return place, False
            place = inner
        return place, True


@dataclass(slots=True)
class Reading:
    """The value of a text, and the first 100 keys that an object has twice.

    ``place`` is set if it was requested. ``position`` is the beginning of the document.
    """

    value: Any
    duplicates: list[Location] = field(default_factory=list)
    place: Place | None = None
    position: Position = (1, 1)


def too_many(most: int) -> Message:
    """The error for a text with too many values."""
    return Message("too many values, the limit is {most}", most=most)


def location_of(path: Path) -> Location:
    """Return the location of a path."""
    parts: list[int | str] = []
    while path:
        path, part = path
        parts.append(part)
    return tuple(reversed(parts))


def integer(text: str) -> int | Decimal | float:
    """Read an integer; a very long one becomes a Decimal."""
    return int(text) if len(text) <= _LONGEST_INTEGER else fraction(text)


def fraction(text: str) -> Decimal | float:
    """Read a number with a fraction as a Decimal, which keeps how it was written."""
    try:
        return Decimal(text)
    except ArithmeticError:  # an exponent beyond what a Decimal holds
        return float(text)
