"""Why a pod gets what it gets: the function's own decision, told selector by selector."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import jsonpatch
import yaml

from ..admission.warnings import warnings
from ..decision.decide import Decision, decide_pod, left_alone
from ..decision.matching import Matcher
from ..decision.pod import Pod
from ..profiles.model import Requirement, Selector, unmet
from .workloads import PlannedPod

__all__ = [
    "NOT_ASKED",
    "Explanation",
    "Verdict",
    "at_binding",
    "diff",
    "document",
    "explain",
    "to_yaml",
]

Side = Literal["objectSelector", "namespaceSelector"]

# The namespaceSelector in k8s/base/mutating-webhook-configuration.yaml.
NOT_ASKED = "kubernetes.io/metadata.name", ("kube-system", "eci-profile")
"""The label, and its values, of namespaces about whose pods the function isn't asked."""

_MOST_LINES = 10_000  # of a pod, to find the differences; the time may grow with their square
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a selector matches; if not, the first requirement that fails, and on which side.

    ``actual`` is the value of the label that it is about, None if there is no such label.
    """

    selector: Selector
    matches: bool = True
    side: Side | None = None
    failed: Requirement | None = None
    actual: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, and why each selector of the profile matches or does not."""

    decision: Decision
    verdicts: list[Verdict] = field(default_factory=list)

    def patched(self, pod: dict[str, Any]) -> dict[str, Any]:
        """The pod after the patch."""
        patched: dict[str, Any] = jsonpatch.apply_patch(pod, self.decision.operations)
        return patched

    def to_json(self) -> dict[str, Any]:
        """The explanation as JSON has it."""
        decision = self.decision
        waiting = at_binding(self)
        return {
            "leftAlone": decision.untouched,
            "selectors": [_verdict(verdict) for verdict in self.verdicts],
            "effects": [asdict(effect) for effect in decision.effects],
            **({"atBinding": waiting} if waiting else {}),
            "placement": decision.placement
            and {
                "policy": decision.placement,
                "selector": decision.placer and decision.placer.name,
                "refused": decision.refusal is not None,
            },
            "warnings": warnings(decision),
            "patch": decision.operations,
        }


def document(
    planned: PlannedPod,
    namespace: str,
    namespace_labels: Mapping[str, str],
    explanation: Explanation,
) -> dict[str, Any]:
    """The explanation as JSON has it, with the pod it is of and what becomes of it."""
    return {
        "kind": planned.kind,
        "name": planned.name,
        "namespace": namespace,
        "namespaceLabels": dict(namespace_labels),
        **explanation.to_json(),
        "pod": explanation.patched(planned.value),
    }


def diff(before: Any, after: Any) -> list[str]:
    """The lines of a unified diff of two objects in YAML; none if they are equal."""
    if before == after:
        return []
    old, new = to_yaml(before).splitlines(), to_yaml(after).splitlines()
    if len(new) > _MOST_LINES:
        return ["--- before", "+++ after", f"@@ {len(new)} lines are too many to compare @@"]
    return list(difflib.unified_diff(old, new, "before", "after", lineterm=""))


def to_yaml(value: Any) -> str:
    """The value in YAML, with its keys in their own order."""
    text: str = yaml.dump(value, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=100)
    return text


def explain(pod: Pod, namespace_labels: Mapping[str, str], matcher: Matcher) -> Explanation:
    """Decide what happens to a pod, as a review of its creation does, and say why."""
    key, names = NOT_ASKED
    if namespace_labels.get(key) in names:
        return Explanation(Decision(untouched="not-asked"))
    if reason := left_alone(pod):
        return Explanation(Decision(untouched=reason))
    labels = (pod.metadata and pod.metadata.labels) or {}
    matching = matcher.match(labels, namespace_labels)
    decision = decide_pod(pod, matching, matcher)
    found = {each.rank for each in (*matching, *decision.selectors, *decision.audited)}
    verdicts = [
        Verdict(each) if each.rank in found else _failure(each, labels, namespace_labels)
        for each in matcher.profile.selectors
    ]
    return Explanation(decision, verdicts)


def at_binding(explanation: Explanation) -> list[dict[str, str]]:
    """The entries that are added if the pod is bound to a virtual node, unless it has them."""
    return [
        {"kind": kind, "key": key, "value": value, "selector": selector.name}
        for verdict in explanation.verdicts
        if (selector := verdict.selector).at == "binding" and selector.mode == "enforce"
        if verdict.matches or selector.effect_only
        for kind, entries in (("annotation", selector.annotations), ("label", selector.labels))
        for key, value in entries.items()
    ]


def _failure(
    selector: Selector, labels: Mapping[str, str], namespace_labels: Mapping[str, str]
) -> Verdict:
    side: Side = "objectSelector"
    failed, having = unmet(selector.object, labels), labels
    if failed is None:
        side, having = "namespaceSelector", namespace_labels
        failed = unmet(selector.namespace, namespace_labels)
    if failed is None:  # it is off, or for pods that others place
        return Verdict(selector, False)
    return Verdict(selector, False, side, failed, having.get(failed.key))


def _verdict(verdict: Verdict) -> dict[str, Any]:
    failed, selector = verdict.failed, verdict.selector
    return {
        "name": selector.name,
        "matches": verdict.matches,
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
