"""Implications of requirements on labels: contradictions, and sets that imply others.

Sound but not complete: each result holds for all labels, but some are not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..profiles.model import Requirement

__all__ = ["Demands"]


@dataclass(slots=True)
class _Demand:
    """The requirements on one label. ``values``: the only ones it may have, if it must have one.

    ``possible`` is kept, so a comparison takes time in proportion to the other one only.
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


_NO_DEMAND = _Demand()


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
        """Return a label whose requirements contradict each other, or None."""
        return next((key for key, each in self._demands.items() if each.contradictory()), None)

    def only(self, key: str) -> frozenset[str] | None:
        """Return the values of which a label must have one, or None if there is no such limit."""
        demand = self._demands.get(key)
        return demand.possible if demand and demand.values is not None else None

    def imply(self, requirements: Iterable[Requirement] | None) -> bool:
        """Whether all labels that meet these also meet the given requirements."""
        for requirement in requirements or ():
            if not self._demands.get(requirement.key, _NO_DEMAND).implies(requirement):
                return False
        return True

    def example(self) -> Mapping[str, str]:
        """Return labels that meet them, unless they contradict each other."""
        return {
            key: min(demand.possible, default="") if demand.values else self._other(demand)
            for key, demand in self._demands.items()
            if demand.present
        }

    @staticmethod
    def _other(demand: _Demand) -> str:
        """Return a value that is not excluded and probably not in any requirement."""
        value = "other"
        while value in demand.excluded:
            value += "-"
        return value
