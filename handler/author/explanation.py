"""Explains the decision about a pod, selector by selector."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import jsonpatch
import yaml

from ..admission.warnings import warnings
from ..decision.decide import Decision, decide_pod, left_alone
from ..decision.failure import Side
from ..decision.matching import Matcher
from ..decision.pod import Pod
from ..messages.message import Language, Message, translated
from ..profiles.labels import NAME_LABEL
from ..profiles.model import Policy, Requirement, Selector
from .workloads import PlannedPod

__all__ = [
    "NOT_ASKED",
    "PLACEMENTS",
    "Explanation",
    "Verdict",
    "at_binding",
    "diff",
    "document",
    "explain",
    "to_yaml",
]

# As in the namespaceSelector of k8s/base/mutating-webhook-configuration.yaml.
NOT_ASKED = NAME_LABEL, ("kube-system", "eci-profile")
"""A namespace label and its values. The function is not called for pods in these namespaces."""

_ANY = "\0"  # not a valid label value, so no selector can require it

PLACEMENTS: Mapping[Policy, Message] = {
    "virtualNodeOnly": Message("on the virtual node"),
    "fair": Message("on the virtual node or any other node"),
    "normalNodePrefer": Message("on the virtual node if other nodes are full"),
    "normalNodeOnly": Message("not on the virtual node"),
}
"""Where each policy places pods."""
_MOST_LINES = 10_000  # at most this many are compared; the time can grow quadratically
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a selector matches; if not, the first requirement that is not met, and its side.

    ``actual`` is the value of the label, None if it is absent. ``matches`` is None if it depends on
    a label that is not known; ``failed`` is then the requirement on that label. A selector that is
    off, or only adds an effect, can fail without a requirement.
    """

    selector: Selector
    matches: bool | None = True
    side: Side | None = None
    failed: Requirement | None = None
    actual: str | None = None


