"""What requirements on labels imply: contradictions, and one set of them that includes another.

Sound, not complete: what is said here is true of all labels, but not all that is true is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..profiles.model import Requirement

__all__ = ["Demands"]


@dataclass(slots=True)
class _Demand:
    """What is asked of one label. ``values``: the only ones it may have, if it has to have one.

    What it asks of another takes time with the other's size only: ``possible`` is kept.
    """

    values: frozenset[str] | None = None
    excluded: set[str] = field(default_factory=set)
    present: bool = False
    absent: bool = False
    possible: frozenset[str] = frozenset()

    def contradictory(self) -> bool:
        if self.absent:
            return self.present
        return self.values is not None and not self.possible

    def implies(self, other: Requirement) -> bool:
        match other.operator:
            case "In":
                return self.values is not None and self.possible <= other.values
            case "NotIn":
                return (
                    self.absent
                    or other.values <= self.excluded
                    or (self.values is not None and self.possible.isdisjoint(other.values))
                )
            case "Exists":
                return self.present
            case "DoesNotExist":
                return self.absent


class Demands:
    """The requirements of one side of a selector (pod or namespace), taken together by label."""

    def __init__(self, requirements: Iterable[Requirement] | None) -> None:
        self._demands: dict[str, _Demand] = {}
        for requirement in requirements or ():
            demand = self._demands.setdefault(requirement.key, _Demand())
            match requirement.operator:
                case "In":
                    values = requirement.values
                    demand.values = values if demand.values is None else demand.values & values
                    demand.present = True
                case "NotIn":
                    demand.excluded.update(requirement.values)
                case "Exists":
                    demand.present = True
                case "DoesNotExist":
                    demand.absent = True
        for demand in self._demands.values():
            demand.possible = (demand.values or frozenset()) - demand.excluded

    def contradiction(self) -> str | None:
        """A label of which too much is asked for any to meet, or None."""
        return next((key for key, each in self._demands.items() if each.contradictory()), None)

    def only(self, key: str) -> frozenset[str] | None:
        """The values that a label has to have one of, or None if it may have others or none."""
        demand = self._demands.get(key)
        return demand.possible if demand and demand.values is not None else None

    def imply(self, requirements: Iterable[Requirement] | None) -> bool:
        """Whether all labels that meet these meet the given requirements too."""
        return all(
            self._demands.get(requirement.key, _Demand()).implies(requirement)
            for requirement in requirements or ()
        )

    def example(self) -> Mapping[str, str]:
        """Labels that meet them, if they don't contradict themselves."""
        return {
            key: min(demand.possible, default="") if demand.values else self._other(demand)
            for key, demand in self._demands.items()
            if demand.present
        }

    @staticmethod
    def _other(demand: _Demand) -> str:
        """A value that no requirement is likely to name, and that none here excludes."""
        value = "other"
        while value in demand.excluded:
            value += "-"
        return value
