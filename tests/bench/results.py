"""What was measured: rows of a table, each a median over rounds, and the goals among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

__all__ = ["Goal", "Plan", "Results", "Row"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. ``seconds`` is the length of each load."""

    rounds: int
    seconds: float
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """What a row's value is to be: at least or at most."""

    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity, with what each round found; its value is the median."""

    name: str
    unit: str
    rounds: tuple[float, ...]
    goal: Goal | None = None

    @property
    def value(self) -> float:
        return median(self.rounds)


@dataclass(slots=True)
class Results:
    """Rows in the order of measurement, and numbers behind them for the JSON and the plot."""

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
        """Add a row; with a limit, it is a goal."""
        goal = None
        if at_least is not None:
            goal = Goal(at_least, at_least=True)
        elif at_most is not None:
            goal = Goal(at_most)
        self.rows.append(Row(name, unit, tuple(rounds), goal))

    def table(self) -> str:
        """The rows for a reader."""
        lines = [f"{'':62} {'median':>9} {'lowest':>9} {'highest':>9}  goal"]
        for row in self.rows:
            goal = ""
            if row.goal:
                sign = ">=" if row.goal.at_least else "<="
                verdict = "met" if row.goal.met(row.value) else "MISSED"
                goal = f"  {sign} {row.goal.limit:g} {verdict}"
            numbers = (row.value, min(row.rounds), max(row.rounds))
            shown = " ".join(f"{number:9.4g}" for number in numbers)
            name = f"{row.name}, {row.unit}" if row.unit else row.name
            lines.append(f"{name:62} {shown}{goal}")
        return "\n".join(lines)

    def as_json(self) -> Mapping[str, Any]:
        """All of it, for a file."""
        rows = [
            {
                **asdict(row),
                "value": row.value,
                "met": row.goal.met(row.value) if row.goal else None,
            }
            for row in self.rows
        ]
        return {"rows": rows, "loads": self.loads}
