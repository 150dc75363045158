"""The fields of a Pod that the function looks at. All others pass unseen and untouched."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, StrictBool, StrictStr
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as validated

from .scheduling import NodeSelectorTerm, Toleration

__all__ = ["Affinity", "Metadata", "NodeAffinity", "NodeSelector", "OwnerReference", "Pod", "Spec"]

_FORM = ConfigDict(alias_generator=to_camel)


@validated(frozen=True, slots=True, config=_FORM)
class OwnerReference:
    kind: StrictStr = ""
    controller: StrictBool | None = None


@validated(frozen=True, slots=True, config=_FORM)
class Metadata:
    name: StrictStr | None = None
    generate_name: StrictStr | None = None
    labels: dict[StrictStr, StrictStr] | None = None
    annotations: dict[StrictStr, StrictStr] | None = None
    owner_references: list[OwnerReference] | None = None


@validated(frozen=True, slots=True, config=_FORM)
class NodeSelector:
    node_selector_terms: list[NodeSelectorTerm] | None = None


@validated(frozen=True, slots=True, config=_FORM)
class NodeAffinity:
    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: list[dict[str, Any]] | None = None


@validated(frozen=True, slots=True, config=_FORM)
class Affinity:
    node_affinity: NodeAffinity | None = None


@validated(frozen=True, slots=True, config=_FORM)
class Spec:
    node_name: StrictStr | None = None
    node_selector: dict[StrictStr, StrictStr] | None = None
    tolerations: list[Toleration] | None = None
    affinity: Affinity | None = None


@validated(frozen=True, slots=True, config=_FORM)
class Pod:
    metadata: Metadata | None = None
    spec: Spec | None = None
