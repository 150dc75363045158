"""Kubernetes labels: what a valid key and value is, and what a LabelSelector matches.

The rules are those of k8s.io/apimachinery: ``util/validation`` for the syntax and
``apis/meta/v1`` (LabelSelectorAsSelector) for the matching.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, Strict, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as validated

__all__ = [
    "MAX_LABEL_VALUE",
    "AnnotationKey",
    "LabelKey",
    "LabelSelector",
    "LabelSelectorRequirement",
    "LabelValue",
    "Requirement",
    "Text",
    "check_label_key",
    "check_label_value",
    "is_label_key",
    "is_label_value",
    "parse_labels",
    "unmet",
]

_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_SHOWN = 60
_NAME_RULE = "at most 63 letters, digits, '-', '_' or '.', with a letter or a digit at both ends"


MAX_LABEL_VALUE = 63
"""Characters that a label's value may have."""


def is_label_key(key: str) -> bool:
    """Whether it is a qualified name, ``[prefix/]name``."""
    prefix, slash, name = key.rpartition("/")
    return (not slash or _is_prefix(prefix)) and _is_name(name)


def is_label_value(value: str) -> bool:
    """Whether a label may have it."""
    return not value or _is_name(value)


def _is_name(name: str) -> bool:
    return len(name) <= MAX_LABEL_VALUE and bool(_NAME.fullmatch(name))


def _is_prefix(prefix: str) -> bool:
    return len(prefix) <= 253 and bool(_SUBDOMAIN.fullmatch(prefix))


def check_label_key(key: str) -> str:
    """Return the key if it is a qualified name, ``[prefix/]name``; else raise ValueError."""
    prefix, slash, name = key.rpartition("/")
    if slash and not _is_prefix(prefix):
        raise ValueError(
            "the part before '/' must be a DNS name in lower case, such as example.com"
        )
    if not _is_name(name):
        part = "the part after '/'" if slash else "a key"
        raise ValueError(f"{part} must be {_NAME_RULE}")
    return key


def check_label_value(value: str) -> str:
    """Return the value if a label may have it; else raise ValueError."""
    if not is_label_value(value):
        raise ValueError(f"a label's value must be empty or {_NAME_RULE}")
    return value


def parse_labels(text: str) -> dict[str, str]:
    """Read labels that are written ``key=value,key=value``; a line break separates them too.

    Raises ValueError.
    """
    labels = {}
    for found in re.finditer(r"[^,\n]+", text):
        pair = found.group().strip()
        if not pair:
            continue
        key, separator, value = pair.partition("=")
        pair = pair if len(pair) <= _SHOWN else f"{pair[: _SHOWN - 3]}..."
        try:
            labels[check_label_key(key)] = check_label_value(value)
        except ValueError as error:
            raise ValueError(f"{pair!r}: {error}") from None
        if not separator:
            raise ValueError(f"{pair!r}: write key=value")
    return labels


def _check_unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not have half a surrogate pair (\\ud800 to \\udfff)") from None
    return text


def _check_annotation_key(key: str) -> str:
    check_label_key(key.lower())  # the API server lowers it too, so prefixes may be in upper case
    return key


Text = Annotated[str, Strict(), AfterValidator(_check_unicode)]
"""Any string that can be sent as UTF-8."""
LabelKey = Annotated[str, Strict(), AfterValidator(check_label_key)]
LabelValue = Annotated[str, Strict(), AfterValidator(check_label_value)]
AnnotationKey = Annotated[str, Strict(), AfterValidator(_check_annotation_key)]

_FORM = ConfigDict(extra="forbid", alias_generator=to_camel)

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label. ``values`` counts for In and NotIn only."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet it. NotIn is met by a label that is absent."""
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


@validated(frozen=True, slots=True, config=_FORM)
class LabelSelectorRequirement:
    """One entry of ``matchExpressions``, as it is written."""

    key: LabelKey
    operator: Operator
    values: list[LabelValue] | None = Field(default=None, validate_default=True)

    @field_validator("values", mode="before")
    @classmethod
    def _values_fit_the_operator(cls, values: object, info: ValidationInfo) -> object:
        operator = info.data.get("operator")
        if operator in ("In", "NotIn") and (values is None or values == []):
            raise ValueError(f"{operator} needs at least one value")
        if operator in ("Exists", "DoesNotExist") and values not in (None, []):
            raise ValueError(f"{operator} takes no values; leave them out")
        return values


@validated(frozen=True, slots=True, config=_FORM)
class LabelSelector:
    """A Kubernetes LabelSelector: all its requirements ANDed. An empty one matches everything."""

    match_labels: dict[LabelKey, LabelValue] | None = None
    match_expressions: list[LabelSelectorRequirement] | None = None

    def requirements(self) -> tuple[Requirement, ...]:
        """Its conditions in one form: a matchLabels entry is an In with one value."""
        return (
            *(
                Requirement(key, "In", frozenset((value,)))
                for key, value in (self.match_labels or {}).items()
            ),
            *(
                Requirement(entry.key, entry.operator, frozenset(entry.values or ()))
                for entry in self.match_expressions or ()
            ),
        )
