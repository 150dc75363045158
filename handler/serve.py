"""The entry for a container: ``python -m handler.serve`` answers HTTP, or HTTPS, by itself."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import time
from types import FrameType

import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .asgi import Reply, respond
from .function import Function, failure
from .settings import ServerSettings, SettingsError
from .start import function
from .tls import ServerTLS, TLSError

__all__ = ["main"]

_KEEP_ALIVE = 180  # seconds; Go's clients, as kube-apiserver, keep idle connections for 90
_FINISH = 10  # seconds that a request may take once no more are accepted
_FOLLOW = 2.0  # seconds from one look at the TLS files to the next

_log = logging.getLogger("eci-profile")


def main() -> None:
    """Serve until SIGTERM. Ends with one sentence if a setting is wrong or a file can't be used."""
    try:
        settings = ServerSettings.read(os.environ)
        tls = ServerTLS(settings.tls_dir, settings.tls_client_ca) if settings.tls_dir else None
    except (SettingsError, TLSError) as error:
        raise SystemExit(f"eci-profile: {error}") from None
    served = function()
    port = settings.port or (8443 if tls else 8080)
    try:
        listener = _listen(port)
    except OSError as error:
        raise SystemExit(
            f"eci-profile: PORT {port} can't be had: {os.strerror(error.errno or 0)}"
        ) from None
    logging.getLogger("uvicorn").handlers = _log.handlers
    config = uvicorn.Config(
        _Application(served, only_known_clients=bool(settings.tls_client_ca)),
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_FINISH,
        ssl_context_factory=(lambda _config, _default: tls.context) if tls else None,
    )
    _log.info("listening", extra={"port": port, "tls": bool(tls)})
    asyncio.run(_serve(_Server(config, served, settings.drain), listener, tls))


async def _serve(server: uvicorn.Server, listener: socket.socket, tls: ServerTLS | None) -> None:
    following = asyncio.create_task(_follow(tls)) if tls else None
    await server.serve([listener])
    if following:
        following.cancel()


async def _follow(tls: ServerTLS) -> None:
    while True:
        await asyncio.sleep(_FOLLOW)
        await asyncio.to_thread(tls.follow)


def _listen(port: int) -> socket.socket:
    try:
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):  # no IPv6 here, or it is switched off
        listener = socket.create_server(("", port))
    # For the connections, which inherit it: asyncio sets it only for sockets made otherwise, and
    # without it an answer's body waits 40 ms for the head to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class _Protocol(H11Protocol):
    """Tells the application whether the client has shown a certificate, which is verified."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {"client_certificate": bool(transport.get_extra_info("peercert"))}


class _Application:
    def __init__(self, function: Function, *, only_known_clients: bool) -> None:
        self._function = function
        self._only_known_clients = only_known_clients

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
        if self._function.stopping:
            # Clients come back on a new connection, which is to another replica.
            reply.headers["connection"] = "close"
        await reply(scope, receive, send)


class _Server(uvicorn.Server):
    """Stops in steps: not ready, no more connections, what is under way is answered."""

    def __init__(self, config: uvicorn.Config, function: Function, drain: float) -> None:
        super().__init__(config)
        self._function = function
        self._drain = drain
        self._end = math.inf

    # Not the base's: it would have the signal end the process in the end, instead of code 0.
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first SIGTERM; at another, or at Ctrl-C, stop at once."""
        at_once = sig != signal.SIGTERM or self._function.stopping
        self._function.stop()
        self._end = time.monotonic() + (0 if at_once else self._drain)

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or time.monotonic() >= self._end


if __name__ == "__main__":
    main()
