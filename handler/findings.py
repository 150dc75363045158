"""Everything to say about a profile as it is written: errors or doubts, each with its position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from .doubts import doubts
from .problems import Problem, problem
from .profile import ProfileError, parse
from .text import Place, Position, locate

__all__ = ["Finding", "examine"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem and its position in the text of the key that it is in (``problem.root``)."""

    severity: Literal["error", "warning"]
    problem: Problem
    position: Position


def examine(
    data: Mapping[str, object] | None, cluster: tuple[int, int] | None = None
) -> list[Finding]:
    """The errors in the data of a ConfigMap, or where it has none the doubts about it.

    In the order of the text; of errors the first 100. ``cluster`` is as in `doubts`.
    """
    severity: Literal["error", "warning"]
    try:
        severity, problems = "warning", doubts(parse(data), cluster)
    except ProfileError as error:
        severity, problems = "error", list(error.problems)
        if more := error.count - len(problems):
            message = f"there are {more} more errors; correct these first"
            problems.append(problem(problems[-1].root, None, (), message))

    @cache
    def place(root: str) -> Place:
        text = (data or {}).get(root)
        return locate(text) if isinstance(text, str) else Place((1, 1))

    findings = [
        Finding(severity, each, each.position or _position(each, place(each.root)))
        for each in problems
    ]
    if severity == "warning":  # errors come in the order of the text already
        findings.sort(key=lambda finding: (finding.problem.root, finding.position))
    return findings


def _position(problem: Problem, whole: Place) -> Position:
    """The position of what a problem is about, or of the nearest thing around it."""
    place, exact = whole.find(problem.location)
    if problem.at_key and exact:
        return place.key or place.value
    return place.value
