"""The profile as the function uses it: plain types, independent of the schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

__all__ = [
    "DEFAULT_POLICY",
    "MAX_ANNOTATION_BYTES",
    "OPT_OUT",
    "POLICIES",
    "RECORD_ANNOTATION",
    "Mode",
    "Moment",
    "NoMatchLog",
    "Operator",
    "Policy",
    "Profile",
    "Requirement",
    "Selector",
    "Toleration",
    "Unsupported",
    "VirtualNode",
    "unmet",
]

MAX_ANNOTATION_BYTES = 256 * 1024
"""The API server's limit for all annotations of a pod: keys and values, in UTF-8."""
OPT_OUT = ("alibabacloud.com/eci", "false")
"""The label of pods that are never touched."""

Policy = Literal["virtualNodeOnly", "fair", "normalNodePrefer", "normalNodeOnly"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
DEFAULT_POLICY: Policy = "virtualNodeOnly"

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
Moment = Literal["creation", "binding"]
Mode = Literal["enforce", "audit", "off"]
Unsupported = Literal["warn", "refuse", "ignore"]

RECORD_ANNOTATION = "eci-profile/selectors"
"""The decision record: a JSON list of the selectors that applied to a pod."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition on a label. ``values`` is used by In and NotIn only."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet it. An absent label meets NotIn.

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
    """Return the first requirement that the labels do not meet, or None if they meet all."""
    for requirement in requirements or ():
        if not requirement.matches(labels):
            return requirement
    return None


@dataclass(frozen=True, slots=True)
class Toleration:
    """A toleration that placement adds to a pod. ``seconds`` is tolerationSeconds."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class VirtualNode:
    """A kind of virtual node, and what placement adds to pods for it; by default a VNode (363068).

    ``name``: empty for data.virtualNode. ``unsupported``: what happens to a pod that ECI cannot
    run.
    """

    node_selector: Mapping[str, str] = field(
        default_factory=lambda: {"k8s.aliyun.com/vnode": "true"}
    )
    tolerations: tuple[Toleration, ...] = (
        Toleration(key="k8s.aliyun.com/vnode", operator="Equal", value="true", effect="NoSchedule"),
    )
    name: str = ""
    unsupported: Unsupported = "warn"

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels of a node, or a pod's nodeSelector, contain its nodeSelector.

        A virtual node without a nodeSelector cannot be recognized by labels.
        """
        items = self.node_selector.items()
        return bool(items) and all(labels.get(key) == value for key, value in items)


@dataclass(frozen=True, slots=True)
class Selector:
    """Which pods it matches, and what happens to them. A side that is None is not checked.

    Without either side it is for every pod that goes to the virtual node, and places none. ``at``:
    when its effect is added. ``percentage``: the share of the matching pods that it takes.
    ``node``: where it places pods; None, without either side, for all virtual nodes. ``index`` is
    its position in the list, ``rank`` its position in order of precedence.
    """

    name: str
    namespace: tuple[Requirement, ...] | None
    object: tuple[Requirement, ...] | None
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    at: Moment = "creation"
    policy: Policy = DEFAULT_POLICY
    mode: Mode = "enforce"
    percentage: int = 100
    node: VirtualNode | None = field(default_factory=VirtualNode)
    index: int = 0
    rank: int = 0

    @property
    def effect_only(self) -> bool:
        """Whether it only adds an effect to pods that others place."""
        return self.namespace is None and self.object is None

    @property
    def has_effect(self) -> bool:
        """Whether it adds anything."""
        return bool(self.annotations or self.labels)

    @property
    def waits_for_binding(self) -> bool:
        """Whether it has an effect that is added at binding."""
        return self.at == "binding" and self.has_effect and self.mode != "off"

    @property
    def needs_record(self) -> bool:
        """Whether a pod that it matches needs a decision record."""
        return self.mode == "enforce" and (self.percentage < 100 or self.waits_for_binding)


@dataclass(frozen=True, slots=True)
class NoMatchLog:
    """Which pods that no selector matches are logged.

    Those of one namespace, or of all if it is None, and of these the share ``rate``, 0 to 1.
    """

    namespace: str | None = None
    rate: float = 1.0


@dataclass(frozen=True, slots=True)
class Profile:
    """The selectors in order of precedence, and the virtual nodes.

    ``virtual_nodes`` has the default one and those of data.virtualNodes. ``record_always``: each
    pod that a selector applies to gets a decision record, not only those that need one.
    ``no_match_log``: which pods without a match are logged; None for none.
    """

    selectors: tuple[Selector, ...] = ()
    virtual_nodes: tuple[VirtualNode, ...] = (VirtualNode(),)
    record_always: bool = False
    no_match_log: NoMatchLog | None = None

    @property
    def waits_for_binding(self) -> bool:
        """Whether a selector has an effect that is added at binding."""
        return any(each.waits_for_binding for each in self.selectors)
