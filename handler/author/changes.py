"""Compares the decisions about a pod under two profiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from jsonpointer import unescape

from ..admission.warnings import refusal_reason
from ..decision.decide import Decision, decide_pod, left_alone
from ..decision.effects import Kind, added, effects_of
from ..decision.matching import Labels, Matcher
from ..decision.pod import Metadata, Pod, Spec
from ..decision.scheduling import PodToleration
from ..messages.message import Message
from ..profiles.labels import NAME_LABEL
from ..profiles.model import RECORD_ANNOTATION, Policy, Profile, Selector, VirtualNode
from .explanation import NOT_ASKED

__all__ = [
    "Change",
    "EffectChange",
    "Outcome",
    "Result",
    "Uncertain",
    "at_binding",
    "compare",
    "decide",
]

Result = Literal["placed", "unplaced", "changed", "recorded", "unchanged"]
"""The result for a pod under the new profile, compared with the current one.

placed: it now goes to the virtual node. unplaced: it no longer does. recorded: only its decision
record differs. changed: something else differs.
"""

_METADATA: dict[str, Kind] = {"/metadata/annotations": "annotation", "/metadata/labels": "label"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a pod goes: the policy, the selector that it belongs to, and the virtual node's name.

    All are empty if the pod does not go to a virtual node.
    """

    policy: Policy | None = None
    selector: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class EffectChange:
    """An annotation or label that is added under one profile only, or with different values.

    ``before`` and ``after`` are the values under the two profiles, None if it is not added. ``at``
    describes the binding that adds it; it is empty for effects at creation.
    """

    kind: Kind
    key: str
    before: str | None
    after: str | None
    at: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What changes for a pod. ``refused`` and ``unsupported`` have only what is new.

    Either can be set even if the pod is unchanged: when a selector now matches but its placement
    is refused. ``refused_of`` is that selector.
    """

    result: Result
    before: Outcome = Outcome()
    after: Outcome = Outcome()
    effects: tuple[EffectChange, ...] = ()
    refused: Message | None = None
    refused_of: str = ""
    unsupported: tuple[Message, ...] = ()

    @property
    def worth_telling(self) -> bool:
        """Whether there is anything to report."""
        return self.result != "unchanged" or bool(self.refused or self.unsupported)


class Uncertain:
    """Finds the pods that cannot be decided without the labels of their namespace.

    Used for namespaces of which only the name is known.
    """

    def __init__(self, profile: Profile) -> None:
        self._asking: set[str] = set()
        possible: list[Selector] = []
        for selector in profile.selectors:
            by_name = tuple(each for each in selector.namespace or () if each.key == NAME_LABEL)
            if selector.namespace and len(by_name) < len(selector.namespace):
                self._asking.add(selector.name)
                possible.append(replace(selector, namespace=by_name))
        self._possible = Matcher(replace(profile, selectors=tuple(possible)))

    def about(self, pod: Pod, name_alone: Labels) -> bool:
        """Whether a selector may match that requires more of the namespace than its name."""
        if not self._asking or left_alone(pod):
            return False
        labels = (pod.metadata and pod.metadata.labels) or {}
        return bool(self._possible.match(labels, name_alone))


def decide(pod: Pod, namespace_labels: Labels, matcher: Matcher, uid: str | None) -> Decision:
    """Decide about a pod as in a review of its creation. ``uid`` replaces that of the review."""
    key, names = NOT_ASKED
    if namespace_labels.get(key) in names:
        return Decision(untouched="not-asked")
    if reason := left_alone(pod):
        return Decision(untouched=reason)
    labels = (pod.metadata and pod.metadata.labels) or {}
    return decide_pod(pod, matcher.match(labels, namespace_labels), matcher, uid)


def at_binding(pod: Pod, decision: Decision, matcher: Matcher) -> dict[tuple[str, Kind, str], str]:
    """Return the values that a binding adds, by the binding (``EffectChange.at``), kind and key."""
    if decision.untouched or not matcher.waits_for_binding:
        return {}
    metadata = pod.metadata or Metadata()
    own: dict[Kind, dict[str, str]] = {
        "annotation": dict(metadata.annotations or {}),
        "label": dict(metadata.labels or {}),
    }
    for each in decision.effects:
        if each.result == "added":
            own[each.kind][each.key] = each.value
    found: dict[tuple[str, Kind, str], str] = {}
    for node in matcher.profile.virtual_nodes:
        if not _may_run(pod, decision, node):
            continue
        waiting = [
            each for each in (*decision.selectors, *matcher.effect_only) if _waits(each, node)
        ]
        waiting.sort(key=lambda each: each.rank)
        at = Message("binding to {node}", node=node.name) if node.name else Message("binding")
        kinds: tuple[Kind, Kind] = ("annotation", "label")
        for kind in kinds:
            entries = added(effects_of(kind, own[kind], waiting))
            found |= {(at, kind, key): value for key, value in entries.items()}
    return found


def compare(
    pod: Pod,
    namespace_labels: Labels,
    current: Matcher,
    new: Matcher,
    uid: str | None,
    matched: Callable[[Selector], object] = lambda _: None,
) -> Change:
    """Return what the new profile changes for a pod that is created.

    A pod is unchanged if both profiles give the same patch and the same effects at binding.
    ``matched`` is called for each selector of the new profile that matches.
    """
    before = decide(pod, namespace_labels, current, uid)
    after = decide(pod, namespace_labels, new, uid)
    for selector in (*after.selectors, *after.audited, *after.drawn_out):
        matched(selector)
    was, will = _outcome(before), _outcome(after)
    effects = tuple(
        sorted(
            _effects(_added(pod, before, current), _added(pod, after, new)),
            key=lambda each: (each.kind, each.key, each.at),
        )
    )
    result: Result = "unchanged"
    if _placement(before) != _placement(after):
        if was.policy is None:
            result = "placed"
        else:
            result = "unplaced" if will.policy is None else "changed"
    elif effects:
        recorded = all(each.key == RECORD_ANNOTATION and not each.at for each in effects)
        result = "recorded" if recorded else "changed"
    if _placement(before) == _placement(after):
        was = will = Outcome()  # the policies may differ, but not what they add
    change = Change(result, was, will, effects)
    if after.refusal and after.refusal != before.refusal:
        return replace(change, refused=refusal_reason(after.refusal), refused_of=_name(after))
    if after.unsupported and after.unsupported != before.unsupported:
        return replace(change, unsupported=tuple(after.unsupported))
    return change


def _waits(selector: Selector, node: VirtualNode) -> bool:
    return (
        selector.at == "binding"
        and selector.mode == "enforce"
        and (selector.node is None or selector.node == node)
    )


def _may_run(pod: Pod, decision: Decision, node: VirtualNode) -> bool:
    """Whether a pod, with what placement adds, tolerates the taints of a virtual node."""
    tolerated = list((pod.spec or Spec()).tolerations or ())
    if decision.placer and decision.placer.node and _outcome(decision).policy:
        tolerated += [
            PodToleration(each.key, each.operator, each.value, each.effect)
            for each in decision.placer.node.tolerations
        ]
    return all(any(own.covers(each) for own in tolerated) for each in node.tolerations)


def _outcome(decision: Decision) -> Outcome:
    placer = decision.placer
    if placer is None or decision.refusal or placer.policy == "normalNodeOnly":
        return Outcome()
    return Outcome(placer.policy, placer.name, placer.node.name if placer.node else "")


def _name(decision: Decision) -> str:
    return decision.placer.name if decision.placer else ""


def _placement(decision: Decision) -> list[object]:
    return [each for each in decision.operations if each["path"].startswith("/spec")]


def _added(pod: Pod, decision: Decision, matcher: Matcher) -> dict[tuple[str, Kind, str], str]:
    """Return the entries that the patch and bindings add, including the decision record."""
    found: dict[tuple[str, Kind, str], str] = dict(at_binding(pod, decision, matcher))
    for operation in decision.operations:
        path, value = operation["path"], operation["value"]
        if path in _METADATA:
            found |= {("", _METADATA[path], key): entry for key, entry in value.items()}
        elif (parent := path.rpartition("/")[0]) in _METADATA:
            found["", _METADATA[parent], unescape(path[len(parent) + 1 :])] = value
    return found


def _effects(
    before: dict[tuple[str, Kind, str], str], after: dict[tuple[str, Kind, str], str]
) -> Iterator[EffectChange]:
    for entry in before.keys() | after.keys():
        if before.get(entry) != after.get(entry):
            at, kind, key = entry
            yield EffectChange(kind, key, before.get(entry), after.get(entry), at)
