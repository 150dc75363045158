"""What reading a text gives, a value with places or an error, and how much is read."""

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
"""The path to a value while it is read: the path to what holds it, and its key there."""

MAX_BYTES = 3 * 2**19
"""The most bytes of UTF-8 that a text may have: etcd takes no object beyond 1.5 MiB."""
MAX_FILE_BYTES = 8 * 2**20
"""The most bytes of a file. 10 000 namespaces as kubectl writes them have 5 MB."""
MAX_VALUES = 150_000
"""The most values of a text: 10 bytes for each in `MAX_BYTES`, fewer than a selector needs."""
MAX_FILE_VALUES = 500_000
"""The most values of a file."""
MAX_DEPTH = 100
MAX_DUPLICATES = 100

TOO_DEEP = Message("nested too deeply: more than {most} levels", most=MAX_DEPTH)

_LONGEST_INTEGER = 100  # characters; the time that int() takes grows with their square


class TextError(ValueError):
    """The text is neither JSON nor YAML; the message says where (line and column from 1)."""

    def __init__(self, message: Message, line: int, column: int, *, certain: bool = False) -> None:
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


def too_many(most: int) -> Message:
    """What is wrong with a text of more values than this."""
    return Message("more than {most} values, which is more than is read", most=most)


def location_of(path: Path) -> Location:
    """The location that a path leads to."""
    parts: list[int | str] = []
    while path:
        path, part = path
        parts.append(part)
    return tuple(reversed(parts))


def integer(text: str) -> int | Decimal | float:
    """A whole number; a very long one is a Decimal."""
    return int(text) if len(text) <= _LONGEST_INTEGER else fraction(text)


def fraction(text: str) -> Decimal | float:
    """A number with a fraction, as a Decimal, since that remembers how it was written."""
    try:
        return Decimal(text)
    except ArithmeticError:  # an exponent beyond what a Decimal holds
        return float(text)
