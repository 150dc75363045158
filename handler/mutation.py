"""What happens to a pod: pod and matching selectors in, JSON patch and warnings out. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

from jsonpointer import escape
from msgspec import Struct, field, to_builtins

from .pod import Metadata, NodeAffinity, Pod, Spec
from .profile import Selector, VirtualNode
from .scheduling import excluded
from .schema import MAX_ANNOTATION_BYTES, Policy
from .shorten import shorten

__all__ = ["OPT_OUT", "Mutation", "left_alone", "mutate"]

OPT_OUT = ("alibabacloud.com/eci", "false")
"""The label of pods that no selector may touch."""
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"

_LONGEST_VALUE = 40  # in a warning

Operation = dict[str, Any]


class Mutation(Struct, frozen=True):
    """The answer for one pod. ``placement`` is the policy that decided, None without selectors.

    ``annotations`` and ``labels`` tell by whose effect each key was added: a selector's name.
    """

    operations: list[Operation]
    warnings: list[str]
    selectors: tuple[str, ...] = ()
    placement: Policy | None = None
    refused: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


def left_alone(pod: Pod) -> str | None:
    """Why no selector may touch the pod, or None."""
    metadata, spec = pod.metadata or Metadata(), pod.spec or Spec()
    if spec.node_name:
        return "bound"
    if MIRROR_ANNOTATION in (metadata.annotations or ()):
        return "mirror"
    # A DaemonSet's pod has its node already: a nodeSelector would leave it Pending for ever.
    for owner in metadata.owner_references or ():
        if owner.controller and owner.kind == "DaemonSet":
            return "daemonset"
    key, value = OPT_OUT
    if (metadata.labels or {}).get(key) == value:
        return "opt-out"
    return None


def mutate(pod: Pod, selectors: Sequence[Selector], node: VirtualNode) -> Mutation:
    """Apply the selectors, which all match the pod and come in the order in which they count."""
    if not selectors:
        return Mutation([], [])
    metadata, spec = pod.metadata or Metadata(), pod.spec or Spec()
    own_annotations, own_labels = metadata.annotations or {}, metadata.labels or {}
    warnings: list[str] = []
    annotations, annotations_from = _effect("annotation", own_annotations, selectors, warnings)
    labels, labels_from = _effect("label", own_labels, selectors, warnings)
    for key in _too_much(annotations, own_annotations, warnings):
        del annotations[key], annotations_from[key]
    if len(selectors) > 1:  # the entries of one are in order
        annotations, labels = dict(sorted(annotations.items())), dict(sorted(labels.items()))
    operations = [
        *_add_entries("/metadata/annotations", metadata.annotations, annotations),
        *_add_entries("/metadata/labels", metadata.labels, labels),
    ]
    if operations and pod.metadata is None:
        operations.insert(0, _add("/metadata", {}))
    first = selectors[0]
    refusal = None if first.policy == "normalNodeOnly" else _refusal(spec, node)
    if refusal:
        # First, since an answer has room for a few warnings only.
        warnings.insert(
            0, f"selector {_show(first.name)}: not placed on the virtual node, {refusal}"
        )
    else:
        placement = _place(spec, first.policy, node)
        if placement and pod.spec is None:
            operations.append(_add("/spec", {}))
        operations += placement
    return Mutation(
        operations,
        warnings,
        tuple(selector.name for selector in selectors),
        first.policy,
        refusal is not None,
        annotations_from,
        labels_from,
    )


def _effect(
    kind: Literal["annotation", "label"],
    own: Mapping[str, str],
    selectors: Sequence[Selector],
    warnings: list[str],
) -> tuple[dict[str, str], dict[str, str]]:
    """The entries to add, those of the first selector first, and by whose effect.

    The pod's own value > the first selector's > later ones'.
    """
    added: dict[str, str] = {}
    winners: dict[str, str] = {}
    for selector in selectors:
        name = selector.name
        entries = selector.annotations if kind == "annotation" else selector.labels
        for key, value in entries.items():
            kept = own.get(key, added.get(key))
            if kept is None:
                added[key] = value
                winners[key] = name
            elif kept != value:
                keeper = (
                    f"the pod's own {_show(kept)} stays"
                    if key in own
                    else f"selector {_show(winners[key])} set {_show(kept)}"
                )
                warnings.append(
                    f"{kind} {key}: {keeper}, selector {_show(name)} would set {_show(value)}"
                )
    return added, winners


def _too_much(added: Mapping[str, str], own: Mapping[str, str], warnings: list[str]) -> list[str]:
    """The annotations to leave out, since for their size the API server would refuse the pod.

    Those that come first are kept.
    """
    left_out: list[str] = []
    if not added:
        return left_out
    characters = sum(map(len, chain(own, own.values(), added, added.values())))
    if 4 * characters <= MAX_ANNOTATION_BYTES:  # in UTF-8, each takes at most 4
        return left_out
    size = _size(own)
    for key, value in added.items():
        size += _size({key: value})
        if size > MAX_ANNOTATION_BYTES:
            size -= _size({key: value})
            left_out.append(key)
            warnings.append(
                f"annotation {key}: left out, or the pod's annotations would exceed"
                f" {MAX_ANNOTATION_BYTES} bytes"
            )
    return left_out


def _size(annotations: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())


def _refusal(spec: Spec, node: VirtualNode) -> str | None:
    """Why the pod can't run on the virtual node whatever is added to it, or None."""
    own = spec.node_selector or {}
    for key, value in node.node_selector.items():
        if own.get(key, value) != value:
            return (
                f"the pod's nodeSelector has {key} {_show(own[key])}"
                f" where the virtual node has {_show(value)}"
            )
    affinity = (spec.affinity and spec.affinity.node_affinity) or NodeAffinity()
    required = affinity.required_during_scheduling_ignored_during_execution
    if required and excluded(required.node_selector_terms or (), node.node_selector):
        return "the pod's required node affinity excludes it"
    return None


