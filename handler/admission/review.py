"""The AdmissionReview wire format (admission.k8s.io/v1 and v1beta1), in and out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, ValidationError, field, json

from ..decision.pod import Metadata, Pod
from ..profiles.labels import is_namespace
from ..shorten import shorten

__all__ = [
    "BadReviewError",
    "BindingObject",
    "Edit",
    "Response",
    "Review",
    "read",
    "read_binding",
    "read_edit",
    "write",
]

# kube-apiserver cuts a warning after 256 characters and drops what exceeds 4096 in all, which
# may come from several webhooks (apiserver/pkg/endpoints/filters/warning.go).
_LONGEST_WARNING = 250
_MOST_WARNINGS = 10

# A larger body, in bytes, is decoded in two steps: fields that are not used are dropped first, and
# the entries of the others are counted before they are decoded.
_LARGE = 16 * 1024
_MOST_ENTRIES = 10_000
"""Labels, annotations, tolerations and so on in one review: about 2 MB when decoded."""
_MOST_BYTES = 4 * 2**20
"""Bytes of these in one review; a request to the API server has at most 3 MiB."""
_CHUNK = 64 * 1024
_MOST_OF_CONTAINERS = 128 * 1024
"""Bytes of the containers, and of the volumes, that are examined: about 3 MB when decoded."""

_LONGEST_MESSAGE = 300
_DNS_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?")  # consecutive dots are harmless here
_LONGEST_DNS_NAME = 253
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_AT_BYTE = re.compile(r"(.*) \(byte (\d+)\)")
_KNOWN = {
    "kind": "AdmissionReview",
    "apiVersion": "admission.k8s.io/v1 or admission.k8s.io/v1beta1",
}
_T = TypeVar("_T")


class BadReviewError(ValueError):
    """The body is not a valid AdmissionReview; the message is one sentence with the reason."""


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

    def concerns(self, resource: str, *operations: str, sub_resource: str = "") -> bool:
        """Whether it is one of these operations on this resource of the core group."""
        return (
            self.resource.resource == resource
            and not self.resource.group
            and (self.sub_resource or "") == sub_resource
            and self.operation in operations
        )


class PodRequest(Envelope, frozen=True, rename="camel"):
    object: Pod | None = None


class ConfigMap(Struct, frozen=True, rename="camel"):
    data: dict[str, Any] | None = None


class ConfigMapRequest(Struct, frozen=True, rename="camel"):
    object: ConfigMap


class _OldConfigMap(Struct, frozen=True):
    data: Raw = Raw(b"{}")


class _UserInfo(Struct, frozen=True):
    username: str = ""


class _OriginRequest(Struct, frozen=True, rename="camel"):
    old_object: _OldConfigMap | None = None
    user_info: _UserInfo | None = None


class Edit(Struct, frozen=True):
    """An edit of a ConfigMap: its new data, and what the log says about its origin.

    ``before``: the data that it replaces, None if unknown. ``user``: the name of the user.
    """

    data: Mapping[str, Any]
    before: Mapping[str, Any] | None = None
    user: str = ""


class Target(Struct, frozen=True):
    name: str
    kind: str = ""


class BoundMetadata(Metadata, frozen=True, rename="camel"):
    uid: str = ""


class BindingObject(Struct, frozen=True, rename="camel"):
    """A Binding: the pod, the node, and the metadata that is merged into the pod."""

    target: Target
    metadata: BoundMetadata


class BindingRequest(Struct, frozen=True, rename="camel"):
    object: BindingObject


class _Head(Struct, frozen=True, rename="camel"):
    kind: Literal["AdmissionReview"]
    api_version: Literal["admission.k8s.io/v1", "admission.k8s.io/v1beta1"]


class _EnvelopeReview(_Head, frozen=True, rename="camel"):
    request: Envelope


class _PodReview(_Head, frozen=True, rename="camel"):
    request: PodRequest


class _ConfigMapReview(Struct, frozen=True, rename="camel"):
    request: ConfigMapRequest


class _OriginReview(Struct, frozen=True):
    request: _OriginRequest


class _BindingReview(Struct, frozen=True, rename="camel"):
    request: BindingRequest


class _Outline(Struct, omit_defaults=True, rename="camel"):
    """The fields that are used of an object, not yet decoded. The base of all outlines."""


class _MetadataOutline(_Outline, rename="camel"):
    uid: Raw | UnsetType = UNSET
    name: Raw | UnsetType = UNSET
    generate_name: Raw | UnsetType = UNSET
    labels: Raw | UnsetType = UNSET
    annotations: Raw | UnsetType = UNSET
    owner_references: Raw | UnsetType = UNSET


class _SpecOutline(_Outline, rename="camel"):
    node_name: Raw | UnsetType = UNSET
    node_selector: Raw | UnsetType = UNSET
    tolerations: Raw | UnsetType = UNSET
    affinity: Raw | UnsetType = UNSET
    host_network: Raw | UnsetType = UNSET
    containers: Raw | UnsetType = UNSET
    init_containers: Raw | UnsetType = UNSET
    volumes: Raw | UnsetType = UNSET


class _ObjectOutline(_Outline, rename="camel"):
    metadata: _MetadataOutline | UnsetType | None = UNSET
    spec: _SpecOutline | UnsetType | None = UNSET
    data: Raw | UnsetType = UNSET
    target: Raw | UnsetType = UNSET


class _RequestOutline(_Outline, rename="camel"):
    uid: Raw | UnsetType = UNSET
    operation: Raw | UnsetType = UNSET
    resource: Raw | UnsetType = UNSET
    sub_resource: Raw | UnsetType = UNSET
    namespace: Raw | UnsetType = UNSET
    name: Raw | UnsetType = UNSET
    dry_run: Raw | UnsetType = UNSET
    object: _ObjectOutline | UnsetType | None = UNSET


class _ReviewOutline(_Outline, rename="camel"):
    kind: Raw | UnsetType = UNSET
    api_version: Raw | UnsetType = UNSET
    request: _RequestOutline | UnsetType = UNSET


_RAW = json.Decoder(Raw)
_REVIEW_OUTLINE = json.Decoder(_ReviewOutline)
_ENVELOPE_REVIEW = json.Decoder(_EnvelopeReview)
_POD_REVIEW = json.Decoder(_PodReview)
_CONFIG_MAP_REVIEW = json.Decoder(_ConfigMapReview)
_ORIGIN_REVIEW = json.Decoder(_OriginReview)
_DATA = json.Decoder(dict[str, Any] | None)
_BINDING_REVIEW = json.Decoder(_BindingReview)


class Review(Struct, frozen=True):
    """A request of the API server. ``pod`` is set if it is the creation of a pod."""

    api_version: str
    request: Envelope
    pod: Pod | None


class Response(Struct, frozen=True):
    """The response to the API server. Without operations nothing is patched."""

    allowed: bool = True
    operations: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    audit_annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    refusal: str = ""

    def encoded(self) -> bytes:
        """The response in JSON, without the uid of the request."""
        answer: dict[str, Any] = {"allowed": self.allowed}
        if not self.allowed:
            answer["status"] = {
                "status": "Failure",
                "reason": "Invalid",
                "code": 422,
                "message": self.refusal,
            }
        if self.operations:
            answer["patchType"] = "JSONPatch"
            answer["patch"] = json.encode(self.operations)  # msgspec writes bytes in base64
        if self.warnings:
            answer["warnings"] = _passable(self.warnings)
        if self.audit_annotations:
            answer["auditAnnotations"] = self.audit_annotations
        return json.encode(answer)


def read(body: bytes) -> Review:
    """Read an AdmissionReview.

    Raises BadReviewError.
    """
    try:  # nearly all reviews are of pods; the objects of others may have any form
        review = _POD_REVIEW.decode(_bounded(body))
    except BadReviewError:
        raise
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
    _check_namespace(request)
    return Review(review.api_version, request, request.object)


def _check_namespace(request: Envelope) -> None:
    """Refuse an invalid name: it becomes a key of the cache and part of a path."""
    namespace = request.namespace or ""
    if not is_namespace(namespace):
        raise BadReviewError(
            "request.namespace: must be the name of a namespace, at most 63 of a-z, 0-9 and '-'"
            f" with a letter or a digit at both ends, got {shorten(ascii(namespace), 60)}"
        )


def read_binding(review: Review, body: bytes) -> BindingObject:
    """Return the Binding of a review.

    Raises BadReviewError.
    """
    _check_namespace(review.request)
    binding = _parse_bounded(_BINDING_REVIEW, body).request.object
    for field_name, name in (
        ("metadata.name", binding.metadata.name or ""),
        ("target.name", binding.target.name),
    ):
        if len(name) > _LONGEST_DNS_NAME or not _DNS_NAME.fullmatch(name):
            raise BadReviewError(
                f"request.object.{field_name}: must be a DNS name in lower case,"
                f" got {shorten(ascii(name), 60)}"
            )
    return binding


def read_edit(body: bytes) -> Edit:
    """Return the edit of a ConfigMap.

    Raises BadReviewError, but not for fields that only the log uses.
    """
    data = _parse_bounded(_CONFIG_MAP_REVIEW, body).request.object.data or {}
    try:
        origin = _ORIGIN_REVIEW.decode(body).request
        before = _old_data(origin.old_object)
    except (ValueError, RecursionError):
        return Edit(data)
    return Edit(data, before, origin.user_info.username if origin.user_info else "")


def _old_data(config_map: _OldConfigMap | None) -> Mapping[str, Any] | None:
    """The data of a ConfigMap before its edit; None if it has too many entries."""
    if config_map is None:
        return {}
    data = bytes(config_map.data)
    return (_DATA.decode(data) or {}) if _entries(data) <= _MOST_ENTRIES else None


def _bounded(body: bytes) -> bytes:
    """Return the body, or the fields that are used of a large one.

    Raises BadReviewError if these have too many entries, and a ValueError of msgspec if they have
    another form.
    """
    if len(body) <= _LARGE:
        return body
    review = _REVIEW_OUTLINE.decode(body)
    spec = review.request and review.request.object and review.request.object.spec
    parts = _take_containers(spec) if spec else {}
    outline = json.encode(review)
    if len(outline) > _MOST_BYTES and not _has_data(review):
        raise BadReviewError(
            f"the names, labels, annotations, tolerations and so on have {len(outline)} bytes,"
            f" at most {_MOST_BYTES}"
        )
    if outline.count(b",") > _MOST_ENTRIES and _entries(outline) > _MOST_ENTRIES:
        raise BadReviewError(
            f"the object's labels, annotations, tolerations and so on, or its data, have more than"
            f" {_MOST_ENTRIES} entries"
        )
    for field_name, part in parts.items():
        setattr(spec, field_name, part)
    return json.encode(review) if parts else outline


def _take_containers(spec: _SpecOutline) -> dict[str, Raw]:
    """Remove and return the containers and volumes, which may have any number of entries.

    Those that are too large to decode are dropped, so nothing is known about them.
    """
    parts: dict[str, Raw] = {}
    for field_name in ("containers", "init_containers", "volumes"):
        part = getattr(spec, field_name)
        if part is not UNSET and len(memoryview(part)) <= _MOST_OF_CONTAINERS:
            parts[field_name] = part
        setattr(spec, field_name, UNSET)
    return parts


def _has_data(review: _ReviewOutline) -> bool:
    """Whether it is of a ConfigMap, whose data has its own limit."""
    request = review.request
    return bool(request and request.object and request.object.data)


def _entries(text: bytes) -> int:
    """Count the commas outside strings, up to the limit."""
    text = text.replace(rb"\\", b"").replace(rb"\"", b"")
    count, quoted = 0, False
    for start in range(0, len(text), _CHUNK):
        pieces = text[start : start + _CHUNK].split(b'"')
        count += b"".join(pieces[quoted::2]).count(b",")
        quoted ^= len(pieces) % 2 == 0
        if count > _MOST_ENTRIES:
            break
    return count


def write(review: Review, response: bytes) -> bytes:
    """Return the AdmissionReview with an encoded response, to which the uid is added."""
    head = b'{"apiVersion":"%b","kind":"AdmissionReview","response":{"uid":%b,'
    return b"%b%b}" % (
        head % (review.api_version.encode(), json.encode(review.request.uid)),
        response[1:],
    )


def _passable(warnings: Sequence[str]) -> list[str]:
    """Return the warnings in printable ASCII, for a header, within the API server's limits."""
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


