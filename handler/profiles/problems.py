"""Problems in what an administrator wrote: one sentence with place, value and remedy."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..messages.message import Language, Message, Quoted, message_of, translated
from .mistakes import FULL_WIDTH
from .text import Location, Position, TextError

__all__ = [
    "MAX_PROBLEMS",
    "Problem",
    "Problems",
    "either",
    "in_order",
    "not_text",
    "problem",
    "problems_of",
    "show",
    "unreadable",
]

MAX_PROBLEMS = 100
"""How many problems are reported; others are only counted. A wrong text may have thousands."""

_SHOWN = 60
_QUOTED = re.compile(r"'[^']*'")
# Fields of the CRD form (460223), which some paste.
_OF_THE_CRD = {"objectLabels": "objectSelector", "namespaceLabels": "namespaceSelector"}
_WITHOUT_COUNTERPART = "namespaceResourceLimit"
_MAPS = frozenset(("annotations", "labels", "matchLabels", "nodeSelector"))


@dataclass(frozen=True, slots=True)
class Problem:
    """An error or a warning, and its location.

    ``location`` is the path in the value of the key ``root``; ``at_key``: it is about the last key
    of the path, not about its value. ``position`` is set if the text itself is invalid.
    """

    root: str
    location: Location
    path: str
    message: Message
    at_key: bool = False
    position: Position | None = None

    def __str__(self) -> str:
        return self.told("en")

    def told(self, language: Language) -> str:
        """Return the path and the message in a language."""
        message = self.message
        if self.position:
            line, column = self.position
            message = Message(
                "line {line}, column {column}: {message}", line=line, column=column, message=message
            )
        return f"{self.path}: {translated(message, language)}"


@dataclass(slots=True)
class Problems:
    """The first problems, and the number of all."""

    first: list[Problem] = field(default_factory=list)
    count: int = 0

    @property
    def full(self) -> bool:
        """Whether further problems are only counted."""
        return len(self.first) >= MAX_PROBLEMS

    def add(self, found: Sequence[Problem], count: int | None = None) -> None:
        """Add problems in order. ``count``: the number of all, if these are not all."""
        self.first += found[: MAX_PROBLEMS - len(self.first)]
        self.count += len(found) if count is None else count

    def extend(self, others: Problems) -> None:
        """Add those of another part."""
        self.add(others.first, others.count)


def problem(
    root: str, value: Any, location: Location, message: Message, *, at_key: bool = False
) -> Problem:
    """Return a problem at a location in the value of the key ``root``."""
    return Problem(root, location, _path(root, value, location), message, at_key)


def unreadable(root: str, error: TextError) -> Problem:
    """Return the problem of an invalid text."""
    return Problem(root, (), root, error.message, position=error.position)


def problems_of(
    error: ValidationError,
    root: str,
    value: Any,
    at: Location,
    fields: Callable[[Location], Sequence[str]],
) -> Iterator[Problem]:
    """Return all problems of a validation error.

    It is about the value at a location. ``fields`` returns the fields that an object may have.
    """
    for details in error.errors(include_url=False):
        location = (*at, *(part for part in details["loc"] if part != "[key]"))
        at_key = "[key]" in details["loc"] or details["type"] == "unexpected_keyword_argument"
        message = _message(details, location, fields)
        yield problem(root, value, location, message, at_key=at_key)


def in_order(problems: Iterable[Problem], value: Any) -> list[Problem]:
    """Sort the problems by their order in the value.

    A missing field counts as at the beginning of its object.
    """
    ranks: dict[int, dict[str, int]] = {}  # of the keys of an object, by its id()

    def place(problem: Problem) -> list[int]:
        at, places = value, []
        for part in problem.location:
            if isinstance(at, dict):
                if id(at) not in ranks:
                    ranks[id(at)] = {key: rank for rank, key in enumerate(at)}
                places.append(ranks[id(at)].get(str(part), -1))
                at = at.get(part)
            else:
                places.append(int(part))
                at = at[int(part)]
        return places

    return sorted(problems, key=place)


def show(value: Any) -> str:
    """Return the value in JSON, shortened."""
    match value:
        case dict():
            return Message("an object")
        case list():
            return Message("a list")
        case Decimal():
            text = str(value)
        case _:
            text = json.dumps(value, ensure_ascii=False)
            text = text.encode(errors="backslashreplace").decode()  # an unpaired surrogate
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def either(choices: Sequence[str]) -> Message:
    """One of several, as a part of a sentence."""
    *others, last = choices
    return Message("{others} or {last}", others=tuple(others), last=last)


def _path(root: str, value: Any, location: Location) -> str:
    path, parent = root, ""
    for depth, part in enumerate(location):
        if isinstance(part, int):
            path += f"[{part}]"
            name = value[part].get("name") if depth == 0 and isinstance(value[part], dict) else None
            if name and isinstance(name, str):
                path += f" {show(name)}"
        elif parent in _MAPS or not part.isalnum() or len(part) > _SHOWN:
            path += f"[{show(part)}]"
        else:
            path += f": {part}" if depth == 1 and isinstance(location[0], int) else f".{part}"
        parent = str(part)
    return path


def _message(
    details: ErrorDetails, location: Location, fields: Callable[[Location], Sequence[str]]
) -> Message:
    value = details["input"]
    match details["type"]:
        case "string_type":
            return not_text(value)
        case "int_type":
            if isinstance(value, Decimal) and str(value).lstrip("-").isdigit():
                return Message("is too large, got {value}", value=show(value))
            return Message("must be an integer, got {value}", value=show(value))
        case "list_type":
            return Message("must be a list, got {value}", value=show(value))
        case "dict_type" | "dataclass_type":
            return Message("must be an object, got {value}", value=show(value))
        case "missing":
            return Message("is required")
        case "literal_error":
            expected = either(_QUOTED.findall(details["ctx"]["expected"]))
            return Message("must be {expected}, got {value}", expected=expected, value=show(value))
        case "unexpected_keyword_argument":
            return _unknown(str(location[-1]), fields(location[:-1]))
        case "value_error":
            return _got(message_of(details["ctx"]["error"]), value)
        case _:
            return _got(Quoted(details["msg"]), value)


def _got(message: Message, value: Any) -> Message:
    if value is None or isinstance(value, (dict, list)):
        return message
    return Message("{problem}, got {value}", problem=message, value=show(value))


def not_text(value: Any) -> Message:
    """Say what is wrong with a value that should be a string, and how to write it."""
    if value is None:
        return Message('must be a string, got null; write "" or remove it')
    if isinstance(value, (dict, list)):
        return Message("must be a string, got {value}", value=show(value))
    return Message('must be a string, got {value}; write "{value}"', value=show(value))


def _unknown(name: str, known: Sequence[str]) -> Message:
    if (ours := _OF_THE_CRD.get(name)) in known:
        return Message(
            "unknown field, in a profile it is {ours}; to convert Selector objects, run python -m"
            " handler convert",
            ours=ours or "",
        )
    if name == _WITHOUT_COUNTERPART:
        return Message("unknown field; it has no counterpart in a profile")
    half = "".join(character for character in name[:_SHOWN] if character not in FULL_WIDTH)
    if half != name[:_SHOWN]:
        if half in known:
            return Message(
                "unknown field, it has full-width punctuation, did you mean {meant}?", meant=half
            )
        return Message("unknown field, it has full-width punctuation")
    lowered = {field.lower(): field for field in known}
    # The comparison takes time in proportion to both lengths.
    close = difflib.get_close_matches(name.lower(), lowered, n=1) if len(name) <= _SHOWN else None
    if close:
        return Message("unknown field, did you mean {meant}?", meant=lowered[close[0]])
    if not known:
        return Message("unknown field; no fields are allowed here")
    return Message("unknown field; known fields are {known}", known=tuple(known))
