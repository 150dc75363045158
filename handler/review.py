"""The AdmissionReview wire format (admission.k8s.io/v1 and v1beta1), in and out."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, StrictBool, StrictStr, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as validated

from .pod import Pod

__all__ = ["BadReviewError", "Response", "Review", "read", "read_config_map_data"]

# kube-apiserver cuts a warning after 256 characters and drops what exceeds 4096 in all, which
# may come from several webhooks (apiserver/pkg/endpoints/filters/warning.go).
_LONGEST_WARNING = 250
_MOST_WARNINGS = 10

_FORM = ConfigDict(alias_generator=to_camel)
_T = TypeVar("_T")


class BadReviewError(ValueError):
    """The body is not an AdmissionReview; the message is one sentence that says why."""


@validated(frozen=True, slots=True, config=_FORM)
class Resource:
    resource: StrictStr
    group: StrictStr = ""


@validated(frozen=True, slots=True, config=_FORM)
class Envelope:
    """A request without its object."""

    uid: Annotated[StrictStr, Field(min_length=1)]
    operation: StrictStr
    resource: Resource
    sub_resource: StrictStr | None = None
    namespace: StrictStr | None = None
    name: StrictStr | None = None
    dry_run: StrictBool | None = None

    def concerns(self, resource: str, *operations: str) -> bool:
        """Whether it is one of the operations on this resource of the core group itself."""
        return (
            self.resource.resource == resource
            and not self.resource.group
            and not self.sub_resource
            and self.operation in operations
        )


@validated(frozen=True, slots=True, config=_FORM)
class PodRequest(Envelope):
    object: Pod | None = None


@validated(frozen=True, slots=True)
class ConfigMap:
    data: dict[str, Any] | None = None


@validated(frozen=True, slots=True)
class ConfigMapRequest:
    object: ConfigMap


@validated(frozen=True, slots=True, config=_FORM)
class _Head:
    kind: Literal["AdmissionReview"]
    api_version: Literal["admission.k8s.io/v1", "admission.k8s.io/v1beta1"]


@validated(frozen=True, slots=True, config=_FORM)
class _EnvelopeReview(_Head):
    request: Envelope


@validated(frozen=True, slots=True, config=_FORM)
class _PodReview(_Head):
    request: PodRequest


@validated(frozen=True, slots=True)
class _ConfigMapReview:
    request: ConfigMapRequest


_ENVELOPE_REVIEW = TypeAdapter(_EnvelopeReview)
_POD_REVIEW = TypeAdapter(_PodReview)
_CONFIG_MAP_REVIEW = TypeAdapter(_ConfigMapReview)


@dataclass(frozen=True, slots=True)
class Review:
    """What the API server asks. ``pod`` is there if it asks for the creation of one."""

    api_version: str
    request: Envelope
    pod: Pod | None


@dataclass(frozen=True, slots=True)
class Response:
    """What the API server is told. Without operations nothing is patched."""

    allowed: bool = True
    operations: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    audit_annotations: Mapping[str, str] = field(default_factory=dict)
    refusal: str = ""


def read(body: bytes) -> Review:
    """Read an AdmissionReview.

    Raises BadReviewError.
    """
    try:  # nearly all reviews are of pods; others may have an object of any form
        review = _POD_REVIEW.validate_json(body)
    except ValidationError as error:
        envelope = _parse(_ENVELOPE_REVIEW, body)
        if envelope.request.concerns("pods", "CREATE"):
            raise _bad(error) from None
        return Review(envelope.api_version, envelope.request, None)
    request = review.request
    if not request.concerns("pods", "CREATE"):
        return Review(review.api_version, request, None)
    if request.object is None:
        raise BadReviewError("request.object: is required to create a pod")
    return Review(review.api_version, request, request.object)


def read_config_map_data(body: bytes) -> Mapping[str, Any]:
    """The data of the ConfigMap that a review is about.

    Raises BadReviewError.
    """
    return _parse(_CONFIG_MAP_REVIEW, body).request.object.data or {}


def write(review: Review, response: Response) -> bytes:
    """The AdmissionReview that answers."""
    answer: dict[str, Any] = {"uid": review.request.uid, "allowed": response.allowed}
    if not response.allowed:
        answer["status"] = {
            "status": "Failure",
            "reason": "Invalid",
            "code": 422,
            "message": response.refusal,
        }
    if response.operations:
        answer["patchType"] = "JSONPatch"
        answer["patch"] = base64.b64encode(json.dumps(response.operations).encode()).decode()
    if response.warnings:
        answer["warnings"] = _passable(response.warnings)
    if response.audit_annotations:
        answer["auditAnnotations"] = response.audit_annotations
    return json.dumps(
        {"apiVersion": review.api_version, "kind": "AdmissionReview", "response": answer}
    ).encode()


def _passable(warnings: Sequence[str]) -> list[str]:
    """The warnings in printable ASCII, as a header takes them, within the API server's limits."""
    shown = []
    for warning in warnings[:_MOST_WARNINGS]:
        text = "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in warning)
        shown.append(
            text if len(text) <= _LONGEST_WARNING else f"{text[: _LONGEST_WARNING - 3]}..."
        )
    if len(warnings) > _MOST_WARNINGS:
        shown.append(f"and {len(warnings) - _MOST_WARNINGS} more warnings")
    return shown


def _parse(form: TypeAdapter[_T], body: bytes) -> _T:
    try:
        return form.validate_json(body)
    except ValidationError as error:
        raise _bad(error) from None


def _bad(error: ValidationError) -> BadReviewError:
    details = error.errors(include_url=False, include_input=False)[0]
    if details["type"] == "json_invalid":
        return BadReviewError(f"the body is not JSON: {details['ctx']['error']}")
    where = ".".join(map(str, details["loc"])) or "the body"
    return BadReviewError(f"the body is not an AdmissionReview: {where}: {details['msg']}")
