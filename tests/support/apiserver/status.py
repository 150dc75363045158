"""What kube-apiserver answers instead of what was asked for: a Status."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]

USER = "system:serviceaccount:kube-system:eci-profile"

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_RESOURCE = re.compile(
    r"/(?:api|apis/([^/]+))/[^/]+(?:/namespaces/([^/]+))?(?:/([^/]+)(?:/([^/]+))?)?.*"
)


class StatusError(Exception):
    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}}
        self.status |= {"status": "Failure", "message": message, "reason": reason}
        self.status |= {"code": code} if details is None else {"details": details, "code": code}


def forbidden(method: str, url: str) -> StatusError:
    """What the RBAC authorizer says to a user who may not do this."""
    path, query = urlsplit(url).path.rstrip("/") or "/", parse_qs(urlsplit(url).query)
    group, namespace, resource, name = (
        match.groups("") if (match := _RESOURCE.fullmatch(path)) else [""] * 4
    )
    if namespace and not resource:
        resource, name = "namespaces", namespace
    if not resource:
        message = f'forbidden: User "{USER}" cannot {method.lower()} path "{path}"'
        return StatusError(403, "Forbidden", message, {})
    reading = "get" if name else "watch" if query.get("watch") in (["1"], ["true"]) else "list"
    verb = VERBS.get(method, reading)
    message = (
        (f"{resource}.{group}" if group else resource)
        + (f' "{name}"' if name else "")
        + f' is forbidden: User "{USER}" cannot {verb} resource "{resource}" in API group "{group}"'
        + (f' in the namespace "{namespace}"' if namespace else " at the cluster scope")
    )
    details = {"name": name, "group": group, "kind": resource}
    return StatusError(403, "Forbidden", message, {k: v for k, v in details.items() if v})


def not_found(resource: str, name: str) -> StatusError:
    details = {"name": name, "kind": resource}
    return StatusError(404, "NotFound", f'{resource} "{name}" not found', details)


def unknown_resource() -> StatusError:
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def conflict(version: str, resource: str, name: str) -> StatusError:
    group = version.partition("/")[0] if "/" in version else ""
    details = {"name": name, "group": group, "kind": resource}
    named = f"{resource}.{group}" if group else resource
    message = f'Operation cannot be fulfilled on {named} "{name}": the object has been'
    message += " modified; please apply your changes to the latest version and try again"
    return StatusError(409, "Conflict", message, details)


def already_exists(resource: str, name: str) -> StatusError:
    details = {"name": name, "kind": resource}
    return StatusError(409, "AlreadyExists", f'{resource} "{name}" already exists', details)


def immutable(resource: str, name: str, field: str) -> StatusError:
    why = f'{resource} "{name}" is invalid: {field}: Invalid value: field is immutable'
    return StatusError(422, "Invalid", why, {"name": name, "kind": resource})