@dataclass(frozen=True, slots=True)
class _Sides:
    """The labels that selectors are matched with.

    ``pod`` has `_ANY` for each unknown value. ``complete``: whether ``namespace`` has all labels.
    """

    pod: Mapping[str, str]
    namespace: Mapping[str, str]
    complete: bool

    def undecided(self, selector: Selector) -> Iterator[tuple[Side, Requirement]]:
        """Yield the requirements of a selector that depend on labels that are not known."""
        for each in selector.object or ():
            if self.pod.get(each.key) == _ANY and each.operator in ("In", "NotIn"):
                yield "objectSelector", each
        for each in selector.namespace or ():
            if not self.complete and each.key not in self.namespace:
                yield "namespaceSelector", each

    def failure(self, selector: Selector) -> Verdict:
        """Return why a selector does not match, or that this is not known."""
        undecided = list(self.undecided(selector))
        requirements: tuple[tuple[Side, Mapping[str, str], Iterable[Requirement]], ...] = (
            ("objectSelector", self.pod, selector.object or ()),
            ("namespaceSelector", self.namespace, selector.namespace or ()),
        )
        for side, labels, all_ in requirements:
            for each in all_:
                if (side, each) not in undecided and not each.matches(labels):
                    return Verdict(selector, False, side, each, labels.get(each.key))
        if undecided and selector.mode != "off":
            return Verdict(selector, None, *undecided[0])
        return Verdict(selector, False)  # it is off, or only adds an effect


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, and why each selector of the profile matches or does not."""

    decision: Decision
    verdicts: list[Verdict] = field(default_factory=list)

    def patched(self, pod: dict[str, Any]) -> dict[str, Any]:
        """Return the pod after the patch."""
        patched: dict[str, Any] = jsonpatch.apply_patch(pod, self.decision.operations)
        return patched

    def to_json(self, language: Language) -> dict[str, Any]:
        """Return the explanation as an object for JSON, with warnings in a language."""
        decision = self.decision
        waiting = at_binding(self)
        return {
            "leftAlone": decision.untouched,
            "selectors": [_verdict(verdict) for verdict in self.verdicts],
            "effects": [asdict(effect) for effect in decision.effects],
            **({"atBinding": waiting} if waiting else {}),
            "placement": _placement(decision, language),
            "warnings": [translated(each, language) for each in warnings(decision)],
            "patch": decision.operations,
        }


def document(
    planned: PlannedPod,
    namespace: str,
    namespace_labels: Mapping[str, str] | None,
    explanation: Explanation,
    language: Language = "en",
) -> dict[str, Any]:
    """Return the explanation as an object for JSON, with the pod's name and the patched pod.

    ``namespace_labels`` is None if they are not known. Warnings are in ``language``.
    """
    return {
        "kind": planned.kind,
        "name": planned.name,
        **({"template": planned.template} if planned.template else {}),
        "namespace": namespace,
        "namespaceLabels": None if namespace_labels is None else dict(namespace_labels),
        **({"unknownLabels": sorted(planned.unknown)} if planned.unknown else {}),
        **explanation.to_json(language),
        "pod": explanation.patched(planned.value),
    }


def diff(before: Any, after: Any) -> list[str]:
    """Return the lines of a unified diff of two objects in YAML; none if they are equal.

    For an object that is too long to compare, a line says so.
    """
    if before == after:
        return []
    old, new = to_yaml(before).splitlines(), to_yaml(after).splitlines()
    if len(new) > _MOST_LINES:
        return [
            "--- before",
            "+++ after",
            Message("@@ too many lines to compare: {count} @@", count=len(new)),
        ]
    return list(difflib.unified_diff(old, new, "before", "after", lineterm=""))


def to_yaml(value: Any) -> str:
    """Return the value in YAML. The order of keys is kept."""
    text: str = yaml.dump(value, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=100)
    return text


def explain(
    pod: Pod,
    namespace_labels: Mapping[str, str],
    matcher: Matcher,
    unknown: Collection[str] = (),
    *,
    complete: bool = True,
) -> Explanation:
    """Decide what happens to a pod, as in a review of its creation, and say why.

    ``unknown`` has the keys of labels that the pod will have, but whose values are not known yet.
    ``complete``: whether all labels of the namespace are given. A selector that depends on a label
    that is not known is treated as not matching, and its verdict says so.
    """
    key, names = NOT_ASKED
    if namespace_labels.get(key) in names:
        return Explanation(Decision(untouched="not-asked"))
    if reason := left_alone(pod):
        return Explanation(Decision(untouched=reason))
    labels = (pod.metadata and pod.metadata.labels) or {}
    sides = _Sides({**dict.fromkeys(unknown, _ANY), **labels}, namespace_labels, complete)
    matching = [
        each
        for each in matcher.match(sides.pod, namespace_labels)
        if not any(sides.undecided(each))
    ]
    decision = decide_pod(pod, matching, matcher)
    found = {each.rank for each in (*matching, *decision.selectors, *decision.audited)}
    verdicts = [
        Verdict(each) if each.rank in found else sides.failure(each)
        for each in matcher.profile.selectors
    ]
    return Explanation(decision, verdicts)


def at_binding(explanation: Explanation) -> list[dict[str, str]]:
    """Return the entries that are added when the pod is bound to a virtual node, if absent."""
    return [
        {"kind": kind, "key": key, "value": value, "selector": selector.name}
        for verdict in explanation.verdicts
        if (selector := verdict.selector).at == "binding" and selector.mode == "enforce"
        if verdict.matches or selector.effect_only
        for kind, entries in (("annotation", selector.annotations), ("label", selector.labels))
        for key, value in entries.items()
    ]


def _placement(decision: Decision, language: Language) -> dict[str, Any] | None:
    if decision.placer is None:
        return None
    node, refusal = decision.placer.node, decision.refusal

    def told(unsupported: Iterable[str]) -> list[str]:
        return [translated(each, language) for each in unsupported]

    return {
        "policy": decision.placement,
        "selector": decision.placer.name,
        **({"virtualNode": node.name} if node and node.name else {}),
        "refused": refusal is not None,
        **(
            {"refusal": {**asdict(refusal), "unsupported": told(refusal.unsupported)}}
            if refusal
            else {}
        ),
        **({"unsupported": told(decision.unsupported)} if decision.unsupported else {}),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    failed, selector = verdict.failed, verdict.selector
    return {
        "name": selector.name,
        "matches": verdict.matches,
        **({"unknown": True} if verdict.matches is None else {}),
        **({"effectOnly": True} if selector.effect_only else {}),
        **({"mode": selector.mode} if selector.mode != "enforce" else {}),
        **({"percentage": selector.percentage} if selector.percentage != 100 else {}),
        "failed": failed
        and {
            "selector": verdict.side,
            "key": failed.key,
            "operator": failed.operator,
            "values": sorted(failed.values),
            "actual": verdict.actual,
        },
    }
