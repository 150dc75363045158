"""The pods that a manifest makes: a Pod itself, or the pod template of a workload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter, ValidationError

from .manifests import Manifest, read_manifests
from .pod import Pod
from .problems import in_order, problems_of
from .text import Location, Position, TextError

__all__ = ["PlannedPod", "PodError", "read_pods"]

# Where each kind has its pod or pod template.
_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
_POD = TypeAdapter(Pod)


class PodError(ValueError):
    """A manifest's pod can't be read; the message names the reason, ``position`` where it is."""

    def __init__(self, message: str, position: Position) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True, slots=True)
class PlannedPod:
    """A pod as its creation would be reviewed, and the manifest that it is of.

    Labels that a controller adds to its pods' own, such as a template's hash, are not there.
    """

    kind: str
    name: str
    namespace: str
    value: dict[str, Any]
    pod: Pod


def read_pods(text: str) -> Iterator[PlannedPod]:
    """Read the pods of a YAML stream; kinds that make none are passed over.

    Raises PodError.
    """
    try:
        for manifest in read_manifests(text, places=True):
            way = _TEMPLATES.get(str(manifest.kind))
            if way is not None:
                yield _planned(manifest, way)
    except TextError as error:
        raise PodError(error.message, error.position) from None
    except PodError:
        raise
    except ValueError as error:
        raise PodError(str(error), (1, 1)) from None


def _planned(manifest: Manifest, way: tuple[str, ...]) -> PlannedPod:
    template: Any = manifest.value
    for depth, key in enumerate(way):
        template = template.get(key) if isinstance(template, dict) else None
        if template is None:
            missing = ".".join(way[: depth + 1])
            raise PodError(f"a {manifest.kind} needs {missing}", manifest.place(*way).value)
    if not isinstance(template, dict):
        raise PodError(f"{'.'.join(way)} must be an object", manifest.place(*way).value)
    kind, namespace = str(manifest.kind), manifest.metadata.get("namespace")
    value = {"apiVersion": "v1", "kind": "Pod", **_plain(template)} if way else _plain(template)
    if manifest.kind == "DaemonSet":
        owner = {"apiVersion": "apps/v1", "kind": kind, "name": manifest.name, "controller": True}
        metadata = value.get("metadata") or {}
        value["metadata"] = {**metadata, "ownerReferences": [owner]}
    try:
        pod = _POD.validate_python(value)
    except ValidationError as error:
        problems = problems_of(error, "Pod", template, _any_field)
        first = in_order(list(problems), template)[0]
        place = manifest.place(*way, *first.location)
        raise PodError(str(first), place.value) from None
    named = namespace if isinstance(namespace, str) and namespace else "default"
    return PlannedPod(kind, manifest.name, named, value, pod)


def _plain(value: Any) -> Any:
    """The value with numbers as JSON and YAML write them."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case Decimal():
            return float(value)
        case _:
            return value


def _any_field(_: Location) -> list[str]:
    return []  # there are no unknown ones
