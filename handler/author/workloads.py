"""The pods that a manifest makes: a Pod itself, or the pod template of a workload."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from msgspec import ValidationError, convert

from ..decision.pod import Pod
from ..profiles.manifests import Manifest, read_manifests
from ..profiles.problems import not_text, problem, show
from ..profiles.text import Location, Position, TextError

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
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_EXPECTED = re.compile(r"Expected `([^`]*)`")
_NAMES = {
    "array": "a list",
    "object": "an object",
    "bool": "true or false",
    "int": "a whole number",
}


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
            keys = _TEMPLATES.get(str(manifest.kind))
            if keys is not None:
                yield _planned(manifest, keys)
    except TextError as error:
        raise PodError(error.message, error.position) from None
    except PodError:
        raise
    except ValueError as error:
        raise PodError(str(error), (1, 1)) from None


def _planned(manifest: Manifest, keys: tuple[str, ...]) -> PlannedPod:
    template: Any = manifest.value
    for depth, key in enumerate(keys):
        template = template.get(key) if isinstance(template, dict) else None
        if template is None:
            missing = ".".join(keys[: depth + 1])
            raise PodError(f"a {manifest.kind} needs {missing}", manifest.place(*keys).value)
    if not isinstance(template, dict):
        raise PodError(f"{'.'.join(keys)} must be an object", manifest.place(*keys).value)
    kind, namespace = str(manifest.kind), manifest.metadata.get("namespace")
    value = {"apiVersion": "v1", "kind": "Pod", **_plain(template)} if keys else _plain(template)
    metadata = value.get("metadata") or {}
    if manifest.kind == "DaemonSet" and isinstance(metadata, dict):
        owner = {"apiVersion": "apps/v1", "kind": kind, "name": manifest.name, "controller": True}
        value["metadata"] = {**metadata, "ownerReferences": [owner]}
    try:
        pod = convert(value, Pod)
    except ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        location, wrong = _follow(path, template)
        found = problem("Pod", template, location, _message(message, wrong))
        raise PodError(str(found), manifest.place(*keys, *location).value) from None
    if not isinstance(namespace, str | None):
        message = f"metadata.namespace: {not_text(namespace)}"
        raise PodError(message, manifest.place("metadata", "namespace").value)
    return PlannedPod(kind, manifest.name, namespace or "default", value, pod)


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


def _follow(path: str, value: Any) -> tuple[Location, Any]:
    """The place that a path of msgspec names, and the value there.

    It writes ``[...]`` for a key of a map, all of which have strings here.
    """
    location: list[int | str] = []
    for name, index in _STEP.findall(path):
        step: int | str
        if index == "...":
            step = next(key for key, item in value.items() if not isinstance(item, str))
        else:
            step = name or int(index)
        location.append(step)
        value = value.get(step) if isinstance(value, dict) else value[step]
    return tuple(location), value


def _message(message: str, value: Any) -> str:
    match = _EXPECTED.match(message)
    expected = match[1].split(" ")[0] if match else ""
    if expected == "str":
        return not_text(value)
    if expected in _NAMES:
        return f"must be {_NAMES[expected]}, got {show(value)}"
    return message.replace("`", "")
