"""A review of the sample profile, and clients that send it, whole or in part."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator

from server import Reply, Server, exchange, review_of

__all__ = ["BODY", "FILE", "HEAD", "REVIEW", "half_a_request", "send"]

FILE = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": "k8s/sample/profile.yaml"}
"""Settings of a function that uses the sample profile."""

REVIEW = review_of(
    {"metadata": {"name": "train", "namespace": "batch", "labels": {"gpu": "a"}}, "spec": {}}
)
"""A review whose pod the sample profile changes."""

BODY = json.dumps(REVIEW).encode()
HEAD = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()


def send(connection: http.client.HTTPConnection) -> Reply:
    return exchange(connection, "POST", "/mutate?timeout=5s", BODY)


@contextlib.contextmanager
def half_a_request(server: Server) -> Iterator[ssl.SSLSocket]:
    """Send the head and 100 bytes of the body over TLS."""
    assert server.tls
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain,
        server.tls.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(HEAD + BODY[:100])
        yield connection
