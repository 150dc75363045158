"""The fields of a Pod that the function uses. All others are ignored."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from .scheduling import NodeSelectorTerm, PodToleration

__all__ = [
    "Affinity",
    "Container",
    "Metadata",
    "NodeAffinity",
    "NodeSelector",
    "OwnerReference",
    "Pod",
    "SecurityContext",
    "Spec",
    "Volume",
]


class OwnerReference(Struct, frozen=True, rename="camel"):
    kind: str = ""
    controller: bool | None = None


class Metadata(Struct, frozen=True, rename="camel"):
    name: str | None = None
    generate_name: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None


class NodeSelector(Struct, frozen=True, rename="camel"):
    node_selector_terms: list[NodeSelectorTerm] | None = None


class NodeAffinity(Struct, frozen=True, rename="camel"):
    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: list[dict[str, Any]] | None = None


class Affinity(Struct, frozen=True, rename="camel"):
    node_affinity: NodeAffinity | None = None


class SecurityContext(Struct, frozen=True, rename="camel"):
    privileged: bool | None = None


class Container(Struct, frozen=True, rename="camel"):
    security_context: SecurityContext | None = None


class Volume(Struct, frozen=True, rename="camel"):
    host_path: dict[str, Any] | None = None


class Spec(Struct, frozen=True, rename="camel"):
    node_name: str | None = None
    node_selector: dict[str, str] | None = None
    tolerations: list[PodToleration] | None = None
    affinity: Affinity | None = None
    host_network: bool | None = None
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    volumes: list[Volume] | None = None


class Pod(Struct, frozen=True, rename="camel"):
    metadata: Metadata | None = None
    spec: Spec | None = None
