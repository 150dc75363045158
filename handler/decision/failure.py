"""Why a selector does not match a pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..profiles.model import Requirement, Selector, unmet

__all__ = ["Failure", "Side", "first_failure"]

Side = Literal["objectSelector", "namespaceSelector"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A requirement that is not met. ``actual``: the value of the label, None if it is absent."""

    side: Side
    requirement: Requirement
    actual: str | None


def first_failure(
    selector: Selector, labels: Mapping[str, str], namespace_labels: Mapping[str, str]
) -> Failure | None:
    """Return the first requirement that is not met, on the pod first; None if all are met."""
    sides: tuple[tuple[Side, tuple[Requirement, ...] | None, Mapping[str, str]], ...] = (
        ("objectSelector", selector.object, labels),
        ("namespaceSelector", selector.namespace, namespace_labels),
    )
    for side, requirements, having in sides:
        failed = unmet(requirements, having)
        if failed is not None:
            return Failure(side, failed, having.get(failed.key))
    return None
