"""Results of the benchmark: rows of a table, each a median over rounds, some with a goal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from statistics import median
from typing import Any, TypeVar

__all__ = ["HEADING", "Goal", "Plan", "Results", "Row", "shuffled"]

_Item = TypeVar("_Item")

HEADING = f"{'':75} {'median':>9} {'lowest':>9} {'highest':>9}  goal"
"""Header of the printed table."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. ``seconds`` is the length of each load."""

    rounds: int
    seconds: float
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """A lower or upper limit for a row's value."""

    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity with its result in each round; its value is the median."""

    name: str
    unit: str
    rounds: tuple[float, ...]
    goal: Goal | None = None

    @property
    def value(self) -> float:
        return median(self.rounds)

    def __str__(self) -> str:
        goal = ""
        if self.goal:
            sign = ">=" if self.goal.at_least else "<="
            verdict = "met" if self.goal.met(self.value) else "MISSED"
            goal = f"  {sign} {self.goal.limit:g} {verdict}"
        numbers = (self.value, min(self.rounds), max(self.rounds))
        shown = " ".join(f"{number:9.4g}" for number in numbers)
        name = f"{self.name}, {self.unit}" if self.unit else self.name
        return f"{name:75} {shown}{goal}"


@dataclass(slots=True)
class Results:
    """Rows in the order of measurement, and the underlying data for the JSON and the plot."""

    rows: list[Row] = field(default_factory=list)
    loads: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        name: str,
        unit: str,
        rounds: Sequence[float],
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Add a row and print it; a limit makes it a goal."""
        goal = None
        if at_least is not None:
            goal = Goal(at_least, at_least=True)
        elif at_most is not None:
            goal = Goal(at_most)
        row = Row(name, unit, tuple(rounds), goal)
        self.rows.append(row)
        print(row, flush=True)  # show progress, since all rounds take minutes

    def as_json(self) -> Mapping[str, Any]:
        """Return all results, for the JSON file."""
        rows = [
            {
                **asdict(row),
                "value": row.value,
                "met": row.goal.met(row.value) if row.goal else None,
            }
            for row in self.rows
        ]
        return {"rows": rows, "loads": self.loads}


def shuffled(items: Iterable[_Item], round_number: int) -> list[_Item]:
    """Return the items in another order each round: what ran before has an effect."""
    ordered = list(items)
    Random(round_number).shuffle(ordered)  # noqa: S311
    return ordered
