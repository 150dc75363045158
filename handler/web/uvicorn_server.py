"""The function behind uvicorn, which unlike granian exposes client certificates."""

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

_BACKLOG = 2048  # connections that the kernel keeps until they are accepted
_HANDSHAKE = 10  # seconds for a handshake
_LOOK = 0.05  # seconds between checks for remaining connections

_log = logging.getLogger("eci-profile")


class UvicornServer:
    """Accepts connections on a listening socket and answers requests, until it is retired.

    With client CAs, a POST needs a client certificate; other requests do not. Each server has its
    own TLS context and thus its own sessions to resume, so no session outlives its CAs.
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
        """Start to accept connections."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Protocol(self._config, self._state, {}),
            sock=self._listener.dup(),
            ssl=self._context,
            ssl_handshake_timeout=_HANDSHAKE,
            backlog=_BACKLOG,
        )

    def retire(self) -> None:
        """Accept no more connections. Existing ones are closed with their next response."""
        self._application.retired = True
        if self._server:
            self._server.close()

    async def stop(self) -> None:
        """Close idle connections at once, others with their response. Return after all."""
        for connection in list(self._state.connections):
            connection.shutdown()
        while self._state.connections or self._state.tasks:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)


class _Protocol(HttpToolsProtocol):
    """Tells the application whether the client has a verified certificate."""

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
            # Clients open a new connection.
            reply.headers["connection"] = "close"
        await reply(scope, receive, send)
