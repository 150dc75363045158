"""What Kubernetes' scheduler makes of a pod's tolerations and node affinity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field

__all__ = ["NodeSelectorRequirement", "NodeSelectorTerm", "Toleration", "excluded"]


class Toleration(Struct, frozen=True, omit_defaults=True):
    """A pod's toleration. Absent fields are empty, as in Kubernetes."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None
    seconds: int | None = field(default=None, name="tolerationSeconds")

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


class NodeSelectorRequirement(Struct, frozen=True):
    """One condition on a node's label."""

    key: str
    operator: str
    values: list[str] | None = None

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


class NodeSelectorTerm(Struct, frozen=True):
    """Conditions on a node, all of which must hold."""

    expressions: list[NodeSelectorRequirement] | None = field(default=None, name="matchExpressions")
    fields: list[Any] | None = field(default=None, name="matchFields")


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
