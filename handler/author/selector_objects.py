"""Converts Selector objects of the ECI profile's CRD form (460223) to selectors of a profile.

Where 460223 does not specify what they mean, the component's source does (aliyuneci/eci-profile).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Literal

from ..lint.implication import Demands
from ..messages.message import Language, Message, translated
from ..profiles.model import DEFAULT_POLICY, POLICIES, Policy, Selector
from ..profiles.problems import either, problem, show
from ..profiles.schema import check_selectors
from ..profiles.text import Location

__all__ = ["GROUP", "KIND", "Conversion", "Remark", "convert_objects", "overlap"]

GROUP = "eci.aliyun.com"
KIND = "Selector"

_VERSIONS = tuple(f"{GROUP}/{version}" for version in ("v1", "v1beta1"))
_SIDES = {"objectLabels": "objectSelector", "namespaceLabels": "namespaceSelector"}
_WRITTEN = {ours: theirs for theirs, ours in _SIDES.items()}
_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")
_EFFECTS = ("annotations", "labels")
_RATIOS = ("cpuRatio", "memoryRatio")
# If an object has several policies, the component uses the first of these (findExecutor in
# pkg/policy).
_PRECEDENCE: tuple[Policy, ...] = ("fair", "virtualNodeOnly", "normalNodeOnly", "normalNodePrefer")
_AT_BINDING = ("fair", "normalNodePrefer")
_MOST_COMPARED = 300  # selectors, in pairs; each pair takes about 5 us

_NO_COUNTERPART = Message("has no counterpart in a profile, left out")
_UNKNOWN = Message("unknown field, left out")
_SEVERITIES = {"lost": Message("lost"), "note": Message("note")}


@dataclass(frozen=True, slots=True)
class Remark:
    """A message about the conversion of an object.

    ``severity``: ``lost`` for what could not be converted. ``index``: the object's index in the
    input. ``location``: the field that the message is about, also as the text ``path``.
    ``at_key``: whether it is about the field's key, not its value.
    """

    severity: Literal["lost", "note"]
    message: Message
    location: Location = ()
    path: str = ""
    at_key: bool = False
    index: int = 0
    name: str = ""

    def told(self, language: Language) -> str:
        """Return the remark as a line in a language."""
        severity = translated(_SEVERITIES[self.severity], language)
        message = translated(self.message, language)
        parts = (severity, f"{KIND} {self.name}".rstrip(), self.path, message)
        return ": ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class Conversion:
    """The selectors in the format of a profile, in order of precedence, and the remarks."""

    selectors: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


class _LostError(Exception):
    """The whole object cannot be converted."""


def convert_objects(objects: Sequence[Mapping[str, Any]]) -> Conversion:
    """Convert Selector objects.

    An invalid object is left out as a whole, since it is uncertain what it matches.
    """
    conversion = Conversion()
    name_of = _names(objects)
    taken: set[str] = set()
    for index, value in enumerate(objects):
        name, remarks = name_of(value), list[Remark]()
        try:
            selector = _convert(value, name, taken, remarks)
        except _LostError:
            pass
        else:
            taken.add(name)
            conversion.selectors.append(selector)
        conversion.remarks.extend(replace(each, index=index, name=name) for each in remarks)
    conversion.selectors.sort(key=lambda selector: -selector.get("priority", 0))
    return conversion


def overlap(selectors: Iterable[Selector]) -> tuple[str, str] | None:
    """Return the names of two selectors that can match the same pod, or None if there are none.

    More than 300 selectors are not compared; the first two are returned.
    """
    all_ = list(selectors)
    for one, other in combinations(all_, 2):
        sides = ((one.object, other.object), (one.namespace, other.namespace))
        if len(all_) > _MOST_COMPARED or not any(
            Demands((*(first or ()), *(second or ()))).contradiction() for first, second in sides
        ):
            return one.name, other.name
    return None


def _names(objects: Iterable[Mapping[str, Any]]) -> Callable[[Mapping[str, Any]], str]:
    """Return a function that gives an object's name.

    It includes the namespace if several namespaces have an object of this name.
    """

    def parts(value: Mapping[str, Any]) -> tuple[str, str]:
        metadata = value.get("metadata")
        of = metadata if isinstance(metadata, dict) else {}
        name, namespace = of.get("name"), of.get("namespace")
        return (
            namespace if isinstance(namespace, str) else "",
            name if isinstance(name, str) else "",
        )

    namespaces: dict[str, set[str]] = {}
    for value in objects:
        namespace, name = parts(value)
        namespaces.setdefault(name, set()).add(namespace)

    def name_of(value: Mapping[str, Any]) -> str:
        namespace, name = parts(value)
        return f"{namespace}/{name}" if namespace and len(namespaces[name]) > 1 else name

    return name_of


def _convert(
    value: Mapping[str, Any], name: str, taken: set[str], remarks: list[Remark]
) -> dict[str, Any]:
    def lost(message: Message, *location: str, path: str = "") -> _LostError:
        path = path or ".".join(location)
        whole = Message("{problem}; the {kind} is left out", problem=message, kind=KIND)
        remarks.append(Remark("lost", whole, location, path))
        return _LostError()

    spec = value.get("spec")
    if value.get("apiVersion") not in _VERSIONS:
        message = Message(
            "must be {expected}, got {value}",
            expected=either(_VERSIONS),
            value=show(value.get("apiVersion")),
        )
        raise lost(message, "apiVersion")
    if not name.strip():
        raise lost(Message("must not be empty"), "metadata", "name")
    if name in taken:
        raise lost(Message("another {kind} has this name", kind=KIND), "metadata", "name")
    if not isinstance(spec, dict):
        raise lost(Message("must be an object, got {value}", value=show(spec)), "spec")
    remarks.extend(
        Remark("lost", _UNKNOWN, (field,), field, at_key=True)
        for field in value
        if field not in _FIELDS
    )
    selector: dict[str, Any] = {"name": name, **dict(_spec(spec, remarks))}
    _, problems = check_selectors([selector], ())
    if not problems.count:
        return selector
    for each in problems.first:
        first, *rest = each.location[1:] or ("",)
        location = (_WRITTEN.get(str(first), first), *rest) if first else ()
        at = problem("spec", spec, location, each.message)
        lost(at.message, *map(str, ("spec", *location)), path=at.path)
        remarks[-1] = replace(remarks[-1], location=("spec", *location), at_key=each.at_key)
    raise _LostError


def _spec(spec: Mapping[str, Any], remarks: list[Remark]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a selector, except for its name."""
    told = _Teller(spec, remarks)
    sides = [each for each in _SIDES if spec.get(each) is not None]
    for side in sides:
        yield _SIDES[side], spec[side]
    if not sides:
        message = Message("has neither objectLabels nor namespaceLabels, so it matches every pod")
        told.note((), message)
        yield "objectSelector", {}
    for key in spec:
        if key == "namespaceResourceLimit":
            told.lost((key,), _NO_COUNTERPART)
        elif key not in (*_SIDES, "policy", "effect", "priority"):
            told.lost((key,), _UNKNOWN)
    name, policy = _policy(spec.get("policy"), told)
    if policy is not None:
        yield "policy", policy
    effect = _effect(spec.get("effect"), name, told)
    if effect:
        yield "effect", effect
    if spec.get("priority") is not None:
        yield "priority", spec["priority"]