def _parse_bounded(form: json.Decoder[_T], body: bytes) -> _T:
    try:
        return form.decode(_bounded(body))
    except BadReviewError:
        raise
    except (ValueError, RecursionError) as error:
        raise _bad(error, body) from None


def _bad(error: ValueError | RecursionError, body: bytes) -> BadReviewError:
    if isinstance(error, ValidationError):
        try:
            _RAW.decode(body)  # checks the whole body without decoding it
        except (ValueError, RecursionError) as malformed:
            error = malformed
    if not isinstance(error, ValidationError):
        return BadReviewError(f"the body is not JSON: {_malformed(error, body)}")
    message, _, path = str(error).partition(" - at `$")
    where = path.strip(".`")
    if missing := _MISSING.fullmatch(message):
        where, message = f"{where}.{missing[1]}".lstrip("."), "is required"
    message = shorten(message.replace("`", ""), _LONGEST_MESSAGE)
    if where in _KNOWN:
        message += f", must be {_KNOWN[where]}"
    return BadReviewError(f"the body is not an AdmissionReview: {where or 'the body'}: {message}")


def _malformed(error: ValueError | RecursionError, body: bytes) -> str:
    """Say what is wrong with the JSON and, if msgspec tells, where."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply (recursion limit)"
    message = str(error).removeprefix("JSON is malformed: ")
    if found := _AT_BYTE.fullmatch(message):
        message, at = found[1], int(found[2])
    elif message == "Input data was truncated":
        at = max(len(body) - 1, 0)
    else:
        return shorten(message, _LONGEST_MESSAGE)
    line = body.count(b"\n", 0, at) + 1
    column = at - body.rfind(b"\n", 0, at)
    return f"{message} at line {line} column {column}"
