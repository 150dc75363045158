"""Stores what a plan needs of a cluster: namespaces, workloads, and pods, grouped if equal.

Only the fields that a decision under the two profiles can depend on are kept. The pods of a
workload rarely differ in these, so memory grows with the number of workloads, not of pods.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from msgspec import Struct, ValidationError, convert, msgpack
from msgspec.structs import replace

from ..decision.effects import size_of
from ..decision.pod import Metadata, OwnerReference, Pod, Spec
from ..messages.message import Message, Quoted
from ..profiles.model import MAX_ANNOTATION_BYTES, OPT_OUT, RECORD_ANNOTATION, Profile
from .workloads import TEMPLATES

__all__ = [
    "CONTROLLER_LABELS",
    "Alike",
    "Group",
    "Inventory",
    "InventoryError",
    "Key",
    "Relevant",
]


_EXAMPLES = 3
_MOST_OWNERS = 5  # between a pod and its workload
_FINISHED = ("Succeeded", "Failed")
_MIRROR = "kubernetes.io/config.mirror"
_HASH = "pod-template-hash"
_OF_CRON_JOB = re.compile(r"(.+)-\d{8,10}")  # the scheduled time, in minutes since 1970
CONTROLLER_LABELS = frozenset(
    (
        _HASH,
        "controller-revision-hash",
        "pod-template-generation",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-completion-index",
        "batch.kubernetes.io/job-name",
        "controller-uid",
        "job-name",
    )
)
"""The labels that controllers add to pods, in addition to those of the template."""


class InventoryError(ValueError):
    """An object cannot be read. The message names the object and the reason."""


class Key(NamedTuple):
    """Identifies a workload.

    Pods without a controller share one key for each namespace, with an empty kind and name.
    """

    namespace: str
    kind: str = ""
    name: str = ""


class _Owner(OwnerReference, frozen=True, rename="camel"):
    name: str = ""


class _Metadata(Metadata, frozen=True, rename="camel"):
    uid: str = ""
    namespace: str = ""
    owner_references: list[_Owner] | None = None  # type: ignore[assignment]

    @property
    def controller(self) -> _Owner | None:
        return next((each for each in self.owner_references or () if each.controller), None)


class _Condition(Struct, frozen=True):
    type: str = ""
    status: str = ""


class _Status(Struct, frozen=True):
    phase: str = ""
    conditions: list[_Condition] | None = None


class _Object(Struct, frozen=True):
    metadata: _Metadata
    status: _Status | None = None


class _Pod(_Object, frozen=True):
    spec: Spec | None = None


class Relevant:
    """Reduces pods to the fields that a decision under any of the profiles can depend on.

    ``asked``: the keys of pod labels that decide whether a selector applies. ``drawn``: whether a
    selector takes only a percentage of the pods.
    """

    def __init__(self, *profiles: Profile) -> None:
        selectors = [each for profile in profiles for each in profile.selectors]
        self.asked = {each.key for selector in selectors for each in selector.object or ()}
        self.asked.add(OPT_OUT[0])
        self._labels = self.asked | {key for each in selectors for key in each.labels}
        self._annotations = {key for each in selectors for key in each.annotations}
        self._annotations |= {RECORD_ANNOTATION, _MIRROR}
        # The most bytes that can be added. If they certainly fit, other annotations can be dropped.
        self._added = sum(size_of(each.annotations) + len(each.name) * 4 + 4 for each in selectors)
        self.drawn = any(0 < each.percentage < 100 for each in selectors)

    def of(self, pod: Pod) -> Pod:
        """Return the pod with only these fields."""
        metadata = pod.metadata
        if metadata is None:
            return pod
        labels, annotations = metadata.labels, metadata.annotations
        if labels:
            labels = {key: value for key, value in labels.items() if key in self._labels}
        if annotations and size_of(annotations) + self._added <= MAX_ANNOTATION_BYTES:
            kept = self._annotations
            annotations = {key: value for key, value in annotations.items() if key in kept}
        owners = [
            OwnerReference(each.kind, each.controller)
            for each in metadata.owner_references or ()
            if each.controller
        ]
        return Pod(Metadata(None, None, labels, annotations, owners or None), pod.spec)

    def of_running(self, metadata: Metadata, spec: Spec | None) -> Pod:
        """Return the same for a running pod, without its nodeName."""
        if spec and spec.node_name:
            spec = replace(spec, node_name=None)
        return self.of(Pod(metadata, spec))


@dataclass(slots=True)
class Alike:
    """Pods that are equal in all fields that a decision can depend on.

    ``pods``: uid and name of a few, or of all if a selector takes a percentage, since such a
    decision depends on the uid.
    """

    pod: Pod
    count: int = 0
    pods: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Workload:
    template: Pod
    controller: tuple[str, str] | None
    finished: bool


@dataclass(slots=True)
class Group:
    """The pods of a workload, each with the template that it is created from, None if unknown.

    For a workload without pods, ``alike`` is empty and ``template`` is set.
    """

    key: Key
    alike: list[tuple[Alike, Pod | None]] = field(default_factory=list)
    template: Pod | None = None


@dataclass(slots=True)
class Inventory:
    """The objects of a cluster, reduced to what a plan needs.

    ``namespaces``: the labels by name. ``finished``: the number of pods that have succeeded or
    failed, which are not created again.
    """

    relevant: Relevant
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    finished: int = 0
    _workloads: dict[Key, _Workload] = field(default_factory=dict)
    _pods: dict[tuple[Key, str], dict[bytes, Alike]] = field(default_factory=dict)

    def add(self, value: Mapping[str, Any]) -> None:
        """Add a pod, namespace or workload. Other kinds are ignored.

        Raises InventoryError if the object cannot be read.
        """
        kind = value.get("kind")
        try:
            if kind == "Pod":
                self._add_pod(convert(value, _Pod))
            elif kind == "Namespace":
                metadata = convert(value, _Object).metadata
                self.namespaces[metadata.name or ""] = metadata.labels or {}
            elif isinstance(kind, str) and kind in TEMPLATES:
                self._add_workload(kind, value)
        except ValidationError as error:
            names: Any = value.get("metadata")
            names = names if isinstance(names, dict) else {}
            name = "/".join(str(names[key]) for key in ("namespace", "name") if key in names)
            message = Message(
                "{kind} {name}: {reason}",
                kind=str(kind),
                name=name or Message("(without a name)"),
                reason=Quoted(str(error).replace("`", "")),
            )
            raise InventoryError(message) from None

    def __bool__(self) -> bool:
        """Whether there is any pod or workload."""
        return bool(self._pods or self._workloads or self.finished)

    def groups(self) -> Iterator[Group]:
        """Yield each workload with its pods, sorted by namespace, kind and name.

        A workload without pods has its template only. It is omitted if it has a controller itself
        or has finished.
        """
        found: dict[Key, Group] = {}
        for (key, template_hash), pods in self._pods.items():
            top = self._top(key, template_hash)
            known = self._workloads.get(top) or self._workloads.get(key)
            template = known.template if known else None
            group = found.setdefault(top, Group(top))
            group.alike += ((each, template) for each in pods.values())
        for key, workload in self._workloads.items():
            if key not in found and not workload.controller and not workload.finished:
                found[key] = Group(key, template=workload.template)
        yield from (found[key] for key in sorted(found))

    def _add_pod(self, pod: _Pod) -> None:
        metadata = pod.metadata
        if pod.status and pod.status.phase in _FINISHED:
            self.finished += 1
            return
        owner = metadata.controller
        key = Key(metadata.namespace or "default", *((owner.kind, owner.name) if owner else ()))
        template_hash = (metadata.labels or {}).get(_HASH, "") if owner else ""
        kept = self.relevant.of_running(metadata, pod.spec)
        group = self._pods.setdefault((key, template_hash), {})
        alike = group.setdefault(msgpack.encode(kept), Alike(kept))
        alike.count += 1
        if self.relevant.drawn or len(alike.pods) < _EXAMPLES:
            alike.pods.append((metadata.uid, metadata.name or ""))

    def _add_workload(self, kind: str, value: Mapping[str, Any]) -> None:
        found = convert(value, _Object)
        template: Any = value
        for field_name in TEMPLATES[kind]:
            template = template.get(field_name) if isinstance(template, dict) else None
        if template is None:
            raise ValidationError(f"{'.'.join(TEMPLATES[kind])} is missing")
        pod = convert(template, Pod)
        metadata = found.metadata
        if kind == "DaemonSet":
            given = pod.metadata or Metadata()
            owners = [OwnerReference(kind, controller=True)]
            pod = Pod(Metadata(None, None, given.labels, given.annotations, owners), pod.spec)
        owner = metadata.controller
        finished = kind == "Job" and any(
            each.type in ("Complete", "Failed") and each.status == "True"
            for each in (found.status and found.status.conditions) or ()
        )
        key = Key(metadata.namespace or "default", kind, metadata.name or "")
        self._workloads[key] = _Workload(
            self.relevant.of(pod), (owner.kind, owner.name) if owner else None, finished
        )

    def _top(self, key: Key, template_hash: str) -> Key:
        """Return the topmost workload that a pod's controller belongs to."""
        for _ in range(_MOST_OWNERS):
            known = self._workloads.get(key)
            if known is None or known.controller is None:
                break
            key = Key(key.namespace, *known.controller)
        if key in self._workloads:
            return key
        if key.kind == "ReplicaSet" and template_hash and key.name.endswith(f"-{template_hash}"):
            return Key(key.namespace, "Deployment", key.name.removesuffix(f"-{template_hash}"))
        if key.kind == "Job" and (match := _OF_CRON_JOB.fullmatch(key.name)):
            cron_job = Key(key.namespace, "CronJob", match[1])
            if cron_job in self._workloads:
                return cron_job
        return key
