"""The webhook configurations: their webhooks, and the CAs that they trust."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from ..cluster.apiserver import ClusterSource
from ..cluster.source import NotFoundError
from .names import REGISTRATION, REGISTRATIONS

__all__ = ["register", "trust"]

# v1beta1 is for Kubernetes 1.15, which has only that.
_VERSIONS = ("admissionregistration.k8s.io/v1", "admissionregistration.k8s.io/v1beta1")
_MANIFEST = "eci-profile/manifest"
"""The annotation with the digest of the manifest that the webhooks came from."""

_Webhook = dict[str, Any]


def trust(source: ClusterSource, bundle: bytes) -> bool:
    """Let each webhook of both registrations trust these CAs; return whether one changed.

    A missing registration is skipped. Raises ConflictError, SourceError.
    """
    changed = False
    for resource in REGISTRATIONS:
        if (found := _find(source, resource)) is not None:
            wanted = _trusting(found[1].get("webhooks") or [], bundle)
            changed |= _write(source, *found, wanted)
    return changed


def register(source: ClusterSource, written: dict[str, Any], bundle: bytes | None) -> bool:
    """Give a registration the webhooks of a manifest's; returns whether it is there.

    Webhooks that came from the same manifest stay as they are, since an administrator, or the
    function, may have changed them. Others are replaced, also those that the function has added.
    With a bundle, all trust these CAs; without, those that the webhooks before trusted, which
    somebody else takes care of. Raises ConflictError, SourceError.
    """
    resource = f"{written['kind'].lower()}s"
    if (found := _find(source, resource, (written["apiVersion"],))) is None:
        return False
    path, live = found
    digest = hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()
    before = live.get("webhooks") or []
    annotations = live["metadata"].get("annotations") or {}
    same = before and annotations.get(_MANIFEST) == digest
    webhooks = before if same else _as_trusted(written["webhooks"], before)
    if bundle is not None:
        webhooks = _trusting(webhooks, bundle)
    _write(source, path, live, webhooks, {_MANIFEST: digest})
    return True


def _find(
    source: ClusterSource, resource: str, versions: Sequence[str] = _VERSIONS
) -> tuple[str, dict[str, Any]] | None:
    """Return the path and the object of a registration, if it exists."""
    for version in versions:
        path = f"/apis/{version}/{resource}/{REGISTRATION}"
        try:
            return path, source.get(path)
        except NotFoundError:
            continue
    return None


def _write(
    source: ClusterSource,
    path: str,
    live: dict[str, Any],
    webhooks: list[_Webhook],
    annotations: dict[str, str] | None = None,
) -> bool:
    """Write the differences, unless the registration has changed since. Return if any were."""
    has = live["metadata"].get("annotations") or {}
    wanted = annotations or {}
    if webhooks == (live.get("webhooks") or []) and has.items() >= wanted.items():
        return False
    metadata: dict[str, Any] = {"resourceVersion": live["metadata"]["resourceVersion"]}
    if wanted:
        metadata["annotations"] = wanted
    source.merge(path, {"metadata": metadata, "webhooks": webhooks})
    return True


def _trusting(webhooks: list[_Webhook], bundle: bytes) -> list[_Webhook]:
    """Return the webhooks with this bundle, except those that are called by URL."""
    return _with_bundle(webhooks, base64.b64encode(bundle).decode())


def _as_trusted(webhooks: list[_Webhook], before: list[_Webhook]) -> list[_Webhook]:
    bundles = [each["clientConfig"].get("caBundle") for each in before]
    bundle = next(filter(None, bundles), None)
    return _with_bundle(webhooks, bundle) if bundle else webhooks


def _with_bundle(webhooks: list[_Webhook], encoded: str) -> list[_Webhook]:
    wanted = copy.deepcopy(webhooks)
    for webhook in wanted:
        if "service" in webhook["clientConfig"]:
            webhook["clientConfig"]["caBundle"] = encoded
    return wanted
