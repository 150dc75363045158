"""The profile as the function uses it: plain types, which know nothing of how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

__all__ = [
    "DEFAULT_POLICY",
    "MAX_ANNOTATION_BYTES",
    "OPT_OUT",
    "POLICIES",
    "Operator",
    "Policy",
    "Profile",
    "Requirement",
    "Selector",
    "Toleration",
    "VirtualNode",
    "unmet",
]

MAX_ANNOTATION_BYTES = 256 * 1024
"""The API server's limit for all annotations of a pod: keys and values, in UTF-8."""
OPT_OUT = ("alibabacloud.com/eci", "false")
"""The label of pods that no selector may touch."""

Policy = Literal["virtualNodeOnly", "fair", "normalNodePrefer", "normalNodeOnly"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
DEFAULT_POLICY: Policy = "virtualNodeOnly"

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label. ``values`` counts for In and NotIn only."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet it. NotIn is met by a label that is absent.

        Source: LabelSelectorAsSelector of k8s.io/apimachinery/pkg/apis/meta/v1.
        """
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


def unmet(
    requirements: Iterable[Requirement] | None, labels: Mapping[str, str]
) -> Requirement | None:
    """The first requirement that the labels don't meet, or None if they meet all."""
    for requirement in requirements or ():
        if not requirement.matches(labels):
            return requirement
    return None


@dataclass(frozen=True, slots=True)
class Selector:
    """Which pods are meant, and what happens to them. A side that is None is not asked.

    ``index`` is its place in the list as written.
    """

    name: str
    namespace: tuple[Requirement, ...] | None
    object: tuple[Requirement, ...] | None
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    policy: Policy = DEFAULT_POLICY
    index: int = 0


@dataclass(frozen=True, slots=True)
class Toleration:
    """What placement adds to a pod's tolerations. ``seconds`` is its tolerationSeconds."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class VirtualNode:
    """What makes the scheduler put a pod on the virtual node; by default a VNode (363068)."""

    node_selector: Mapping[str, str] = field(
        default_factory=lambda: {"k8s.aliyun.com/vnode": "true"}
    )
    tolerations: tuple[Toleration, ...] = (
        Toleration(key="k8s.aliyun.com/vnode", operator="Equal", value="true", effect="NoSchedule"),
    )


@dataclass(frozen=True, slots=True)
class Profile:
    """The selectors in the order in which they count, and the virtual node they place pods on."""

    selectors: tuple[Selector, ...] = ()
    virtual_node: VirtualNode = field(default_factory=VirtualNode)
