"""The interface of the providers, which read the profile and the labels of namespaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = [
    "ConfigMap",
    "ConflictError",
    "ForbiddenError",
    "NotFoundError",
    "PodObject",
    "Registrations",
    "Source",
    "SourceError",
]


class SourceError(Exception):
    """The source returned an error. ``retry_after``: seconds to wait, if the source gave them."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ForbiddenError(SourceError):
    """The source answers that one may not read this."""


class NotFoundError(SourceError):
    """The object does not exist."""


class ConflictError(SourceError):
    """The object already exists, or has changed since it was read."""


@dataclass(frozen=True, slots=True)
class ConfigMap:
    """A ConfigMap as read. Without a cluster, uid and resource version are empty."""

    data: Mapping[str, object]
    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class PodObject:
    """The fields of a pod that matter when it is bound."""

    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    of_daemonset: bool = False


class Source(Protocol):
    """Reads single objects. Blocks, and is called from several threads at once."""

    def config_map(self, namespace: str, name: str) -> ConfigMap:
        """Read a ConfigMap. Raises NotFoundError, SourceError."""
        ...

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Read a namespace's labels. Raises NotFoundError, SourceError."""
        ...

    def node_labels(self, name: str) -> Mapping[str, str]:
        """Read a node's labels. Raises NotFoundError, SourceError."""
        ...

    def pod(self, namespace: str, name: str) -> PodObject:
        """Read a pod. Raises NotFoundError, SourceError."""
        ...

    def report(self, namespace: str, name: str, config_map: ConfigMap, message: str) -> None:
        """Report on the ConfigMap that it is invalid, once for each version of it.

        Raises SourceError.
        """
        ...


class Registrations(Protocol):
    """Reads and writes a MutatingWebhookConfiguration; blocks, so it is called in a thread."""

    def registration(self, name: str) -> dict[str, Any]:
        """Read it: its JSON. Raises NotFoundError, SourceError."""
        ...

    def write_registration(self, name: str, registration: Mapping[str, Any]) -> None:
        """Write its webhooks, if it still has the resourceVersion that it was read with.

        Raises ConflictError if not, NotFoundError, SourceError.
        """
        ...
