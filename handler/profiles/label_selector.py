"""The schema of a Kubernetes LabelSelector, and of strings in a profile."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, Strict, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as validated

from ..messages.message import Message
from .labels import check_label_key, check_label_value
from .model import Operator, Requirement

__all__ = [
    "AnnotationKey",
    "LabelKey",
    "LabelSelector",
    "LabelSelectorRequirement",
    "LabelValue",
    "Text",
]


def _check_unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        message = Message("must not contain an unpaired surrogate (\\ud800 to \\udfff)")
        raise ValueError(message) from None
    return text


def _check_annotation_key(key: str) -> str:
    check_label_key(key.lower())  # the API server converts it too, so prefixes may be in upper case
    return key


Text = Annotated[str, Strict(), AfterValidator(_check_unicode)]
"""A string that can be encoded in UTF-8."""
LabelKey = Annotated[str, Strict(), AfterValidator(check_label_key)]
LabelValue = Annotated[str, Strict(), AfterValidator(check_label_value)]
AnnotationKey = Annotated[str, Strict(), AfterValidator(_check_annotation_key)]

_FORM = ConfigDict(extra="forbid", alias_generator=to_camel)


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
            raise ValueError(Message("{operator} needs at least one value", operator=operator))
        if operator in ("Exists", "DoesNotExist") and values not in (None, []):
            raise ValueError(
                Message(
                    "must not be set if the operator is {operator}; remove them", operator=operator
                )
            )
        return values


@validated(frozen=True, slots=True, config=_FORM)
class LabelSelector:
    """A Kubernetes LabelSelector: all requirements must hold. An empty one matches everything."""

    match_labels: dict[LabelKey, LabelValue] | None = None
    match_expressions: list[LabelSelectorRequirement] | None = None

    def requirements(self) -> tuple[Requirement, ...]:
        """Return its requirements; an entry of matchLabels becomes an In with one value."""
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
