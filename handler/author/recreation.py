"""Reconstructs the pod that would be reviewed if a running pod were created again.

A running pod contains what the function added to it at creation and binding. If it were reviewed
unchanged, the function would treat this as the pod's own request for the virtual node.

- If its workload is known, the result is the workload's template, with the labels that controllers
  add.
- If not, it is the pod without nodeName, the decision record, and what the profile in force adds.
  An annotation or label counts as added if it has the profile's value, and the placement if the pod
  has all of it. What an earlier profile added counts as the pod's own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import convert
from msgspec.structs import replace

from ..decision.matching import Labels, Matcher
from ..decision.patch import place
from ..decision.pod import Affinity, Metadata, Pod, Spec
from ..decision.scheduling import PodToleration
from ..profiles.model import RECORD_ANNOTATION, Policy, Toleration, VirtualNode
from .changes import at_binding, decide
from .inventory import CONTROLLER_LABELS

__all__ = ["Recreation", "from_template"]


def from_template(template: Pod, running: Pod) -> Pod:
    """Return the pod that a workload creates to replace one of its pods."""
    own = (running.metadata and running.metadata.labels) or {}
    added = {key: value for key, value in own.items() if key in CONTROLLER_LABELS}
    if not added:
        return template
    metadata = template.metadata or Metadata()
    return Pod(replace(metadata, labels={**(metadata.labels or {}), **added}), template.spec)


class Recreation:
    """Removes from a pod what the function added to it under a profile.

    ``labels``: keys and values that it may have added.
    """

    def __init__(self, matcher: Matcher) -> None:
        profile = matcher.profile
        self._matcher = matcher
        self._annotations = {
            item for each in profile.selectors for item in each.annotations.items()
        }
        self.labels = {item for each in profile.selectors for item in each.labels.items()}
        self._placements = [
            _Placement(node, policy)
            for node in profile.virtual_nodes
            for policy in ("virtualNodeOnly", "normalNodePrefer")
        ]

    def of(self, pod: Pod, namespace_labels: Labels) -> Pod:
        """Return the pod as it would be created again, judged by the running pod alone."""
        metadata, spec = pod.metadata or Metadata(), pod.spec or Spec()
        bare = replace(
            metadata,
            annotations=_without(metadata.annotations, self._annotations),
            labels=_without(metadata.labels, self.labels),
        )
        unplaced = spec
        for placement in self._placements:
            unplaced = placement.taken_off(unplaced)
        # This pod keeps its record, so percentages apply as they did at its creation.
        bare_pod = Pod(bare, unplaced)
        decision = decide(bare_pod, namespace_labels, self._matcher, None)
        effects = [each for each in decision.effects if each.result == "added"]
        added = [(each.kind, each.key, each.value) for each in effects]
        waiting = at_binding(bare_pod, decision, self._matcher)
        added += [(kind, key, value) for (_, kind, key), value in waiting.items()]
        annotations = {(key, value) for kind, key, value in added if kind == "annotation"}
        labels = {(key, value) for kind, key, value in added if kind == "label"}
        if record := (metadata.annotations or {}).get(RECORD_ANNOTATION):
            annotations.add((RECORD_ANNOTATION, record))
        again = replace(
            metadata,
            annotations=_without(metadata.annotations, annotations),
            labels=_without(metadata.labels, labels),
        )
        placer = decision.placer
        if placer and placer.node and not decision.refusal:
            placement = _Placement(placer.node, placer.policy)
            if placement.is_on(spec):
                spec = placement.taken_off(spec)
        return Pod(again, spec)


class _Placement:
    """What a policy adds to an empty pod spec."""

    def __init__(self, node: VirtualNode, policy: Policy) -> None:
        added = {each["path"]: each["value"] for each in place(Spec(), policy, node)}
        self._node_selector = added.get("/spec/nodeSelector", {}).items()
        self._tolerations = node.tolerations if "/spec/tolerations" in added else ()
        affinity = convert(added.get("/spec/affinity", {}), Affinity).node_affinity
        self._terms = (
            affinity.preferred_during_scheduling_ignored_during_execution if affinity else None
        ) or []

    def is_on(self, spec: Spec) -> bool:
        """Whether a spec has all of it."""
        return (
            self._node_selector <= (spec.node_selector or {}).items()
            and all(
                any(own.covers(each) for own in spec.tolerations or ())
                for each in self._tolerations
            )
            and all(term in _terms(spec) for term in self._terms)
        )

    def taken_off(self, spec: Spec) -> Spec:
        """Return the spec without any of it."""
        tolerations = [
            own
            for own in spec.tolerations or ()
            if not any(_same(own, each) for each in self._tolerations)
        ]
        spec = replace(
            spec,
            node_selector=_without(spec.node_selector, self._node_selector),
            tolerations=tolerations or None,
        )
        affinity = spec.affinity
        node_affinity = affinity and affinity.node_affinity
        if affinity and node_affinity and self._terms:
            terms = [term for term in _terms(spec) if term not in self._terms]
            node_affinity = replace(
                node_affinity, preferred_during_scheduling_ignored_during_execution=terms or None
            )
            spec = replace(spec, affinity=replace(affinity, node_affinity=node_affinity))
        return spec


def _terms(spec: Spec) -> Sequence[Any]:
    affinity = spec.affinity and spec.affinity.node_affinity
    return (affinity and affinity.preferred_during_scheduling_ignored_during_execution) or ()


def _same(own: PodToleration, other: Toleration) -> bool:
    return (own.key or "", own.operator or "Equal", own.value or "", own.effect or "") == (
        other.key or "",
        other.operator or "Equal",
        other.value or "",
        other.effect or "",
    )


def _without(
    own: Mapping[str, str] | None, entries: Collection[tuple[str, str]]
) -> dict[str, str] | None:
    """Return ``own`` without these entries, or None if nothing is left."""
    return {key: value for key, value in (own or {}).items() if (key, value) not in entries} or None