def _place(spec: Spec, policy: Policy, node: VirtualNode) -> list[Operation]:
    if policy == "normalNodeOnly":
        return []
    operations: list[Operation] = []
    if policy == "virtualNodeOnly":
        own = spec.node_selector or {}
        missing = {key: value for key, value in node.node_selector.items() if key not in own}
        operations += _add_entries("/spec/nodeSelector", spec.node_selector, missing)
    lacking = [
        to_builtins(toleration)
        for toleration in node.tolerations
        if not any(own.covers(toleration) for own in spec.tolerations or ())
    ]
    operations += _add_items("/spec/tolerations", spec.tolerations, lacking)
    if policy == "normalNodePrefer":
        operations += _prefer_normal_nodes(spec, node)
    return operations


def _prefer_normal_nodes(spec: Spec, node: VirtualNode) -> Iterable[Operation]:
    """Prefer nodes that differ from the virtual node.

    One term a label: ANDed in one term, a label that normal nodes have too would undo it.
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
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    if not terms:
        return
    if spec.affinity is None:
        yield _add("/spec/affinity", {"nodeAffinity": {preferred: terms}})
    elif spec.affinity.node_affinity is None:
        yield _add("/spec/affinity/nodeAffinity", {preferred: terms})
    else:
        yield from _add_items(f"/spec/affinity/nodeAffinity/{preferred}", own, terms)


def _add(path: str, value: Any) -> Operation:
    return {"op": "add", "path": path, "value": value}


def _add_entries(
    path: str, own: Mapping[str, str] | None, entries: Mapping[str, str]
) -> list[Operation]:
    """Operations that add entries to an object, or the object with them where it is missing."""
    if own is None:
        return [_add(path, dict(entries))] if entries else []
    return [_add(f"{path}/{escape(key)}", value) for key, value in entries.items()]


def _add_items(path: str, own: Sequence[Any] | None, items: Sequence[Any]) -> list[Operation]:
    """Operations that append items to a list, or the list with them where it is missing."""
    if own is None:
        return [_add(path, list(items))] if items else []
    return [_add(f"{path}/-", item) for item in items]


def _show(value: str) -> str:
    return json.dumps(shorten(value, _LONGEST_VALUE))
