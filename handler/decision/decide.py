"""Decides about a pod: pod and matching selectors in, decision out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from ..messages.message import Message
from ..profiles.model import (
    MAX_ANNOTATION_BYTES,
    OPT_OUT,
    RECORD_ANNOTATION,
    Policy,
    Selector,
    VirtualNode,
)
from .draw import drawn, read_record, write_record
from .effects import Effect, added, effects_of, leave_out, size_of
from .matching import Matcher
from .patch import Operation, add, add_entries, place
from .pod import Metadata, NodeAffinity, Pod, Spec
from .scheduling import excluded
from .unsupported import unsupported

__all__ = ["Decision", "Refusal", "Untouched", "decide_pod", "left_alone"]

_MIRROR_ANNOTATION = "kubernetes.io/config.mirror"

Untouched = Literal["bound", "mirror", "daemonset", "opt-out", "not-asked"]
"""Why a pod is not touched. not-asked: the registration excludes its namespace."""


@dataclass(slots=True)
class Refusal:
    """Why a pod is not placed on the virtual node, whatever the policy says.

    ``key``, ``actual`` and ``expected`` are of its nodeSelector; ``unsupported`` is what ECI cannot
    run. Without either, its required node affinity excludes the virtual node.
    """

    key: str = ""
    actual: str = ""
    expected: str = ""
    unsupported: Sequence[Message] = ()


@dataclass(slots=True)
class Decision:
    """The decision about one pod.

    ``untouched``: why the pod is not touched. ``selectors``: those that apply, in order of
    precedence. ``shadowed``: those of them without any effect, because another one decides the
    placement and all their entries lose. ``drawn_out`` and ``audited`` match too, but change
    nothing. ``placer``: the one whose policy decides the placement. ``refusal``: why the pod is not
    placed. ``unsupported``: what ECI cannot run of a pod that is placed nevertheless.
    """

    untouched: Untouched | None = None
    selectors: Sequence[Selector] = ()
    drawn_out: Sequence[Selector] = ()
    audited: Sequence[Selector] = ()
    shadowed: Sequence[Selector] = ()
    effects: list[Effect] = field(default_factory=list)
    placer: Selector | None = None
    refusal: Refusal | None = None
    unsupported: Sequence[Message] = ()
    operations: list[Operation] = field(default_factory=list)

    @property
    def placement(self) -> Policy | None:
        """The policy that decides, None if no selector places the pod."""
        return self.placer.policy if self.placer else None


def left_alone(pod: Pod) -> Untouched | None:
    """Return why the pod is not touched, or None."""
    metadata, spec = pod.metadata or Metadata(), pod.spec or Spec()
    if spec.node_name:
        return "bound"
    if _MIRROR_ANNOTATION in (metadata.annotations or ()):
        return "mirror"
    # The pod of a DaemonSet is for one node: with a nodeSelector it would stay Pending.
    for owner in metadata.owner_references or ():
        if owner.controller and owner.kind == "DaemonSet":
            return "daemonset"
    key, value = OPT_OUT
    if (metadata.labels or {}).get(key) == value:
        return "opt-out"
    return None


def decide_pod(
    pod: Pod, matching: Sequence[Selector], matcher: Matcher, uid: str | None = None
) -> Decision:
    """Decide about the creation of a pod that may be touched.

    ``matching`` are its matching selectors in order of precedence. ``uid`` is that of the review,
    for the draws of percentages.
    """
    if not matching and not matcher.effect_only:
        return Decision()
    metadata, spec = pod.metadata or Metadata(), pod.spec or Spec()
    own_annotations, own_labels = metadata.annotations or {}, metadata.labels or {}
    if matcher.selects_all:
        decision = Decision(selectors=matching)
    else:
        decision = _select(matching, uid, read_record(own_annotations))
    placed = _placement(decision, pod, spec)
    if matcher.effect_only:
        _add_effect_only(decision, spec, matcher)
    now = [each for each in decision.selectors if each.at == "creation"]
    annotations = effects_of("annotation", own_annotations, now)
    labels = effects_of("label", own_labels, now)
    record = _record(decision, own_annotations, matcher) if matcher.needs_records else {}
    leave_out(annotations, {**own_annotations, **record} if record else own_annotations)
    decision.effects = annotations + labels
    if len(decision.selectors) > 1:
        decision.shadowed = _shadowed(decision)
    entries = added(annotations)
    if record:
        entries = dict(sorted((entries | record).items()))
    decision.operations = [
        *add_entries("/metadata/annotations", metadata.annotations, entries),
        *add_entries("/metadata/labels", metadata.labels, added(labels)),
    ]
    if decision.operations and pod.metadata is None:
        decision.operations.insert(0, add("/metadata", {}))
    if placed and pod.spec is None:
        decision.operations.append(add("/spec", {}))
    decision.operations += placed
    return decision


def _select(
    matching: Sequence[Selector], uid: str | None, record: frozenset[str] | None
) -> Decision:
    """Select those of the matching selectors that apply."""
    applying: list[Selector] = []
    drawn_out: list[Selector] = []
    audited: list[Selector] = []
    for selector in matching:
        # The record has only selectors that applied, so never an audited one.
        known = None if selector.mode == "audit" else record
        if not drawn(selector, uid, known):
            drawn_out.append(selector)
        elif selector.mode == "audit":
            audited.append(selector)
        else:
            applying.append(selector)
    return Decision(selectors=applying, drawn_out=drawn_out, audited=audited)


def _placement(decision: Decision, pod: Pod, spec: Spec) -> list[Operation]:
    """Decide the placement by the first selector that applies; return its operations."""
    if not decision.selectors:
        return []
    placer = decision.placer = decision.selectors[0]
    node = placer.node or VirtualNode()
    if placer.policy == "normalNodeOnly":
        return []
    found = unsupported(pod) if node.unsupported != "ignore" else []
    decision.refusal = _refusal(spec, node)
    if decision.refusal is None and found and node.unsupported == "refuse":
        decision.refusal = Refusal(unsupported=found)
    if decision.refusal:
        return []
    decision.unsupported = found
    return place(spec, placer.policy, node)


def _add_effect_only(decision: Decision, spec: Spec, matcher: Matcher) -> None:
    """Add the selectors with an effect only that apply to this pod."""
    own = spec.node_selector or {}
    placer = decision.placer
    goes = placer and placer.policy == "virtualNodeOnly" and decision.refusal is None
    nodes = [node for node in matcher.profile.virtual_nodes if node.holds(own)]
    if goes and placer and placer.node:
        nodes.append(placer.node)
    if not nodes:
        return
    applying: list[Selector] = []
    audited: list[Selector] = []
    for selector in matcher.effect_only:
        if selector.at == "creation" and (selector.node is None or selector.node in nodes):
            (audited if selector.mode == "audit" else applying).append(selector)
    decision.selectors = sorted((*decision.selectors, *applying), key=_rank)
    decision.audited = sorted((*decision.audited, *audited), key=_rank)


def _shadowed(decision: Decision) -> list[Selector]:
    counting = {
        effect.selector for effect in decision.effects if effect.result in ("added", "same")
    }
    return [
        each
        for each in decision.selectors
        if each.name not in counting and each is not decision.placer and not each.waits_for_binding
    ]


def _record(decision: Decision, own: Mapping[str, str], matcher: Matcher) -> dict[str, str]:
    """Return the decision record to add, if the pod needs one, has none, and has room for it."""
    if RECORD_ANNOTATION in own:
        return {}
    needed = bool(decision.selectors) and matcher.profile.record_always
    if not needed and not any(
        each.needs_record for each in chain(decision.selectors, decision.drawn_out)
    ):
        return {}
    record = {RECORD_ANNOTATION: write_record(decision.selectors)}
    return record if size_of(own) + size_of(record) <= MAX_ANNOTATION_BYTES else {}


def _rank(selector: Selector) -> int:
    return selector.rank


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
