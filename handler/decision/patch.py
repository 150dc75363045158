"""The JSON patch (RFC 6902) of a decision: operations that add, and never replace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jsonpointer import escape

from ..profiles.model import Policy, Toleration, VirtualNode
from .pod import NodeAffinity, Spec

__all__ = ["Operation", "add", "add_entries", "place"]

Operation = dict[str, Any]

_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def add(path: str, value: Any) -> Operation:
    """An operation that adds a value."""
    return {"op": "add", "path": path, "value": value}


def add_entries(
    path: str, own: Mapping[str, str] | None, entries: Mapping[str, str]
) -> list[Operation]:
    """Operations that add entries to an object, or the object with them where it is missing."""
    if own is None:
        return [add(path, dict(entries))] if entries else []
    return [add(f"{path}/{escape(key)}", value) for key, value in entries.items()]


def place(spec: Spec, policy: Policy, node: VirtualNode) -> list[Operation]:
    """Return the operations that make the scheduler place a pod as the policy says."""
    if policy == "normalNodeOnly":
        return []
    operations: list[Operation] = []
    if policy == "virtualNodeOnly":
        own = spec.node_selector or {}
        missing = {key: value for key, value in node.node_selector.items() if key not in own}
        operations += add_entries("/spec/nodeSelector", spec.node_selector, missing)
    present = spec.tolerations or ()
    lacking = [
        _wire(toleration)
        for toleration in node.tolerations
        if not any(own.covers(toleration) for own in present)
    ]
    operations += _add_items("/spec/tolerations", spec.tolerations, lacking)
    if policy == "normalNodePrefer":
        operations += _prefer_normal_nodes(spec, node)
    return operations


def _wire(toleration: Toleration) -> dict[str, Any]:
    fields = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
        "tolerationSeconds": toleration.seconds,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _prefer_normal_nodes(spec: Spec, node: VirtualNode) -> Iterator[Operation]:
    """Prefer nodes that differ from the virtual node.

    Each label has a term of its own: in one term, where all must hold, a label that normal nodes
    have too would disable the preference.
    """
    affinity = (spec.affinity and spec.affinity.node_affinity) or NodeAffinity()
    own = affinity.preferred_during_scheduling_ignored_during_execution
    terms = [
        {
            "weight": 100,
            "preference": {
                "matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]
            },
        }
        for key, value in node.node_selector.items()
    ]
    terms = [term for term in terms if term not in (own or ())]
    if not terms:
        return
    if spec.affinity is None:
        yield add("/spec/affinity", {"nodeAffinity": {_PREFERRED: terms}})
    elif spec.affinity.node_affinity is None:
        yield add("/spec/affinity/nodeAffinity", {_PREFERRED: terms})
    else:
        yield from _add_items(f"/spec/affinity/nodeAffinity/{_PREFERRED}", own, terms)


def _add_items(path: str, own: Sequence[Any] | None, items: Sequence[Any]) -> list[Operation]:
    """Operations that append items to a list, or the list with them where it is missing."""
    if own is None:
        return [add(path, list(items))] if items else []
    return [add(f"{path}/-", item) for item in items]
