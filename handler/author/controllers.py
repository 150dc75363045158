"""The labels that controllers add to those of the pod template, as of Kubernetes 1.28.

The review of a pod includes them. Some of their values are not known before the pod is created.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["AddedLabels", "added_labels", "group_of"]

_JOB = ("job-name", "batch.kubernetes.io/job-name")
_UID_OF_A_JOB = ("controller-uid", "batch.kubernetes.io/controller-uid")
_INDEX_OF_A_JOB = "batch.kubernetes.io/job-completion-index"
_REVISION = "controller-revision-hash"
_KNATIVE = "serving.knative.dev"
_OF_KNATIVE = tuple(
    f"{_KNATIVE}/{name}"
    for name in (
        "revision",
        "revisionUID",
        "configurationGeneration",
        "configurationUID",
        "serviceUID",
    )
)


@dataclass(frozen=True, slots=True)
class AddedLabels:
    """The labels with known values, and the keys of labels whose values are not known yet.

    ``complete``: whether these are all.
    """

    known: Mapping[str, str] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    complete: bool = True


def group_of(api_version: object) -> str:
    """Return the API group of an apiVersion; empty for ``v1``, or if there is no apiVersion."""
    group, slash, _ = str(api_version or "").partition("/")
    return group if slash else ""


def added_labels(api_version: object, kind: str, name: str, spec: Any) -> AddedLabels:
    """Return the labels that are added to the pods of an object. ``name``: empty if not known."""
    group = group_of(api_version) or _GROUPS.get(kind, "")
    rule = _RULES.get((group, kind))
    if rule is None:
        return AddedLabels(complete=False)
    return rule(name, spec if isinstance(spec, dict) else {})


def _nothing(_: str, __: Mapping[str, Any]) -> AddedLabels:
    return AddedLabels()


def _unknown(*keys: str) -> Callable[[str, Mapping[str, Any]], AddedLabels]:
    return lambda _, __: AddedLabels(unknown=frozenset(keys))


def _named(keys: tuple[str, ...], name: str, *unknown: str) -> AddedLabels:
    """Return labels that all have the object's name as value, if the name is known."""
    if not name:
        return AddedLabels(unknown=frozenset((*keys, *unknown)))
    return AddedLabels(dict.fromkeys(keys, name), frozenset(unknown))


def _of_a_stateful_set(name: str, spec: Mapping[str, Any]) -> AddedLabels:
    """Return those of the first pod.

    Source: pkg/controller/statefulset/stateful_set_utils.go of Kubernetes.
    """
    ordinals = spec.get("ordinals")
    start = ordinals.get("start") if isinstance(ordinals, dict) else None
    first = start if isinstance(start, int) else 0
    known = {
        "statefulset.kubernetes.io/pod-name": f"{name}-{first}",
        "apps.kubernetes.io/pod-index": str(first),
    }
    return AddedLabels(known, frozenset((_REVISION,)))


def _of_a_job(name: str, spec: Mapping[str, Any]) -> AddedLabels:
    """Source: generateSelector in pkg/registry/batch/job/strategy.go of Kubernetes."""
    index = (_INDEX_OF_A_JOB,) if spec.get("completionMode") == "Indexed" else ()
    if spec.get("manualSelector") is True:
        return AddedLabels(unknown=frozenset(index))
    return _named(_JOB, name, *_UID_OF_A_JOB, *index)


def _of_a_cron_job(_: str, spec: Mapping[str, Any]) -> AddedLabels:
    template = spec.get("jobTemplate")
    of_the_job = template.get("spec") if isinstance(template, dict) else None
    # The Job's name is not known: it ends with the scheduled time.
    return _of_a_job("", of_the_job if isinstance(of_the_job, dict) else {})


def _of_a_knative_service(name: str, _: Mapping[str, Any]) -> AddedLabels:
    """Source: makeLabels in pkg/reconciler/revision/resources/meta.go of knative/serving."""
    keys = (f"{_KNATIVE}/service", f"{_KNATIVE}/configuration")
    return _named(keys, name, *_OF_KNATIVE, "app", "pod-template-hash")


_RULES: Mapping[tuple[str, str], Callable[[str, Mapping[str, Any]], AddedLabels]] = {
    ("", "Pod"): _nothing,
    ("apps", "Deployment"): _unknown("pod-template-hash"),
    ("apps", "ReplicaSet"): _nothing,
    ("apps", "StatefulSet"): _of_a_stateful_set,
    ("apps", "DaemonSet"): _unknown(_REVISION, "pod-template-generation"),
    ("batch", "Job"): _of_a_job,
    ("batch", "CronJob"): _of_a_cron_job,
    ("argoproj.io", "Rollout"): _unknown("rollouts-pod-template-hash"),
    (_KNATIVE, "Service"): _of_a_knative_service,
}
_GROUPS = {kind: group for group, kind in _RULES if group in ("apps", "batch")}
