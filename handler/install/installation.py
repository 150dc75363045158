"""Finishes an installation: steps that wait for the function, or must not replace objects."""

from __future__ import annotations

import logging
import ssl
import time
import urllib.request
from collections.abc import Iterable
from functools import partial
from http.client import HTTPException
from typing import Any

import yaml

from ..cluster.apiserver import ClusterSource
from ..cluster.source import ConflictError
from .names import CONFIG_MAP, NAMESPACE
from .registrations import register
from .renewal import given_bundle, renew, retried
from .replicas import distrust, replicas

__all__ = ["NotReadyError", "install"]

_LOOK = 1.0  # seconds between checks of the function
_SECONDS = 3.0  # seconds for its response
_CONFIG_MAP = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{CONFIG_MAP}"

_log = logging.getLogger("eci-profile")


class NotReadyError(Exception):
    """The function was not ready in time. The message has the reason."""


def install(source: ClusterSource, bundle: str, patience: float) -> None:
    """Create the default profile if there is none, and register the function once it is ready.

    ``bundle``: which CAs the registrations trust: ``renewed``, that of `renewal`; ``given``, that
    in the Secret of the certificate; ``injected``, written by another component. ``patience``:
    how many seconds to wait for the function. Raises NotReadyError, SourceError.
    """
    _create_profile(source, _documents(source, "profile.yaml"))
    cas = None
    if bundle == "renewed":
        cas = renew(source, patience)
    elif bundle == "given":
        cas = given_bundle(source)
    registrations = _documents(source, "registration.yaml")
    called = [each["clientConfig"] for one in registrations for each in one["webhooks"]]
    _wait(source, called, cas, patience)
    # Read again: another manifest may have been applied meanwhile.
    for written in _documents(source, "registration.yaml"):
        kind = written["kind"]
        if retried(partial(register, source, written, cas)):
            _log.info("registered", extra={"kind": kind})
        else:
            _log.warning(
                "the registration was deleted and is not created again", extra={"kind": kind}
            )


def _create_profile(source: ClusterSource, documents: Iterable[dict[str, Any]]) -> None:
    for written in documents:
        namespace, name = written["metadata"]["namespace"], written["metadata"]["name"]
        facts = {"profile": f"{namespace}/{name}"}
        try:
            source.create(f"/api/v1/namespaces/{namespace}/configmaps", written)
        except ConflictError:
            _log.info("the existing profile is not changed", extra=facts)
        else:
            _log.info("the default profile was created", extra=facts)


def _documents(source: ClusterSource, key: str) -> list[dict[str, Any]]:
    """Return the manifests under a key of the ConfigMap of `make manifest`."""
    text = source.get(_CONFIG_MAP)["data"][key]
    return [document for document in yaml.safe_load_all(text) if document]


def _wait(
    source: ClusterSource, called: list[dict[str, Any]], cas: bytes | None, patience: float
) -> None:
    end = time.monotonic() + patience
    while reason := _not_ready(source, called, cas):
        if time.monotonic() > end:
            raise NotReadyError(reason)
        time.sleep(_LOOK)
    _log.info("the function is ready")


def _not_ready(source: ClusterSource, called: list[dict[str, Any]], cas: bytes | None) -> str:
    """Return why kube-apiserver cannot call the function yet, or an empty text."""
    if any("service" in each for each in called):
        # Ready means that the kubelet got 200 from /readyz.
        ready = [each for each in replicas(source) if each.ready]
        if not ready:
            return "no pod of the function is ready"
        reasons = (distrust(each, cas) for each in ready) if cas is not None else iter(())
        if reason := next(filter(None, reasons), ""):
            return reason
    urls = {each["url"].rpartition("/")[0] for each in called if "url" in each}
    return next(filter(None, map(_no_answer, sorted(urls))), "")


def _no_answer(url: str) -> str:
    """Return why the function behind a URL is not ready, or an empty text.

    Its certificate is not verified: only kube-apiserver knows which CAs it trusts.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        # kube-apiserver calls only https URLs, too.
        with urllib.request.urlopen(f"{url}/readyz", timeout=_SECONDS, context=context):  # noqa: S310
            return ""
    except (OSError, ValueError, HTTPException) as error:
        return f"{url}/readyz: {error}"
