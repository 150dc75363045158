"""What Kubernetes' scheduler makes of a pod's tolerations and node affinity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field, StrictStr
from pydantic.dataclasses import dataclass as validated

__all__ = ["NodeSelectorRequirement", "NodeSelectorTerm", "Toleration", "excluded"]


@validated(frozen=True, slots=True)
class Toleration:
    """A pod's toleration. Absent fields are empty, as in Kubernetes."""

    key: StrictStr | None = None
    operator: StrictStr | None = None
    value: StrictStr | None = None
    effect: StrictStr | None = None
    seconds: int | None = Field(default=None, alias="tolerationSeconds")

    def covers(self, other: Toleration) -> bool:
        """Whether each taint that the other one tolerates is tolerated by this one too.

        Source: Toleration.ToleratesTaint of k8s.io/api/core/v1; like there, seconds don't count.
        """
        if self.effect and self.effect != other.effect:
            return False
        if self.key and self.key != other.key:
            return False
        if self.operator == "Exists":
            return True
        return (
            self.operator in (None, "", "Equal")
            and other.operator in (None, "", "Equal")
            and (self.value or "") == (other.value or "")
        )


@validated(frozen=True, slots=True)
class NodeSelectorRequirement:
    """One condition on a node's label."""

    key: StrictStr
    operator: StrictStr
    values: list[StrictStr] | None = None

    def excludes(self, value: str) -> bool:
        """Whether a node whose label has this value can never meet it."""
        values = self.values or []
        match self.operator:
            case "In":
                return value not in values
            case "NotIn":
                return value in values
            case "DoesNotExist":
                return True
            case "Gt" | "Lt":
                return not _compares(self.operator, value, values)
            case _:
                return False


@validated(frozen=True, slots=True)
class NodeSelectorTerm:
    """Conditions on a node, all of which must hold."""

    expressions: list[NodeSelectorRequirement] | None = Field(
        default=None, alias="matchExpressions"
    )
    fields: list[Any] | None = Field(default=None, alias="matchFields")


def excluded(terms: Iterable[NodeSelectorTerm], node_labels: Mapping[str, str]) -> bool:
    """Whether a required node affinity (terms, ORed) rules out every node with these labels.

    Only the given labels are known of the node: a term on others could still hold.
    """
    terms = list(terms)
    return bool(terms) and all(
        any(
            entry.key in node_labels and entry.excludes(node_labels[entry.key])
            for entry in term.expressions or ()
        )
        for term in terms
    )


def _compares(operator: str, value: str, values: list[str]) -> bool:
    try:
        actual, (bound,) = int(value), map(int, values)
    except ValueError:  # not a number: Kubernetes lets no node through
        return False
    return actual > bound if operator == "Gt" else actual < bound
