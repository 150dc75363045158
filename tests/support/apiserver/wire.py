"""The listener: requests, and what goes wrong with their answers."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .api import APIServer

FaultKind = Literal[
    "status", "silent", "slow", "drip", "trickle", "cut", "reset", "garbage", "wrong_kind"
]


@dataclass
class Request:
    """A request that came in; its status is None until, and unless, it is answered."""

    method: str
    path: str
    auth_ok: bool
    time: float
    admin: bool = False
    token: str = ""
    content_type: str = ""
    status: int | None = None


@dataclass(eq=False)
class Fault:
    """Something wrong with every answer under a path prefix, until it is removed."""

    kind: FaultKind
    path_prefix: str
    code: int
    retry_after: int | None
    delay: float
    body: bytes
    removed: threading.Event = field(default_factory=threading.Event)

    def remove(self) -> None:
        """Behave again, and let the requests that this holds up have their answers at once."""
        self.removed.set()

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Listener(ThreadingHTTPServer):
    """One spell of listening; bound from the start, so that the port stays ours until then."""

    request_queue_size = 1024

    def __init__(self, api: APIServer, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler, bind_and_activate=False)
        self.api = api
        self.connections: set[socket.socket] = set()
        self.thread: threading.Thread | None = None
        self.server_bind()

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's looks the address up in the DNS as well

    def open(self) -> None:
        self.server_activate()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        if self.thread:
            self.shutdown()
            self.thread.join()
        self.server_close()
        for connection in list(self.connections):
            # SSLSocket.shutdown would pull the TLS state from under the thread that reads.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def get_request(self) -> tuple[socket.socket, Any]:
        plain, address = super().get_request()
        # The handshake waits for the connection's own thread: here a slow client stops them all.
        connection = self.api.tls.wrap_socket(
            plain, server_side=True, do_handshake_on_connect=False
        )
        self.connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        request.close()  # without the usual shutdown, whose FIN would come before a reset

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients may leave, or not like our certificate. All else is a bug in this file, and
        # ends its thread for pytest to tell of.
        with suppress(OSError):
            raise


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def setup(self) -> None:
        self.request.do_handshake()
        super().setup()

    def log_message(self, *_: object) -> None:
        pass

    def serve(self) -> None:
        api, received = self.server.api, time.monotonic()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        known = {*api.tokens, api.admin_token, *api.grants}
        auth_ok = scheme.lower() == "bearer" and token in known
        admin = token == api.admin_token
        request = Request(self.command, self.path, auth_ok, received, admin, token)
        request.content_type = self.headers.get("Content-Type") or ""
        fault = api.record(request)
        kind = fault.kind if fault else None
        if fault and kind in ("silent", "slow"):
            fault.removed.wait(fault.delay if kind == "slow" else None)
        elif kind == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            return
        request.status, head, payload = api.respond(request, body, fault)
        if kind == "cut":
            payload = payload[: len(payload) // 2]
            self.close_connection = True
        if kind == "trickle":
            self.wfile.write(head)
            head = b""
        if fault and kind in ("drip", "trickle"):
            for byte in head + payload:
                self.wfile.write(bytes([byte]))
                fault.removed.wait(fault.delay)
        else:
            self.wfile.write(head + payload)


for _method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler.serve)
