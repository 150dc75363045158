"""Reads the pods that manifests create: a Pod, or the pod template of a workload."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from msgspec import ValidationError, convert

from ..decision.pod import Pod
from ..messages.message import Message, Quoted, message_of
from ..profiles.manifests import Manifest, read_manifests
from ..profiles.problems import not_text, problem, show
from ..profiles.text import Location, Position, TextError
from .controllers import added_labels, group_of

__all__ = ["TEMPLATES", "PlannedPod", "PodError", "read_pods"]

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""The path to the pod template in each built-in kind, empty for Pod. Other kinds are searched."""
_GROUPS = ("", "apps", "batch", "extensions")
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_DEEPEST = 10  # levels of an object that are searched for pod templates
_EXPECTED = re.compile(r"Expected `([^`]*)`")
_NAMES = {
    "array": Message("a list"),
    "object": Message("an object"),
    "bool": Message("true or false"),
    "int": Message("an integer"),
}


class PodError(ValueError):
    """A manifest's pod cannot be read. ``position`` is the line and column of the error."""

    def __init__(self, message: Message, position: Position) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


@dataclass(frozen=True, slots=True)
class PlannedPod:
    """A pod as it would be reviewed at creation, and the kind and name of the object it is from.

    It has the labels that its controller adds, if their values are known in advance. ``unknown``
    has the keys of those with other values. ``labels_complete``: whether no other label is added.
    ``template`` is the path to the pod template if the manifest has several.
    """

    kind: str
    name: str
    namespace: str
    value: dict[str, Any]
    pod: Pod
    unknown: frozenset[str] = frozenset()
    labels_complete: bool = True
    template: str = ""


def read_pods(text: str) -> Iterator[PlannedPod]:
    """Read the pods of a YAML stream. Objects without a pod template are skipped.

    Raises PodError.
    """
    try:
        for manifest in read_manifests(text, places=True):
            keys = TEMPLATES.get(str(manifest.kind))
            if keys is not None and group_of(manifest.value.get("apiVersion")) in _GROUPS:
                yield _planned(manifest, keys)
            else:
                found = list(_templates(manifest.value))
                for location in found:
                    yield _planned(manifest, location, several=len(found) > 1)
    except TextError as error:
        raise PodError(error.message, error.position) from None
    except PodError:
        raise
    except ValueError as error:
        raise PodError(message_of(error), (1, 1)) from None


def _templates(value: Mapping[str, Any]) -> Iterator[Location]:
    """Yield the paths to pod templates: objects with containers under a key like ``template``."""
    waiting: list[tuple[Location, Any]] = [((), value)]
    while waiting:
        at, each = waiting.pop()
        if isinstance(each, list):
            waiting += reversed([((*at, index), item) for index, item in enumerate(each)])
        elif isinstance(each, dict):
            spec = each.get("spec")
            named = at and str(at[-1]).lower().endswith("template")
            if named and isinstance(spec, dict) and isinstance(spec.get("containers"), list):
                yield at
            elif len(at) < _DEEPEST:
                waiting += reversed([((*at, key), item) for key, item in each.items()])


def _planned(manifest: Manifest, keys: Location, *, several: bool = False) -> PlannedPod:
    template: Any = manifest.value
    for depth, key in enumerate(keys):
        template = template[key] if _has(template, key) else None
        if template is None:
            missing = Message(
                "a {kind} needs {field}",
                kind=str(manifest.kind),
                field=_dotted(keys[: depth + 1]),
            )
            raise PodError(missing, manifest.place(*keys).value)
    if not isinstance(template, dict):
        raise PodError(
            Message("{field} must be an object", field=_dotted(keys)), manifest.place(*keys).value
        )
    kind, namespace = str(manifest.kind), manifest.metadata.get("namespace")
    value = {"apiVersion": "v1", "kind": "Pod", **_plain(template)} if keys else _plain(template)
    metadata = value.get("metadata") or {}
    spec = manifest.value.get("spec")
    added = added_labels(manifest.value.get("apiVersion"), kind, manifest.name, spec)
    own = metadata.get("labels") or {} if isinstance(metadata, dict) else None
    if added.known and isinstance(own, dict):
        metadata = {
            **metadata,
            "labels": {
                **own,
                **{key: label for key, label in added.known.items() if key not in own},
            },
        }
        value = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, **value}
        value["metadata"] = metadata
    if manifest.kind == "DaemonSet" and isinstance(metadata, dict):
        owner = {"apiVersion": "apps/v1", "kind": kind, "name": manifest.name, "controller": True}
        value["metadata"] = {**metadata, "ownerReferences": [owner]}
    try:
        pod = convert(value, Pod)
    except ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        location, wrong = _follow(path, template)
        found = problem("Pod", template, location, _message(message, wrong))
        at = manifest.place(*keys, *location).value
        raise PodError(
            Message("{field}: {problem}", field=found.path, problem=found.message), at
        ) from None
    if not isinstance(namespace, str | None):
        wrong_one = Message(
            "{field}: {problem}", field="metadata.namespace", problem=not_text(namespace)
        )
        raise PodError(wrong_one, manifest.place("metadata", "namespace").value)
    return PlannedPod(
        kind,
        manifest.name,
        namespace or "default",
        value,
        pod,
        added.unknown - (own or {}).keys(),
        added.complete,
        _dotted(keys) if several else "",
    )


def _has(value: Any, key: int | str) -> bool:
    return isinstance(key, int) or (isinstance(value, dict) and key in value)


def _dotted(keys: Location) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")


def _plain(value: Any) -> Any:
    """Return the value with each Decimal as a float, which JSON and YAML can represent."""
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
    """Return the location that a path in an error of msgspec refers to, and the value there.

    msgspec writes ``[...]`` for any key of a map. Maps have only strings as values here, so the key
    is that of a value that is not a string.
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


def _message(message: str, value: Any) -> Message:
    match = _EXPECTED.match(message)
    expected = match[1].split(" ")[0] if match else ""
    if expected == "str":
        return not_text(value)
    if expected in _NAMES:
        return Message(
            "must be {expected}, got {value}", expected=_NAMES[expected], value=show(value)
        )
    return Quoted(message.replace("`", ""))
