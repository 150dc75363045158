"""What becomes of a pod, and why: pod and matching selectors in, decision out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from ..profiles.model import MAX_ANNOTATION_BYTES, OPT_OUT, Policy, Selector, VirtualNode
from .patch import Operation, add, add_entries, place
from .pod import Metadata, NodeAffinity, Pod, Spec
from .scheduling import excluded

__all__ = ["Decision", "Effect", "Refusal", "Result", "Untouched", "decide_pod", "left_alone"]

_MIRROR_ANNOTATION = "kubernetes.io/config.mirror"

Untouched = Literal["bound", "mirror", "daemonset", "opt-out", "not-asked"]
"""Why no selector may touch a pod. not-asked: the registration leaves its namespace out."""
Result = Literal["added", "same", "own", "other", "left-out"]


@dataclass(slots=True)
class Effect:
    """What became of an entry of a selector's effect. ``kept`` is the value that the pod has then.

    added: it is the pod's now. same: the pod had it. own: the pod's own value stays. other: an
    earlier selector's counts, that of ``keeper``. left-out: the annotations would be too large.
    """

    kind: Literal["annotation", "label"]
    key: str
    value: str
    selector: str
    result: Result
    kept: str | None = None
    keeper: str | None = None


@dataclass(slots=True)
class Refusal:
    """Why a pod cannot run on the virtual node, whatever is added to it.

    ``key``, ``actual`` and ``expected`` are of its nodeSelector; without a key, its required node
    affinity rules the virtual node out.
    """

    key: str = ""
    actual: str = ""
    expected: str = ""


@dataclass(slots=True)
class Decision:
    """What becomes of one pod.

    ``untouched``: no selector may touch it. ``selectors``: those that match, in the order in which
    they count. ``placement``: the policy of the first one, None without selectors; ``refusal``:
    why the pod gets none of it.
    """

    untouched: Untouched | None = None
    selectors: Sequence[Selector] = ()
    effects: list[Effect] = field(default_factory=list)
    placement: Policy | None = None
    refusal: Refusal | None = None
    operations: list[Operation] = field(default_factory=list)


def left_alone(pod: Pod) -> Untouched | None:
    """Why no selector may touch the pod, or None."""
    metadata, spec = pod.metadata or Metadata(), pod.spec or Spec()
    if spec.node_name:
        return "bound"
    if _MIRROR_ANNOTATION in (metadata.annotations or ()):
        return "mirror"
    # A DaemonSet's pod has its node already: a nodeSelector would leave it Pending for ever.
    for owner in metadata.owner_references or ():
        if owner.controller and owner.kind == "DaemonSet":
            return "daemonset"
    key, value = OPT_OUT
    if (metadata.labels or {}).get(key) == value:
        return "opt-out"
    return None


def decide_pod(pod: Pod, selectors: Sequence[Selector], node: VirtualNode) -> Decision:
    """Decide about a pod that may be touched.

    ``selectors`` all match it, and come in the order in which they count.
    """
    if not selectors:
        return Decision()
    metadata, spec = pod.metadata or Metadata(), pod.spec or Spec()
    own_annotations, own_labels = metadata.annotations or {}, metadata.labels or {}
    annotations = _effects(
        "annotation", own_annotations, ((each.name, each.annotations) for each in selectors)
    )
    labels = _effects("label", own_labels, ((each.name, each.labels) for each in selectors))
    _leave_out(annotations, own_annotations)
    operations = [
        *add_entries("/metadata/annotations", metadata.annotations, _added(annotations)),
        *add_entries("/metadata/labels", metadata.labels, _added(labels)),
    ]
    if operations and pod.metadata is None:
        operations.insert(0, add("/metadata", {}))
    placement = selectors[0].policy
    refusal = None if placement == "normalNodeOnly" else _refusal(spec, node)
    if refusal is None:
        placed = place(spec, placement, node)
        if placed and pod.spec is None:
            operations.append(add("/spec", {}))
        operations += placed
    return Decision(None, selectors, annotations + labels, placement, refusal, operations)


def _effects(
    kind: Literal["annotation", "label"],
    own: Mapping[str, str],
    wanted: Iterable[tuple[str, Mapping[str, str]]],
) -> list[Effect]:
    """What becomes of each entry: the pod's own value > the first selector's > later ones'."""
    effects: list[Effect] = []
    winners: dict[str, Effect] = {}
    for name, entries in wanted:
        for key, value in entries.items():
            if key in own:
                kept = own[key]
                result: Result = "same" if kept == value else "own"
                effect = Effect(kind, key, value, name, result, kept)
            elif key in winners:
                winner = winners[key]
                effect = Effect(kind, key, value, name, "other", winner.value, winner.selector)
            else:
                effect = winners[key] = Effect(kind, key, value, name, "added", value)
            effects.append(effect)
    return effects


def _leave_out(effects: Sequence[Effect], own: Mapping[str, str]) -> None:
    """Leave out annotations for whose size the API server would refuse the pod: the last ones."""
    added = [effect for effect in effects if effect.result == "added"]
    if not added:
        return
    characters = sum(map(len, chain(own, own.values())))
    characters += sum(len(effect.key) + len(effect.value) for effect in added)
    if 4 * characters <= MAX_ANNOTATION_BYTES:  # in UTF-8, each takes at most 4
        return
    total = sum(map(_size, own.items()))
    left_out = set()
    for effect in added:
        size = _size((effect.key, effect.value))
        if total + size <= MAX_ANNOTATION_BYTES:
            total += size
        else:
            left_out.add(effect.key)
    for effect in effects:
        if effect.key in left_out:
            effect.result, effect.kept, effect.keeper = "left-out", None, None


def _size(entry: tuple[str, str]) -> int:
    return sum(len(text.encode()) for text in entry)


def _added(effects: Iterable[Effect]) -> Mapping[str, str]:
    return dict(sorted((each.key, each.value) for each in effects if each.result == "added"))


def _refusal(spec: Spec, node: VirtualNode) -> Refusal | None:
    own = spec.node_selector or {}
    for key, value in node.node_selector.items():
        if own.get(key, value) != value:
            return Refusal(key, own[key], value)
    affinity = (spec.affinity and spec.affinity.node_affinity) or NodeAffinity()
    required = affinity.required_during_scheduling_ignored_during_execution
    if required and excluded(required.node_selector_terms or (), node.node_selector):
        return Refusal()
    return None
