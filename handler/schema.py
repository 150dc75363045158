"""The form of a profile: which fields an administrator may write, and what they may hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as validated

from .labels import (
    AnnotationKey,
    LabelKey,
    LabelSelector,
    LabelSelectorRequirement,
    LabelValue,
    Text,
    check_label_key,
    check_label_value,
)
from .problems import Problem, problem, problems_of, show
from .text import Location

__all__ = [
    "DEFAULT_POLICY",
    "MAX_ANNOTATION_BYTES",
    "Policy",
    "WrittenEffect",
    "WrittenSelector",
    "WrittenToleration",
    "WrittenVirtualNode",
    "check_selectors",
    "check_virtual_node",
]

MAX_ANNOTATION_BYTES = 256 * 1024
"""The API server's limit for all annotations of a pod: keys and values, in UTF-8."""

Policy = Literal["virtualNodeOnly", "fair", "normalNodePrefer", "normalNodeOnly"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
DEFAULT_POLICY: Policy = "virtualNodeOnly"

# The API server ties these annotations to other fields of a pod, so a pod that got one could be
# refused (ValidatePodSpecificAnnotations in pkg/apis/core/validation).
_TIED_ANNOTATION = re.compile(
    r"kubernetes\.io/config\.mirror|scheduler\.alpha\.kubernetes\.io/tolerations"
    r"|(?:container\.)?seccomp\.security\.alpha\.kubernetes\.io/.*"
    r"|container\.apparmor\.security\.beta\.kubernetes\.io/.*"
)
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]*")

_FORM = ConfigDict(extra="forbid", alias_generator=to_camel)


def _check_effect_annotation(key: str) -> str:
    if _TIED_ANNOTATION.fullmatch(key):
        raise ValueError("this annotation belongs to other fields of a pod, no effect may add it")
    return key


def _check_name(name: str) -> str:
    if not name.strip():
        raise ValueError("must not be empty")
    return name


def _check_policy(policy: Any) -> Any:
    if not isinstance(policy, dict):
        raise ValueError('must be an object such as {"fair": {}}')
    chosen = [name for name, value in policy.items() if value is not None]
    if len(chosen) != 1 and set(chosen) <= set(POLICIES):
        raise ValueError(f"must have exactly one of {', '.join(POLICIES)}; it has {len(chosen)}")
    return policy


@validated(frozen=True, slots=True, config=_FORM)
class Empty:
    """A policy without parameters."""


@validated(frozen=True, slots=True, config=_FORM)
class Ratios:
    """Parameters of normalNodePrefer in the CRD version (460223), without effect here."""

    cpu_ratio: Any = None
    memory_ratio: Any = None


@validated(frozen=True, slots=True, config=_FORM)
class WrittenPolicy:
    virtual_node_only: Empty | None = None
    fair: Empty | None = None
    normal_node_prefer: Ratios | None = None
    normal_node_only: Empty | None = None

    def name(self) -> Policy:
        """Which of them it is."""
        written = (
            self.virtual_node_only,
            self.fair,
            self.normal_node_prefer,
            self.normal_node_only,
        )
        return next(name for name, value in zip(POLICIES, written, strict=True) if value)


@validated(frozen=True, slots=True, config=_FORM)
class WrittenEffect:
    annotations: (
        dict[Annotated[AnnotationKey, AfterValidator(_check_effect_annotation)], Text] | None
    ) = None
    labels: dict[LabelKey, LabelValue] | None = None


@validated(frozen=True, slots=True, config=_FORM)
class WrittenSelector:
    name: Annotated[Text, AfterValidator(_check_name)]
    namespace_selector: LabelSelector | None = None
    object_selector: LabelSelector | None = None
    effect: WrittenEffect | None = None
    policy: Annotated[WrittenPolicy, BeforeValidator(_check_policy)] | None = None
    priority: Annotated[int, Strict()] | None = None


