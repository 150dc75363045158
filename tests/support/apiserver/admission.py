"""Calls the webhooks, the mutating ones first.

Nothing listens behind a Service here, so a call to one fails. What becomes of a call that fails
is decided by the failurePolicy.
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import jsonpatch
from registration import concerned, conditions_hold, selects

from .objects import Objects
from .status import Object, StatusError

ADMITTED = ("pods", "configmaps")
"""The resources that webhooks may be asked about."""


def admit(
    objects: Objects, ca: Path | None, operation: str, resource: str, written: Object, dry_run: bool
) -> Object:
    """What becomes of an object by the webhooks; ``ca``: whom they are trusted by.

    Raises StatusError if one of them refuses it.
    """
    metadata = written["metadata"]
    namespace = objects.get("v1", "namespaces", "", metadata["namespace"])
    request = {
        "uid": str(uuid.uuid4()),
        "resource": {"group": "", "version": "v1", "resource": resource},
        "name": metadata.get("name", ""),
        "namespace": metadata["namespace"],
        "operation": operation,
        "dryRun": dry_run,
        "object": written,
    }
    for webhook in _webhooks(objects):
        request["object"] = written
        if (
            concerned(webhook, request)
            and selects(webhook, written, namespace["metadata"]["labels"])
            and conditions_hold(webhook, request)
        ):
            try:
                response = _call(ca, webhook["clientConfig"].get("url", ""), request)
            except (OSError, ValueError) as error:
                if webhook["failurePolicy"] == "Ignore":
                    continue
                message = f'Internal error occurred: failed calling webhook "{webhook["name"]}"'
                raise StatusError(500, "InternalError", message) from error
            if not response["allowed"]:
                status = response["status"]
                raise StatusError(status["code"], status["reason"], status["message"])
            if "patch" in response:
                patch = json.loads(base64.b64decode(response["patch"]))
                written = jsonpatch.apply_patch(written, patch)
    return written


def _webhooks(objects: Objects) -> Iterator[Object]:
    for resource in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        for key, registration in list(objects.objects.items()):
            if key[1] == resource:
                yield from registration.get("webhooks", [])


def _call(ca: Path | None, url: str, request: Object) -> Object:
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    body = json.dumps({**review, "request": request}).encode()
    sent = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    context = ssl.create_default_context(cafile=ca)
    with urllib.request.urlopen(sent, timeout=5, context=context) as answer:
        response: Object = json.load(answer)["response"]
        return response
