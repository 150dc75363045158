"""Decides about a pod that is bound to a node: the effects at binding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..profiles.model import Selector, VirtualNode
from .draw import drawn, read_record
from .effects import Effect, added, effects_of, leave_out
from .matching import Labels, Matcher
from .patch import Operation, add_entries
from .pod import Metadata, Pod

__all__ = ["Binding", "BindingDecision", "decide_binding", "labels_to_match", "nodes_of"]


@dataclass(slots=True)
class BindingDecision:
    """The decision about a pod that is bound.

    ``selectors``: those whose effects are added, in order of precedence. ``audited`` would add
    theirs. ``operations`` are on the Binding, which the API server merges into the pod.
    """

    selectors: Sequence[Selector] = ()
    audited: Sequence[Selector] = ()
    effects: list[Effect] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Binding:
    """A Binding: its metadata, the name of the node, and the uid of the review."""

    metadata: Metadata
    node: str
    uid: str | None = None


def nodes_of(labels: Labels, matcher: Matcher) -> list[VirtualNode]:
    """Return the virtual nodes that match a node with these labels; none for a normal node."""
    return [node for node in matcher.profile.virtual_nodes if node.holds(labels)]


def labels_to_match(pod: Pod, matcher: Matcher) -> list[Labels]:
    """Return the labels by which selectors in the pod's record may have matched at its creation.

    Those that it has now, and those without the ones that effects may have added.
    """
    metadata = pod.metadata or Metadata()
    record = read_record(metadata.annotations or {}) or frozenset()
    waiting = [
        each
        for each in matcher.profile.selectors
        if each.waits_for_binding and not each.effect_only
    ]
    if not any(each.mode == "audit" or each.name in record for each in waiting):
        return []
    labels = metadata.labels or {}
    effects = {
        entry
        for selector in matcher.profile.selectors
        if selector.name in record and selector.at == "creation"
        for entry in selector.labels.items()
    }
    before = {key: value for key, value in labels.items() if (key, value) not in effects}
    return [labels] if before == labels else [labels, before]


def decide_binding(
    pod: Pod,
    binding: Binding,
    nodes: Sequence[VirtualNode],
    matching: Sequence[Selector],
    matcher: Matcher,
) -> BindingDecision:
    """Decide about a pod that is bound to one of these virtual nodes, and may be touched.

    ``matching`` are the selectors that match it. Its record says which of them applied.
    """
    metadata = pod.metadata or Metadata()
    record = read_record(metadata.annotations or {}) or frozenset()
    applying: list[Selector] = []
    audited: list[Selector] = []
    for selector in (*matching, *matcher.effect_only):
        if not selector.waits_for_binding:
            continue
        if not (selector.node is None or selector.node in nodes):
            continue
        if selector.mode == "audit":
            # It is in no record, so its share is drawn again for the binding.
            if drawn(selector, binding.uid, None):
                audited.append(selector)
        elif selector.effect_only or selector.name in record:
            applying.append(selector)
    applying.sort(key=lambda selector: selector.rank)
    own_annotations = _merged(metadata.annotations, binding.metadata.annotations)
    own_labels = _merged(metadata.labels, binding.metadata.labels)
    annotations = effects_of("annotation", own_annotations, applying)
    labels = effects_of("label", own_labels, applying)
    leave_out(annotations, own_annotations)
    operations = [
        *add_entries("/metadata/annotations", binding.metadata.annotations, added(annotations)),
        *add_entries("/metadata/labels", binding.metadata.labels, added(labels)),
    ]
    return BindingDecision(applying, audited, annotations + labels, operations)


def _merged(first: Mapping[str, str] | None, second: Mapping[str, str] | None) -> Mapping[str, str]:
    return {**(first or {}), **(second or {})}
