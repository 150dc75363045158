"""The pods behind the function's Service, asked one by one for the certificate that they show."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from ..cluster.apiserver import ClusterSource
from ..cluster.source import NotFoundError
from .names import DNS_NAME, NAMESPACE, SERVICE

__all__ = ["Replica", "distrust", "replicas"]

_SECONDS = 3.0  # for a connection and its handshake
_ENDPOINTS = f"/api/v1/namespaces/{NAMESPACE}/endpoints/{SERVICE}"


@dataclass(frozen=True, slots=True)
class Replica:
    """The address of a pod, and whether the Service sends it requests."""

    host: str
    port: int
    ready: bool


def replicas(source: ClusterSource) -> list[Replica]:
    """Those of the Service, also those that are not ready. Raises SourceError.

    By Endpoints, because a single one can be read with the right to it alone; EndpointSlices have
    generated names and would have to be listed. They have at most 1000 addresses.
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
    """Why a client that trusts these CAs only, as kube-apiserver, doesn't trust it; or nothing."""
    try:
        context = ssl.create_default_context(cadata=bundle.decode("ascii"))
        with (
            socket.create_connection((replica.host, replica.port), _SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=DNS_NAME),
        ):
            return ""
    except (OSError, ValueError) as error:
        return f"{replica.host}:{replica.port}: {error}"