@validated(frozen=True, slots=True, config=_FORM)
class WrittenToleration:
    """A toleration as the API server takes it (ValidateTolerations in pkg/apis/core/validation)."""

    operator: Literal["Equal", "Exists"] | None = None
    key: Text | None = Field(default=None, validate_default=True)
    value: Text | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[int, Strict()] | None = None

    @field_validator("key")
    @classmethod
    def _key(cls, key: str | None, info: ValidationInfo) -> str | None:
        if key:
            return check_label_key(key)
        if info.data.get("operator", "Exists") != "Exists":
            raise ValueError('is required, unless the operator is "Exists", which tolerates all')
        return key

    @field_validator("value")
    @classmethod
    def _value(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("operator") == "Exists":
            raise ValueError("the operator Exists takes no value; leave it out")
        return value and check_label_value(value)

    @field_validator("toleration_seconds")
    @classmethod
    def _seconds(cls, seconds: int | None, info: ValidationInfo) -> int | None:
        if seconds is not None and info.data.get("effect", "NoExecute") != "NoExecute":
            raise ValueError("only the effect NoExecute takes seconds; leave them out")
        return seconds


@validated(frozen=True, slots=True, config=_FORM)
class WrittenVirtualNode:
    node_selector: dict[LabelKey, LabelValue] | None = None
    tolerations: list[WrittenToleration] | None = None


_FIELDS = {
    parent: [to_camel(field.name) for field in fields(form)]
    for parent, form in {
        "selectors": WrittenSelector,
        "namespaceSelector": LabelSelector,
        "objectSelector": LabelSelector,
        "matchExpressions": LabelSelectorRequirement,
        "effect": WrittenEffect,
        "policy": WrittenPolicy,
        "virtualNodeOnly": Empty,
        "fair": Empty,
        "normalNodePrefer": Ratios,
        "normalNodeOnly": Empty,
        "virtualNode": WrittenVirtualNode,
        "tolerations": WrittenToleration,
    }.items()
}
_SELECTORS = TypeAdapter(list[WrittenSelector])
_VIRTUAL_NODE = TypeAdapter(WrittenVirtualNode)
_Form = TypeVar("_Form")


def check_selectors(value: Any) -> tuple[list[WrittenSelector], list[Problem]]:
    """The selectors, and every problem that the value has."""
    selectors, problems = _check(_SELECTORS, "selectors", value, [])
    if isinstance(value, list):
        problems += _rules(value, {problem.location for problem in problems})
    return selectors, problems


def check_virtual_node(value: Any) -> tuple[WrittenVirtualNode, list[Problem]]:
    """The virtual node, and every problem that the value has."""
    return _check(_VIRTUAL_NODE, "virtualNode", value, WrittenVirtualNode())


def _check(
    form: TypeAdapter[_Form], root: str, value: Any, absent: _Form
) -> tuple[_Form, list[Problem]]:
    def known(location: Location) -> list[str]:
        return _FIELDS[next((p for p in reversed(location) if isinstance(p, str)), root)]

    try:
        return form.validate_python(value), []
    except ValidationError as error:
        return absent, list(problems_of(error, root, value, known))


def _rules(selectors: list[Any], known: set[Location]) -> Iterator[Problem]:
    """Problems of fields taken together."""
    owners: dict[str, int] = {}
    for index, selector in enumerate(selectors):
        if not isinstance(selector, dict):
            continue

        def found(*location: str, message: str, at: int = index) -> Problem:
            return problem("selectors", selectors, (at, *location), message)

        name = selector.get("name")
        if isinstance(name, str) and owners.setdefault(name, index) != index:
            yield found(
                "name", message=f"selectors[{owners[name]}] has this name too; names must be unique"
            )
        misspelt = any(
            len(at) == 2 and at[0] == index and at[1] not in _FIELDS["selectors"] for at in known
        )
        if not misspelt and all(
            selector.get(field) is None for field in ("namespaceSelector", "objectSelector")
        ):
            yield found(message="needs a namespaceSelector, an objectSelector, or both")
        effect = selector.get("effect")
        annotations = effect.get("annotations") if isinstance(effect, dict) else None
        if isinstance(annotations, dict):
            cost = annotations.get(_DELETION_COST)
            if isinstance(cost, str) and not _is_int32(cost):
                yield found(
                    "effect",
                    "annotations",
                    _DELETION_COST,
                    message=f'must be a 32-bit whole number such as "-100", got {show(cost)}',
                )
            size = sum(
                len(str(text).encode("utf-8", "replace"))
                for item in annotations.items()
                for text in item
            )
            if size > MAX_ANNOTATION_BYTES:
                yield found(
                    "effect",
                    "annotations",
                    message=f"{size} bytes; the API server takes at most {MAX_ANNOTATION_BYTES}",
                )


def _is_int32(text: str) -> bool:
    return bool(_WHOLE_NUMBER.fullmatch(text)) and -(2**31) <= int(text) < 2**31
