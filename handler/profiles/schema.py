"""The schema of a profile: its fields and their values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

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

from ..messages.message import Message
from .label_selector import (
    AnnotationKey,
    LabelKey,
    LabelSelector,
    LabelSelectorRequirement,
    LabelValue,
    Text,
)
from .labels import check_dns_label, check_label_key, check_label_value
from .model import (
    MAX_ANNOTATION_BYTES,
    POLICIES,
    RECORD_ANNOTATION,
    Mode,
    Moment,
    Policy,
    Unsupported,
)
from .problems import MAX_PROBLEMS, Problem, Problems, in_order, problem, problems_of, show
from .text import Location

__all__ = [
    "MAX_LABEL_BYTES",
    "WrittenEffect",
    "WrittenLog",
    "WrittenSelector",
    "WrittenToleration",
    "WrittenVirtualNode",
    "check_log",
    "check_selectors",
    "check_virtual_node",
    "check_virtual_nodes",
    "of_the_crd",
]

# The API server ties these annotations to other fields of a pod, so it could refuse a pod that gets
# one (ValidatePodSpecificAnnotations in pkg/apis/core/validation).
_TIED_ANNOTATION = re.compile(
    r"kubernetes\.io/config\.mirror|scheduler\.alpha\.kubernetes\.io/tolerations"
    r"|(?:container\.)?seccomp\.security\.alpha\.kubernetes\.io/.*"
    r"|container\.apparmor\.security\.beta\.kubernetes\.io/.*"
)
MAX_LABEL_BYTES = 64 * 1024
"""The most bytes of the labels of an effect: the API server has no limit for them alone, but
stores no pod beyond 1.5 MiB."""

_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,9}")

# A call of pydantic blocks other threads, for about a microsecond for each value.
_MOST_OF_A_SELECTOR = 10_000
_MOST_OF_AN_OBJECT = 1_000
_MOST_NODES = 20  # a node is compared with each of them
_MANY = 1_000  # errors; each takes 2 us and 1 KB to describe

_FORM = ConfigDict(extra="forbid", alias_generator=to_camel)


def _check_effect_annotation(key: str) -> str:
    if _TIED_ANNOTATION.fullmatch(key):
        raise ValueError(
            Message("this annotation is tied to other fields of the pod, so effects cannot add it")
        )
    if key == RECORD_ANNOTATION:
        raise ValueError(
            Message("this annotation is the decision record, so effects cannot add it")
        )
    return key


def _check_name(name: str) -> str:
    if not name.strip():
        raise ValueError(Message("must not be empty"))
    return name


def _whole_number(bits: int) -> AfterValidator:
    limit = 2 ** (bits - 1)

    def check(number: int) -> int:
        if not -limit <= number < limit:
            raise ValueError(
                Message(
                    "must be a {bits}-bit integer, from {least} to {most}",
                    bits=bits,
                    least=-limit,
                    most=limit - 1,
                )
            )
        return number

    return AfterValidator(check)


def _check_percentage(percentage: int) -> int:
    if not 0 <= percentage <= 100:
        raise ValueError(Message("must be an integer from 0 to 100"))
    return percentage


def _check_policy(policy: Any) -> Any:
    if not isinstance(policy, dict):
        raise ValueError(Message('must be an object such as {"fair": {}}'))
    chosen = [name for name, value in policy.items() if value is not None]
    if len(chosen) != 1 and set(chosen) <= set(POLICIES):
        raise ValueError(
            Message(
                "must have exactly one of {policies}; it has {count}",
                policies=tuple(POLICIES),
                count=len(chosen),
            )
        )
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
        """The name of the policy."""
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
    at: Moment | None = None


@validated(frozen=True, slots=True, config=_FORM)
class WrittenSelector:
    name: Annotated[Text, AfterValidator(_check_name)]
    namespace_selector: LabelSelector | None = None
    object_selector: LabelSelector | None = None
    effect: WrittenEffect | None = None
    policy: Annotated[WrittenPolicy, BeforeValidator(_check_policy)] | None = None
    priority: Annotated[int, Strict(), _whole_number(32)] | None = None
    mode: Mode | None = None
    percentage: Annotated[int, Strict(), AfterValidator(_check_percentage)] | None = None
    virtual_node: Text | None = None


@validated(frozen=True, slots=True, config=_FORM)
class WrittenToleration:
    """A toleration that the API server accepts: ValidateTolerations in pkg/apis/core/validation."""

    operator: Literal["Equal", "Exists"] | None = None
    key: Text | None = Field(default=None, validate_default=True)
    value: Text | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[int, Strict(), _whole_number(64)] | None = None

    @field_validator("key")
    @classmethod
    def _key(cls, key: str | None, info: ValidationInfo) -> str | None:
        if key:
            return check_label_key(key)
        if info.data.get("operator", "Exists") != "Exists":
            raise ValueError(
                Message('is required, unless the operator is "Exists", which tolerates all taints')
            )
        return key

    @field_validator("value")
    @classmethod
    def _value(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("operator") == "Exists":
            raise ValueError(Message("must not be set if the operator is Exists; remove it"))
        return value and check_label_value(value)

    @field_validator("toleration_seconds")
    @classmethod
    def _seconds(cls, seconds: int | None, info: ValidationInfo) -> int | None:
        if seconds is not None and info.data.get("effect", "NoExecute") != "NoExecute":
            raise ValueError(Message("must not be set unless the effect is NoExecute; remove it"))
        return seconds


@validated(frozen=True, slots=True, config=_FORM)
class WrittenVirtualNode:
    node_selector: dict[LabelKey, LabelValue] | None = None
    tolerations: list[WrittenToleration] | None = None
    unsupported: Unsupported | None = None


def _check_rate(rate: Any) -> Any:
    number = isinstance(rate, (int, float, Decimal)) and not isinstance(rate, bool)
    if not number or not 0 <= rate <= 1:
        raise ValueError(Message("must be a number from 0 to 1, such as 0.01 for one in a hundred"))
    return float(rate)


@validated(frozen=True, slots=True, config=_FORM)
class WrittenNoMatch:
    namespace: Annotated[Text, AfterValidator(check_dns_label)] | None = None
    rate: Annotated[float, BeforeValidator(_check_rate)] | None = None


@validated(frozen=True, slots=True, config=_FORM)
class WrittenLog:
    no_match: WrittenNoMatch | None = None


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
        "log": WrittenLog,
        "noMatch": WrittenNoMatch,
    }.items()
}
_OF_A_SELECTOR = frozenset(_FIELDS["selectors"])
_NAMES = frozenset(name for names in _FIELDS.values() for name in names)
_OF_THE_CRD = Message(
    "is a Selector object of the CRD form; to convert it, run python -m handler convert"
)
_SELECTOR = TypeAdapter(WrittenSelector)
_VIRTUAL_NODE = TypeAdapter(WrittenVirtualNode)
_LOG = TypeAdapter(WrittenLog)
_Form = TypeVar("_Form")


def check_selectors(
    value: Any, virtual_nodes: Collection[str]
) -> tuple[list[WrittenSelector], Problems]:
    """Validate the list of selectors; return them and the problems.

    ``virtual_nodes`` are the names that a selector may use.
    """
    selectors: list[WrittenSelector] = []
    problems = Problems()
    if not isinstance(value, list):
        problems.add([problem("selectors", value, (), _no_list(value))])
        return selectors, problems
    owners: dict[str, int] = {}
    for index, item in enumerate(value):  # one by one, so that other threads can run in between
        at = (index,)
        if of_the_crd(item):
            problems.add([problem("selectors", value, at, _OF_THE_CRD)])
            continue
        found = list(_rules(value, index, owners))
        found += _unknown_node(value, index, virtual_nodes)
        if (size := _size(item)) > _MOST_OF_A_SELECTOR:
            message = Message(
                "has {size} values, at most {most}; write several selectors",
                size=size,
                most=_MOST_OF_A_SELECTOR,
            )
            problems.add([problem("selectors", value, at, message)])
            continue
        try:
            selectors.append(_SELECTOR.validate_python(item))
        except ValidationError as error:
            count = len(found) + error.error_count()
            if not problems.full:
                found += _told(_SELECTOR, error, item, "selectors", value, at)
                found = in_order(found, value)
            problems.add(found, count)
        else:
            problems.add(found)
    return selectors, problems


def of_the_crd(value: Any) -> bool:
    """Whether it is a Selector object of the CRD form of the profile (460223), of any version."""
    return (
        isinstance(value, dict)
        and value.get("kind") == "Selector"
        and str(value.get("apiVersion")).startswith("eci.aliyun.com/")
    )


def _no_list(value: Any) -> Message:
    if of_the_crd(value):
        return _OF_THE_CRD
    got = show(value)
    if isinstance(value, dict) and "selectors" in value:
        return Message(
            "must be a list, got {value}; write only the list, without the key selectors around it",
            value=got,
        )
    if isinstance(value, dict) and "name" in value:
        return Message(
            "must be a list, got {value}; write the selector as the entry of a list", value=got
        )
    return Message("must be a list, got {value}", value=got)


def check_virtual_node(value: Any) -> tuple[WrittenVirtualNode, Problems]:
    """Validate data.virtualNode; return it and the problems."""
    return _check_node("virtualNode", value, ())


def check_virtual_nodes(value: Any) -> tuple[dict[str, WrittenVirtualNode], Problems]:
    """Validate data.virtualNodes; return them by name, and the problems."""
    nodes: dict[str, WrittenVirtualNode] = {}
    problems = Problems()
    if not isinstance(value, dict):
        message = Message(
            "must be an object that maps names to virtual nodes, got {value}", value=show(value)
        )
        problems.add([problem("virtualNodes", value, (), message)])
        return nodes, problems
    if len(value) > _MOST_NODES:
        message = Message(
            "has {count} virtual nodes, at most {most}", count=len(value), most=_MOST_NODES
        )
        problems.add([problem("virtualNodes", value, (), message)])
        return nodes, problems
    for name in value:
        nodes[name], found = _check_node("virtualNodes", value, (name,))
        if not name.strip():
            message = Message("a name must not be empty")
            problems.add([problem("virtualNodes", value, (name,), message, at_key=True)])
        problems.extend(found)
    return nodes, problems


def check_log(value: Any) -> tuple[WrittenLog, Problems]:
    """Validate data.log; return it and the problems."""
    written, problems = _check(_LOG, WrittenLog(), "log", value, ())
    asked = written.no_match
    if asked and asked.namespace is None and asked.rate is None:
        message = Message('needs a namespace, a rate, or both, such as {"namespace": "default"}')
        problems.add([problem("log", value, ("noMatch",), message)])
    return written, problems


def _check_node(root: str, value: Any, at: Location) -> tuple[WrittenVirtualNode, Problems]:
    return _check(_VIRTUAL_NODE, WrittenVirtualNode(), root, value, at)


def _check(
    form: TypeAdapter[_Form], otherwise: _Form, root: str, value: Any, at: Location
) -> tuple[_Form, Problems]:
    """Return the value at a location, as far as it exists."""
    problems = Problems()
    item = value[at[0]] if at else value
    if (size := _size(item)) > _MOST_OF_AN_OBJECT:
        message = Message("has {size} values, at most {most}", size=size, most=_MOST_OF_AN_OBJECT)
        problems.add([problem(root, value, at, message)])
        return otherwise, problems
    try:
        return form.validate_python(item), problems
    except ValidationError as error:
        found = _told(form, error, item, root, value, at)
        problems.add(in_order(found, value))
        return otherwise, problems


def _unknown_node(value: Any, index: int, known: Collection[str]) -> Iterator[Problem]:
    selector = value[index]
    name = selector.get("virtualNode") if isinstance(selector, dict) else None
    if isinstance(name, str) and name not in known:
        names = tuple(show(each) for each in list(known)[:MAX_PROBLEMS])
        message = Message(
            "must be a name in data.virtualNodes ({names}), got {name}",
            names=names or Message("which is empty"),
            name=show(name),
        )
        yield problem("selectors", value, (index, "virtualNode"), message)


def _told(
    form: TypeAdapter[Any], error: ValidationError, item: Any, root: str, value: Any, at: Location
) -> list[Problem]:
    """Return the problems of an item, or of its first entries if there are too many."""

    def known(location: Location) -> list[str]:
        names = [part for part in location if isinstance(part, str)]
        if root == "virtualNodes":  # the first part is the name of a virtual node
            names[:1] = ["virtualNode"]
        return _FIELDS[names[-1] if names else root]

    if error.error_count() > _MANY:
        try:
            form.validate_python(_first_entries(item))
        except ValidationError as of_the_first:
            error = of_the_first
        else:
            message = Message("has {count} problems", count=error.error_count())
            return [problem(root, value, at, message)]
    return list(problems_of(error, root, value, at, known))


def _first_entries(value: Any) -> Any:
    """Return the value with all known fields, and only the first entries of each container."""
    if isinstance(value, dict):
        return {
            key: _first_entries(item)
            for number, (key, item) in enumerate(value.items())
            if number < MAX_PROBLEMS or key in _NAMES
        }
    if isinstance(value, list):
        return list(map(_first_entries, value[:MAX_PROBLEMS]))
    return value


def _size(value: Any) -> int:
    """Return the number of values in a value."""
    count, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, (dict, list)):
            count += len(each)
            waiting.extend(each.values() if isinstance(each, dict) else each)
    return count


def _rules(selectors: list[Any], index: int, owners: dict[str, int]) -> Iterator[Problem]:
    """Return problems of combinations of fields, and of a name that is not unique."""
    selector = selectors[index]
    if not isinstance(selector, dict):
        return

    def found(*location: str, message: Message) -> Problem:
        return problem("selectors", selectors, (index, *location), message)

    name = selector.get("name")
    if isinstance(name, str) and owners.setdefault(name, index) != index:
        message = Message(
            "selectors[{index}] has this name too; names must be unique", index=owners[name]
        )
        yield found("name", message=message)
    if selector.keys() <= _OF_A_SELECTOR:  # a missing field may be the misspelt one
        for field, message in _without_a_side(selector):
            yield found(*field, message=message)
    for field, message in _of_effect(selector.get("effect")):
        yield found("effect", *field, message=message)


def _of_effect(effect: Any) -> Iterator[tuple[tuple[str, ...], Message]]:
    """Return the problems of all entries of an effect together."""
    if not isinstance(effect, dict):
        return
    for kind, most in (("annotations", MAX_ANNOTATION_BYTES), ("labels", MAX_LABEL_BYTES)):
        entries = effect.get(kind)
        if isinstance(entries, dict) and (size := _bytes(entries)) > most:
            yield (
                (kind,),
                Message("{size} bytes; a pod can have at most {most}", size=size, most=most),
            )
    annotations = effect.get("annotations")
    if isinstance(annotations, dict):
        cost = annotations.get(_DELETION_COST)
        if isinstance(cost, str) and not _is_int32(cost):
            message = Message(
                'must be a 32-bit integer such as "-100", got {value}', value=show(cost)
            )
            yield ("annotations", _DELETION_COST), message


def _bytes(entries: dict[str, Any]) -> int:
    texts = (text for item in entries.items() for text in item if isinstance(text, str))
    return sum(len(text.encode("utf-8", "replace")) for text in texts)


def _without_a_side(selector: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Message]]:
    """Return the problems of a selector with neither namespaceSelector nor objectSelector."""
    if any(selector.get(side) is not None for side in ("namespaceSelector", "objectSelector")):
        return
    effect = selector.get("effect")
    if not isinstance(effect, dict) or not (effect.get("annotations") or effect.get("labels")):
        yield (), Message("needs a namespaceSelector, an objectSelector, or both")
        return
    for field, why in (
        ("policy", Message("does not place pods")),
        ("percentage", Message("does not select pods itself")),
    ):
        if selector.get(field) is not None:
            message = Message(
                "a selector with an effect only {why}; remove {field}, or add a namespaceSelector"
                " or an objectSelector",
                why=why,
                field=field,
            )
            yield (field,), message


def _is_int32(text: str) -> bool:
    return bool(_WHOLE_NUMBER.fullmatch(text)) and -(2**31) <= int(text) < 2**31
