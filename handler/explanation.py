"""Why a pod gets what it gets: the function's own decision, told selector by selector."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import jsonpatch
import yaml

from .labels import Requirement, unmet
from .matching import Matcher
from .mutation import Mutation, left_alone, mutate
from .pod import Metadata, Pod
from .profile import Selector
from .workloads import PlannedPod

__all__ = [
    "NOT_ASKED",
    "Explanation",
    "Outcome",
    "Verdict",
    "diff",
    "document",
    "explain",
    "to_yaml",
]

Side = Literal["objectSelector", "namespaceSelector"]
Result = Literal["added", "same", "own", "other", "left-out"]

# The namespaceSelector in k8s/base/mutating-webhook-configuration.yaml.
NOT_ASKED = "kubernetes.io/metadata.name", ("kube-system", "eci-profile")
"""The label, and its values, of namespaces about whose pods the function isn't asked."""

_MOST_LINES = 10_000  # of a pod, to find the differences; the time may grow with their square
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_Kind = tuple[Literal["annotation", "label"], str, Mapping[str, str], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a selector matches; if not, the first requirement that fails, and on which side.

    ``actual`` is the value of the label that it is about, None if there is no such label.
    """

    selector: Selector
    side: Side | None = None
    failed: Requirement | None = None
    actual: str | None = None

    @property
    def matches(self) -> bool:
        """Whether the selector matches."""
        return self.failed is None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an entry of an effect. ``kept`` is the value that the pod has in the end.

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


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with its reasons. ``untouched``: why no selector may touch the pod, or None.

    That is one of the reasons of `left_alone`, or ``not-asked``: its namespace is left out.
    """

    untouched: str | None
    mutation: Mutation
    verdicts: list[Verdict] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def patched(self, pod: dict[str, Any]) -> dict[str, Any]:
        """The pod after the patch."""
        patched: dict[str, Any] = jsonpatch.apply_patch(pod, self.mutation.operations)
        return patched

    def to_json(self) -> dict[str, Any]:
        """The explanation as JSON has it."""
        mutation = self.mutation
        return {
            "leftAlone": self.untouched,
            "selectors": [_verdict(verdict) for verdict in self.verdicts],
            "effects": [asdict(outcome) for outcome in self.outcomes],
            "placement": mutation.placement
            and {
                "policy": mutation.placement,
                "selector": mutation.selectors[0],
                "refused": mutation.refused,
            },
            "warnings": mutation.warnings,
            "patch": mutation.operations,
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
    reason = "not-asked" if namespace_labels.get(key) in names else left_alone(pod)
    if reason:
        return Explanation(reason, Mutation([], []))
    labels = (pod.metadata and pod.metadata.labels) or {}
    selectors = matcher.match(labels, namespace_labels)
    mutation = mutate(pod, selectors, matcher.profile.virtual_node)
    matching = set(mutation.selectors)
    verdicts = [
        Verdict(each) if each.name in matching else _failure(each, labels, namespace_labels)
        for each in matcher.profile.selectors
    ]
    return Explanation(None, mutation, verdicts, list(_outcomes(pod, selectors, mutation)))


def _failure(
    selector: Selector, labels: Mapping[str, str], namespace_labels: Mapping[str, str]
) -> Verdict:
    side: Side = "objectSelector"
    failed, having = unmet(selector.object, labels), labels
    if failed is None:
        side, having = "namespaceSelector", namespace_labels
        failed = unmet(selector.namespace, namespace_labels)
    return Verdict(selector, side, failed, having.get(failed.key) if failed else None)


def _outcomes(pod: Pod, selectors: list[Selector], mutation: Mutation) -> Iterator[Outcome]:
    metadata = pod.metadata or Metadata()
    kinds: tuple[_Kind, ...] = (
        ("annotation", "annotations", metadata.annotations or {}, mutation.annotations),
        ("label", "labels", metadata.labels or {}, mutation.labels),
    )
    for kind, field_name, own, winners in kinds:
        added: dict[str, str] = {}
        for selector in selectors:
            for key, value in getattr(selector, field_name).items():
                outcome = Outcome(kind, key, value, selector.name, "left-out")
                if key in own:
                    result: Result = "same" if own[key] == value else "own"
                    outcome = replace(outcome, result=result, kept=own[key])
                elif winners.get(key) == selector.name:
                    added[key] = value
                    outcome = replace(outcome, result="added", kept=value)
                elif key in winners:
                    kept, keeper = added[key], winners[key]
                    outcome = replace(outcome, result="other", kept=kept, keeper=keeper)
                yield outcome


def _verdict(verdict: Verdict) -> dict[str, Any]:
    failed = verdict.failed
    return {
        "name": verdict.selector.name,
        "matches": verdict.matches,
        "failed": failed
        and {
            "selector": verdict.side,
            "key": failed.key,
            "operator": failed.operator,
            "values": sorted(failed.values),
            "actual": verdict.actual,
        },
    }
