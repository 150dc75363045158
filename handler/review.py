"""The AdmissionReview wire format (admission.k8s.io/v1 and v1beta1), in and out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, field, json
from pydantic_core import from_json

from .pod import Pod

__all__ = ["BadReviewError", "Response", "Review", "read", "read_config_map_data"]

# kube-apiserver cuts a warning after 256 characters and drops what exceeds 4096 in all, which
# may come from several webhooks (apiserver/pkg/endpoints/filters/warning.go).
_LONGEST_WARNING = 250
_MOST_WARNINGS = 10

_MISSING = re.compile(r"Object missing required field `(\w+)`")
_KNOWN = {
    "kind": "AdmissionReview",
    "apiVersion": "admission.k8s.io/v1 or admission.k8s.io/v1beta1",
}
_T = TypeVar("_T")


class BadReviewError(ValueError):
    """The body is not an AdmissionReview; the message is one sentence that says why."""


class Resource(Struct, frozen=True, rename="camel"):
    resource: str
    group: str = ""


class Envelope(Struct, frozen=True, rename="camel"):
    """A request without its object."""

    uid: Annotated[str, Meta(min_length=1)]
    operation: str
    resource: Resource
    sub_resource: str | None = None
    namespace: str | None = None
    name: str | None = None
    dry_run: bool | None = None

    def concerns(self, resource: str, *operations: str) -> bool:
        """Whether it is one of the operations on this resource of the core group itself."""
        return (
            self.resource.resource == resource
            and not self.resource.group
            and not self.sub_resource
            and self.operation in operations
        )


class PodRequest(Envelope, frozen=True, rename="camel"):
    object: Pod | None = None


class ConfigMap(Struct, frozen=True, rename="camel"):
    data: dict[str, Any] | None = None


class ConfigMapRequest(Struct, frozen=True, rename="camel"):
    object: ConfigMap


class _Head(Struct, frozen=True, rename="camel"):
    kind: Literal["AdmissionReview"]
    api_version: Literal["admission.k8s.io/v1", "admission.k8s.io/v1beta1"]


class _EnvelopeReview(_Head, frozen=True, rename="camel"):
    request: Envelope


class _PodReview(_Head, frozen=True, rename="camel"):
    request: PodRequest


class _ConfigMapReview(Struct, frozen=True, rename="camel"):
    request: ConfigMapRequest


_ENVELOPE_REVIEW = json.Decoder(_EnvelopeReview)
_POD_REVIEW = json.Decoder(_PodReview)
_CONFIG_MAP_REVIEW = json.Decoder(_ConfigMapReview)


class Review(Struct, frozen=True):
    """What the API server asks. ``pod`` is there if it asks for the creation of one."""

    api_version: str
    request: Envelope
    pod: Pod | None


class Response(Struct, frozen=True):
    """What the API server is told. Without operations nothing is patched."""

    allowed: bool = True
    operations: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    audit_annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    refusal: str = ""


def read(body: bytes) -> Review:
    """Read an AdmissionReview.

    Raises BadReviewError.
    """
    try:  # nearly all reviews are of pods; others may have an object of any form
        review = _POD_REVIEW.decode(body)
    except (ValueError, RecursionError) as error:
        envelope = _parse(_ENVELOPE_REVIEW, body)
        if envelope.request.concerns("pods", "CREATE"):
            raise _bad(error, body) from None
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
        answer["patch"] = json.encode(response.operations)  # bytes, which it writes in base64
    if response.warnings:
        answer["warnings"] = _passable(response.warnings)
    if response.audit_annotations:
        answer["auditAnnotations"] = response.audit_annotations
    return json.encode(
        {"apiVersion": review.api_version, "kind": "AdmissionReview", "response": answer}
    )


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


def _parse(form: json.Decoder[_T], body: bytes) -> _T:
    try:
        return form.decode(body)
    except (ValueError, RecursionError) as error:
        raise _bad(error, body) from None


def _bad(error: ValueError | RecursionError, body: bytes) -> BadReviewError:
    try:
        from_json(body)  # unlike msgspec, it looks at all of the body, and says where it is wrong
    except ValueError as exact:
        return BadReviewError(f"the body is not JSON: {exact}")
    message, _, path = str(error).partition(" - at `$")
    where = path.strip(".`")
    if missing := _MISSING.fullmatch(message):
        where, message = f"{where}.{missing[1]}".lstrip("."), "is required"
    if where in _KNOWN:
        message += f", known is {_KNOWN[where]}"
    return BadReviewError(
        f"the body is not an AdmissionReview: {where or 'the body'}: {message.replace('`', '')}"
    )
