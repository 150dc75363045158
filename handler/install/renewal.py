"""Renews the certificate in its Secret, and its CA, so that kube-apiserver trusts it throughout.

After each step the certificate of every pod is trusted. A run starts from the current state, so an
interrupted run is completed by the next, and concurrent runs are safe.

1. The Secret of the CA has a usable CA. A replaced CA is kept in ``old.crt``.
2. The registrations trust both.
3. The Secret of the certificate has one that the current CA issued.
4. Once each pod presents such a certificate, the old CA is dropped.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TypeVar

from ..cluster.apiserver import ClusterSource
from ..cluster.source import ConflictError
from .certificates import (
    Pair,
    ca_problem,
    certificate_problem,
    new_ca,
    new_certificate,
    unexpired,
)
from .names import CA_SECRET, DNS_NAME, NAMESPACE, TLS_SECRET
from .registrations import trust
from .replicas import distrust, replicas

__all__ = ["given_bundle", "renew", "retried"]

_ATTEMPTS = 6  # attempts to write an object that others change concurrently
_SPREAD = 10.0  # seconds until every kube-apiserver uses a change of the registration
_LOOK = 3.0  # seconds between checks of the replicas

_T = TypeVar("_T")

_log = logging.getLogger("eci-profile")


@dataclass(frozen=True, slots=True)
class _Secret:
    data: dict[str, bytes]
    version: str

    @property
    def pair(self) -> Pair:
        return Pair(self.data.get("tls.crt", b""), self.data.get("tls.key", b""))


def renew(source: ClusterSource, patience: float) -> bytes:
    """Renew what is due, and return the bundle of CAs that the registrations have to trust.

    ``patience``: how many seconds to wait at most until a new CA is trusted, and again until the
    pods show its certificate; the next run goes on where this one stops. Raises SourceError, and
    then what worked before still does.
    """
    bundle = retried(lambda: _renew(source, min(patience, _SPREAD)))
    if _old(_secret(source, CA_SECRET)):
        end = time.monotonic() + patience
        while reason := _not_taken_up(source):
            if time.monotonic() > end:
                _log.warning(
                    "the old CA stays trusted until the next run", extra={"reason": reason}
                )
                return bundle
            time.sleep(_LOOK)
        bundle = retried(lambda: _drop_old(source))
    return bundle


def given_bundle(source: ClusterSource) -> bytes:
    """Return the CAs in the Secret of the certificate. Raises SourceError."""
    return _secret(source, TLS_SECRET).data.get("ca.crt", b"")


def retried(step: Callable[[], _T]) -> _T:
    """Run a step that reads and then writes; retry it after a conflict.

    Raises SourceError.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(ConflictError):
            return step()
        time.sleep(random.uniform(0.1, 1.0))  # noqa: S311
    return step()


def _renew(source: ClusterSource, spread: float) -> bytes:
    now = datetime.now(timezone.utc)
    secret = _secret(source, CA_SECRET)
    ca, old = secret.pair, unexpired(_old(secret), now)
    if problem := ca_problem(ca, now):
        # Also that of an existing certificate from elsewhere.
        given = given_bundle(source)
        old = unexpired(b"".join((ca.certificate, given, *old)), now)
        ca = new_ca(now)
        _write(source, CA_SECRET, secret, {**_data(ca), "old.crt": b"".join(old)})
        _log.info("created a new CA", extra={"reason": problem})
    bundle = b"".join((ca.certificate, *old))
    fresh = trust(source, bundle)
    if fresh:
        _log.info("the registrations trust the CA", extra={"certificates": 1 + len(old)})
    secret = _secret(source, TLS_SECRET)
    if problem := certificate_problem(secret.pair, ca, DNS_NAME, now):
        if fresh and old:
            # Wait, so that no kube-apiserver meets the certificate before it trusts the CA.
            time.sleep(spread)
        data = {**_data(new_certificate(ca, DNS_NAME, now)), "ca.crt": bundle}
        _write(source, TLS_SECRET, secret, data)
        _log.info("created a new certificate", extra={"reason": problem})
    elif secret.data.get("ca.crt") != bundle:
        _write(source, TLS_SECRET, secret, {"ca.crt": bundle})
    return bundle


def _not_taken_up(source: ClusterSource) -> str:
    """Return why the old CA is still needed, or an empty text."""
    found = replicas(source)
    if not found:
        return "there are no pods"
    current = _secret(source, CA_SECRET).pair.certificate
    return next(filter(None, (distrust(each, current) for each in found)), "")


def _drop_old(source: ClusterSource) -> bytes:
    secret = _secret(source, CA_SECRET)
    if _old(secret):
        _write(source, CA_SECRET, secret, {"old.crt": b""})
    bundle = _renew(source, 0)
    _log.info("all pods use a certificate of the current CA, the old CA is removed")
    return bundle


def _old(secret: _Secret) -> bytes:
    return secret.data.get("old.crt", b"")


def _data(pair: Pair) -> dict[str, bytes]:
    return {"tls.crt": pair.certificate, "tls.key": pair.key}


def _path(name: str) -> str:
    return f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}"


def _secret(source: ClusterSource, name: str) -> _Secret:
    found = source.get(_path(name))
    data = {key: _decoded(value) for key, value in (found.get("data") or {}).items()}
    return _Secret(data, found["metadata"]["resourceVersion"])


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value)
    except binascii.Error:
        return b""


def _write(source: ClusterSource, name: str, secret: _Secret, data: dict[str, bytes]) -> None:
    """Change entries of a Secret, unless it has changed since; empty ones are removed."""
    encoded = {key: base64.b64encode(value).decode() or None for key, value in data.items()}
    source.merge(_path(name), {"metadata": {"resourceVersion": secret.version}, "data": encoded})
