"""How the scheduler of Kubernetes interprets the tolerations and node affinity of a pod."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field

from ..profiles.labels import MAX_LABEL_VALUE, is_label_key, is_label_value
from ..profiles.model import Toleration

__all__ = ["NodeSelectorRequirement", "NodeSelectorTerm", "PodToleration", "excluded"]

_DIGITS = re.compile(r"[0-9]+")


class PodToleration(Struct, frozen=True):
    """A pod's toleration. Absent fields are empty, as in Kubernetes."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None

    def covers(self, other: Toleration) -> bool:
        """Whether this toleration covers every taint that the other one tolerates.

        Source: Toleration.ToleratesTaint of k8s.io/api/core/v1; as there, seconds are ignored.
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

    def valid(self) -> bool:
        """Whether the scheduler can parse it. A term with one that it cannot parse matches no node.

        The API server accepts some of these. Source: NewRequirement of
        k8s.io/apimachinery/pkg/labels.
        """
        values = self.values or []
        match self.operator:
            case "In" | "NotIn":
                fits = bool(values)
            case "Exists" | "DoesNotExist":
                fits = not values
            case "Gt" | "Lt":
                fits = len(values) == 1 and _int64(values[0]) is not None
            case _:
                fits = False
        return fits and is_label_key(self.key) and all(map(is_label_value, values))

    def excludes(self, value: str) -> bool:
        """Whether a node whose label has this value never meets it. Only for valid ones."""
        values = self.values or []
        match self.operator:
            case "In":
                return value not in values
            case "NotIn":
                return value in values
            case "DoesNotExist":
                return True
            case "Gt" | "Lt":
                return not _compares(self.operator, value, values[0])
            case _:
                return False


class NodeSelectorTerm(Struct, frozen=True):
    """Conditions on a node, all of which must hold."""

    expressions: list[NodeSelectorRequirement] | None = field(default=None, name="matchExpressions")
    fields: list[Any] | None = field(default=None, name="matchFields")

    def excludes(self, node_labels: Mapping[str, str]) -> bool:
        """Whether no node with these labels, and possibly others, meets it.

        A term without conditions matches no node.
        Source: nodeaffinity of k8s.io/component-helpers/scheduling/corev1.
        """
        if not self.expressions:
            return not self.fields
        return any(
            not each.valid() or (each.key in node_labels and each.excludes(node_labels[each.key]))
            for each in self.expressions
        )


def excluded(terms: Iterable[NodeSelectorTerm], node_labels: Mapping[str, str]) -> bool:
    """Whether a required node affinity (terms, ORed) rules out every node with these labels.

    Only these labels of the node are known: a term on others may still hold.
    """
    return all(term.excludes(node_labels) for term in terms)


def _int64(text: str) -> int | None:
    """The number, as Go's ParseInt reads it, for texts that may be a label's value (no sign)."""
    if len(text) > MAX_LABEL_VALUE or not _DIGITS.fullmatch(text):
        return None
    number = int(text)
    return number if number < 2**63 else None


def _compares(operator: str, value: str, bound: str) -> bool:
    actual, limit = _int64(value), _int64(bound)
    if actual is None or limit is None:  # to the scheduler, no such node matches
        return False
    return actual > limit if operator == "Gt" else actual < limit
