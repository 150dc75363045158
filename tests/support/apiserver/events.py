"""What kube-apiserver asks of an Event."""

from __future__ import annotations

import json
import re
import uuid

from .status import Object, StatusError

_SECONDS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
_TIME = re.compile(_SECONDS + r"(\.\d+)?(Z|[+-]\d\d:\d\d)")
_MICRO_TIME = re.compile(_SECONDS + r"\.\d{6}(Z|[+-]\d\d:\d\d)")


def read_event(body: bytes, namespace: str) -> Object:
    """The Event in a body, with its namespace and name. Raises StatusError if it can't be read."""
    try:
        event: Object = json.loads(body)
    except ValueError as error:
        why = f"couldn't get version/kind; json parse error: {error}"
        raise StatusError(400, "BadRequest", why) from error
    for key, form in (
        ("firstTimestamp", _TIME),
        ("lastTimestamp", _TIME),
        # A MicroTime without exactly six decimals does not parse, and that is what
        # datetime.isoformat gives once in a million times.
        ("eventTime", _MICRO_TIME),
    ):
        if (value := event.get(key)) is not None and not form.fullmatch(value):
            why = f'Event in version "v1" cannot be handled as a Event: parsing time "{value}"'
            raise StatusError(400, "BadRequest", why)
    metadata = event["metadata"] = dict(event.get("metadata") or {})
    if metadata.setdefault("namespace", namespace) != namespace:
        why = "the namespace of the provided object does not match the namespace sent on the"
        why += " request"
        raise StatusError(400, "BadRequest", why)
    if metadata.get("generateName") and not metadata.get("name"):
        metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
    return event


def validate_event(event: Object, namespace: str) -> None:
    """Raises StatusError if it is invalid."""
    if causes := _event_errors(event, namespace):
        errors = ", ".join(f"{cause['field']}: {cause['message']}" for cause in causes)
        name = event["metadata"].get("name") or ""
        why = f'Event "{name}" is invalid: ' + (f"[{errors}]" if causes[1:] else errors)
        raise StatusError(422, "Invalid", why, {"name": name, "kind": "Event", "causes": causes})


def _event_errors(event: Object, namespace: str) -> list[Object]:
    """The causes for which an Event is invalid."""
    errors: list[tuple[str, str, str]] = []
    about = (event.get("involvedObject") or {}).get("namespace") or ""
    if about != namespace and (about or namespace != "default"):
        why = f'Invalid value: "{about}": does not match event.namespace'
        errors.append(("involvedObject.namespace", "FieldValueInvalid", why))
    if event.get("eventTime"):  # more is asked of those Events than of the old ones
        required = ("reportingComponent", "reportingInstance", "action", "reason")
        missing = [key for key in required if not event.get(key)]
        errors += [(key, "FieldValueRequired", "Required value") for key in missing]
        if len((event.get("message") or "").encode()) > 1024:
            why = 'Invalid value: "": can have at most 1024 characters'
            errors.append(("message", "FieldValueInvalid", why))
    if not event["metadata"].get("name"):
        why = "Required value: name or generateName is required"
        errors.append(("metadata.name", "FieldValueRequired", why))
    return [{"reason": reason, "message": why, "field": key} for key, reason, why in errors]
