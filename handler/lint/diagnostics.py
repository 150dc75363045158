"""The errors or warnings of a profile, with positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from ..messages.message import Message
from ..profiles.parse import ProfileError, parse
from ..profiles.problems import Problem, problem
from ..profiles.text import Place, Position, locate
from .lint import lint

__all__ = ["Diagnostic", "examine"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A problem and its position in the text of the key that it is in (``problem.root``)."""

    severity: Literal["error", "warning"]
    problem: Problem
    position: Position


def examine(
    data: Mapping[str, object] | None, cluster: tuple[int, int] | None = None
) -> list[Diagnostic]:
    """Return the errors in the data of a ConfigMap, or the warnings if there are none.

    In the order of the text; at most 100 errors. ``cluster`` is as in `lint`.
    """
    severity: Literal["error", "warning"]
    try:
        severity, problems = "warning", lint(parse(data), cluster)
    except ProfileError as error:
        severity, problems = "error", list(error.problems)
        if more := error.count - len(problems):
            message = Message("there are {count} more errors; fix these first", count=more)
            problems.append(problem(problems[-1].root, None, (), message))

    @cache
    def place(root: str) -> Place:
        text = (data or {}).get(root)
        return locate(text) if isinstance(text, str) else Place((1, 1))

    diagnostics = [
        Diagnostic(severity, each, each.position or _position(each, place(each.root)))
        for each in problems
    ]
    if severity == "warning":  # errors are already in the order of the text
        diagnostics.sort(key=lambda each: (each.problem.root, each.position))
    return diagnostics


def _position(problem: Problem, whole: Place) -> Position:
    """Return the position of a problem, or of the nearest value around it."""
    place, exact = whole.find(problem.location)
    if problem.at_key and exact:
        return place.key or place.value
    return place.value
