"""The function behind uvicorn, for what granian can't do: tell who has shown a certificate."""

from __future__ import annotations

import asyncio
import logging
import socket

import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from .asgi import Reply, respond
from .function import Function, failure
from .tls import PEM, context

__all__ = ["UvicornServer"]

_BACKLOG = 2048  # connections that the kernel completes until they are accepted
_HANDSHAKE = 10  # seconds that one may take
_LOOK = 0.05  # seconds from one look at what is left to the next

_log = logging.getLogger("eci-profile")


class UvicornServer:
    """Accepts connections from a listening socket and answers them, until it is retired.

    With CAs of clients, a POST needs a certificate of theirs; anything else doesn't. Each server
    has a TLS context of its own, and with it the sessions that can be resumed: none outlives its
    CAs.
    ``keep_alive``: seconds that a connection may be idle.
    """

    def __init__(
        self, function: Function, listener: socket.socket, keep_alive: float, pem: PEM
    ) -> None:
        self._listener = listener
        self._context = context(pem)
        logger = logging.getLogger("uvicorn")
        logger.handlers, logger.propagate = _log.handlers, False
        self._application = _Application(function, only_known_clients=bool(pem.client_ca))
        self._state = ServerState()
        self._config = uvicorn.Config(
            self._application,
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(keep_alive),
        )
        self._config.load()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to accept."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Protocol(self._config, self._state, {}),
            sock=self._listener.dup(),
            ssl=self._context,
            ssl_handshake_timeout=_HANDSHAKE,
            backlog=_BACKLOG,
        )

    def retire(self) -> None:
        """Accept no more connections. Those that are there end with their next answer."""
        self._application.retired = True
        if self._server:
            self._server.close()

    async def stop(self) -> None:
        """End idle connections at once and others with their answer; return when all are."""
        for connection in list(self._state.connections):
            connection.shutdown()
        while self._state.connections or self._state.tasks:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)


class _Protocol(HttpToolsProtocol):
    """Tells the application whether the client has shown a certificate, which is verified."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {"client_certificate": bool(transport.get_extra_info("peercert"))}


class _Application:
    def __init__(self, function: Function, *, only_known_clients: bool) -> None:
        self._function = function
        self._only_known_clients = only_known_clients
        self.retired = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if (
            self._only_known_clients
            and request.method == "POST"
            and not request.state.client_certificate
        ):
            reply = Reply(failure(403, "Forbidden", "reviews need a client certificate"))
        else:
            reply = await respond(self._function, request)
        if self.retired or self._function.stopping:
            # Clients come back on a new connection.
            reply.headers["connection"] = "close"
        await reply(scope, receive, send)
