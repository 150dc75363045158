"""The pods behind the Service of the function, and the certificates that they present."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from ..cluster.apiserver import ClusterSource
from ..cluster.source import NotFoundError
from .names import DNS_NAME, NAMESPACE, SERVICE

__all__ = ["Replica", "distrust", "replicas"]

_SECONDS = 3.0  # seconds for a connection and its handshake
_ENDPOINTS = f"/api/v1/namespaces/{NAMESPACE}/endpoints/{SERVICE}"


@dataclass(frozen=True, slots=True)
class Replica:
    """The address of a pod, and whether it is ready."""

    host: str
    port: int
    ready: bool


def replicas(source: ClusterSource) -> list[Replica]:
    """Return the pods of the Service, ready or not. Raises SourceError.

    Endpoints are used because one object can be granted by name; EndpointSlices have generated
    names and would have to be listed. Endpoints have at most 1000 addresses.
    """
    try:
        found = source.get(_ENDPOINTS)
    except NotFoundError:
        return []
    return [
        Replica(address["ip"], port["port"], ready)
        for subset in found.get("subsets") or ()
        for field, ready in (("addresses", True), ("notReadyAddresses", False))
        for address in subset.get(field) or ()
        for port in (subset.get("ports") or ())[:1]
    ]


def distrust(replica: Replica, bundle: bytes) -> str:
    """Return why a client that trusts only these CAs does not trust it, or an empty text."""
    try:
        context = ssl.create_default_context(cadata=bundle.decode("ascii"))
        with (
            socket.create_connection((replica.host, replica.port), _SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=DNS_NAME),
        ):
            return ""
    except (OSError, ValueError) as error:
        return f"{replica.host}:{replica.port}: {error}"
