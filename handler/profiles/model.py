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
"""The label of pods that no selector may touch."""

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
class Toleration:
    """What placement adds to a pod's tolerations. ``seconds`` is its tolerationSeconds."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class VirtualNode:
    """What makes the scheduler put a pod on a kind of virtual node; by default a VNode (363068).

    ``name``: empty for that of data.virtualNode. ``unsupported``: what becomes of a pod that ECI
    cannot run.
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
        """Whether labels, of a node or of a pod's nodeSelector, have all of its nodeSelector.

        A virtual node without a nodeSelector is none that labels could tell.
        """
        items = self.node_selector.items()
        return bool(items) and all(labels.get(key) == value for key, value in items)


@dataclass(frozen=True, slots=True)
class Selector:
    """Which pods are meant, and what happens to them. A side that is None is not asked.

    Without either side it is for every pod that goes to the virtual node, and places none. ``at``:
    when its effect is added. ``percentage``: the share of the pods that it takes of those that
    match. ``node``: where it places pods; None, without either side, for any of the virtual nodes.
    ``index`` is its place in the list as written, ``rank`` its place in the order that counts.
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
        """Whether it is for the pods that others place, and places none itself."""
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
    """Which pods are logged though no selector matches them.

    Those of a namespace, or if it is None of all, and of these the share ``rate``, 0 to 1.
    """

    namespace: str | None = None
    rate: float = 1.0


@dataclass(frozen=True, slots=True)
class Profile:
    """The selectors in the order in which they count, and the virtual nodes.

    ``virtual_nodes`` has the default one, and those of data.virtualNodes. ``record_always``: each
    pod that a selector applies to gets a decision record, not only those that need one.
    ``no_match_log``: which pods are logged though nothing matches them; None for none.
    """

    selectors: tuple[Selector, ...] = ()
    virtual_nodes: tuple[VirtualNode, ...] = (VirtualNode(),)
    record_always: bool = False
    no_match_log: NoMatchLog | None = None

    @property
    def waits_for_binding(self) -> bool:
        """Whether a selector has an effect that is added at binding."""
        return any(each.waits_for_binding for each in self.selectors)