@dataclass(frozen=True, slots=True)
class _Teller:
    """Adds remarks about the fields of a spec."""

    spec: Mapping[str, Any]
    remarks: list[Remark]

    def lost(self, location: Location, message: Message) -> None:
        self._tell("lost", location, message)

    def note(self, location: Location, message: Message) -> None:
        self._tell("note", location, message)

    def _tell(
        self, severity: Literal["lost", "note"], location: Location, message: Message
    ) -> None:
        path = problem("spec", self.spec, location, message).path
        self.remarks.append(Remark(severity, message, ("spec", *location), path, at_key=True))


def _policy(written: Any, told: _Teller) -> tuple[Policy, Any]:
    """Return the policy that applies, and its form in a profile. Invalid values are not changed."""
    if not isinstance(written, dict):
        return DEFAULT_POLICY, written
    for key in written:
        if key == "namespaceResourceLimit":
            told.lost(("policy", key), _NO_COUNTERPART)
        elif key not in POLICIES:
            told.lost(("policy", key), _UNKNOWN)
    given = [name for name in _PRECEDENCE if written.get(name) is not None]
    if not given:
        return DEFAULT_POLICY, None
    name, *others = given
    for other in others:
        message = Message(
            "left out, because {policy} is used if there are several policies", policy=name
        )
        told.note(("policy", other), message)
    parameters = written[name]
    if not isinstance(parameters, dict):
        return name, {name: parameters}
    for key in parameters:
        if name == "normalNodePrefer" and key in _RATIOS:
            told.note(("policy", name, key), Message("left out, because it has no effect"))
        else:
            told.lost(("policy", name, key), _UNKNOWN)
    return name, {name: {}}


def _effect(written: Any, policy: Policy, told: _Teller) -> Any:
    """Return an effect in its form in a profile. Invalid values are not changed."""
    if not isinstance(written, dict):
        return written
    for key in written:
        if key not in _EFFECTS:
            told.lost(("effect", key), _UNKNOWN)
    effect = {key: written[key] for key in _EFFECTS if written.get(key)}
    if effect and policy == "normalNodeOnly":
        message = Message(
            "left out, because Alibaba Cloud's component adds no effects with normalNodeOnly"
        )
        told.note(("effect",), message)
        return None
    if effect and policy in _AT_BINDING:
        effect["at"] = "binding"
    return effect
