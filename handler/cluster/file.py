"""The ``file`` provider: a YAML file that stands in for a cluster."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..profiles.labels import NAME_LABEL
from ..profiles.manifests import read_manifests, read_text
from ..profiles.problems import not_text
from .source import ConfigMap, NotFoundError, PodObject, SourceError

__all__ = ["FileSource", "Objects", "read_objects"]


@dataclass(slots=True)
class Objects:
    """The objects of a YAML stream that are of use here. ``any``: it has objects of some kind."""

    any: bool = False
    config_maps: dict[tuple[str | None, str], ConfigMap] = field(default_factory=dict)
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    nodes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    pods: dict[tuple[object, str], Mapping[str, Any]] = field(default_factory=dict)

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """The ConfigMap of this name, if there is one; one without a namespace stands for any."""
        by_name = self.config_maps
        return by_name.get((namespace, name)) or by_name.get((None, name))

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """The labels of a namespace with `NAME_LABEL`, or None if there is no such namespace."""
        labels = self.namespaces.get(name)
        return None if labels is None else {NAME_LABEL: name, **labels}


class FileSource:
    """Objects of a YAML stream, read again when the file changes. Other kinds are ignored.

    A namespace that is not in the file has no labels of its own.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] = ()
        self._objects = Objects()
        self._error: SourceError | None = None  # of the file as it was seen

    def config_map(self, namespace: str, name: str) -> ConfigMap:
        """Return the file's ConfigMap; one without a namespace stands for any."""
        config_map = self._current().config_map(namespace, name)
        if config_map:
            return config_map
        raise NotFoundError(f"{self._path} has no ConfigMap {namespace}/{name}")

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Return a namespace's labels, with the one that the API server gives to each."""
        return self._current().namespace_labels(name) or {NAME_LABEL: name}

    def namespaces(self) -> list[str]:
        """Return the names of the file's namespaces. Raises SourceError."""
        return list(self._current().namespaces)

    def node_labels(self, name: str) -> Mapping[str, str]:
        """Return the labels of one of the file's Nodes."""
        labels = self._current().nodes.get(name)
        if labels is None:
            raise NotFoundError(f"{self._path} has no Node {name}")
        return labels

    def pod(self, namespace: str, name: str) -> PodObject:
        """Return one of the file's Pods."""
        metadata = self._current().pods.get((namespace, name))
        if metadata is None:
            raise NotFoundError(f"{self._path} has no Pod {namespace}/{name}")
        try:
            return _pod(name, metadata)
        except ValueError as error:
            raise SourceError(f"{self._path} is invalid: {error}") from None

    def report(self, namespace: str, name: str, config_map: ConfigMap, message: str) -> None:
        """Do nothing: a file has no events, and the log has the message."""

    def _current(self) -> Objects:
        with self._lock:
            try:
                stat = self._path.stat()
                seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
                if seen != self._seen:
                    self._error = None
                    self._look()
                    self._seen = seen
            except OSError as error:
                raise SourceError(f"{self._path} can't be read: {error.strerror}") from None
            except SourceError as error:
                self._error, self._seen = error, seen
            if self._error:
                raise self._error
            return self._objects

    def _look(self) -> None:
        try:
            with self._path.open("rb") as stream:
                objects = read_objects(read_text(stream))
        except UnicodeDecodeError:
            raise SourceError(f"{self._path} is not UTF-8 text") from None
        except ValueError as error:
            raise SourceError(f"{self._path} is invalid: {error}") from None
        if self._objects.any and not objects.any:
            # An editor may have truncated it before writing it again.
            raise SourceError(
                f"{self._path} no longer contains an object; to remove the profile, keep a"
                " ConfigMap without selectors, or another object, in it"
            )
        self._objects = objects


def read_objects(text: str) -> Objects:
    """Read the objects of a YAML stream. Raises ValueError."""
    objects = Objects()
    for manifest in read_manifests(text):
        objects.any = True
        kind, name, metadata = manifest.kind, manifest.name, manifest.metadata
        namespace = metadata.get("namespace")
        if kind == "Pod" and isinstance(namespace, str | None):  # judged when it is bound
            objects.pods[namespace or "default", name] = metadata
        if kind not in ("ConfigMap", "Namespace", "Node"):
            continue
        if not name:
            raise ValueError(f"a {kind} has no metadata.name")
        if not isinstance(namespace, str | None):
            raise ValueError(f"{kind} {name}: metadata.namespace: {not_text(namespace)}")
        if kind == "ConfigMap":
            data = manifest.value.get("data") or {}
            if not isinstance(data, dict):
                raise ValueError(f"ConfigMap {name}: data must be an object")
            objects.config_maps[namespace, name] = ConfigMap(data)
        elif kind == "Namespace":
            objects.namespaces[name] = _texts(kind, name, metadata, "labels")
        else:
            objects.nodes[name] = _texts(kind, name, metadata, "labels")
    return objects


def _pod(name: str, metadata: Mapping[str, Any]) -> PodObject:
    owners = metadata.get("ownerReferences")
    return PodObject(
        str(metadata.get("uid") or ""),
        _texts("Pod", name, metadata, "labels"),
        _texts("Pod", name, metadata, "annotations"),
        any(
            isinstance(owner, dict) and owner.get("controller") and owner.get("kind") == "DaemonSet"
            for owner in (owners if isinstance(owners, list) else ())
        ),
    )


def _texts(
    kind: object, name: str, metadata: Mapping[str, Any], field_name: str
) -> Mapping[str, str]:
    entries = metadata.get(field_name) or {}
    if not isinstance(entries, dict):
        raise ValueError(f"{kind} {name}: metadata.{field_name} must be an object")
    for key, value in entries.items():
        if not isinstance(value, str):
            raise ValueError(
                f"{kind} {name}: {field_name.removesuffix('s')} {key} must be a string;"
                ' write it in "quotes"'
            )
    return entries
