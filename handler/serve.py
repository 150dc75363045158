"""The entry for a container: ``python -m handler.serve`` answers HTTP, or HTTPS, by itself."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

import uvloop

from .settings import ServerSettings, SettingsError
from .start import function
from .web.function import Function
from .web.tls import PEM, ServerTLS, TLSError

if TYPE_CHECKING:
    from .web.granian_server import Trial

__all__ = ["main"]

_KEEP_ALIVE = 180  # seconds; Go's clients, as kube-apiserver, keep idle connections for 90
_FINISH = 10  # seconds that a request may take once no more are accepted
_HANDSHAKES = 0.1  # seconds for the handshakes under way at the end
_FOLLOW = 2.0  # seconds from one look at the TLS files to the next

# Seconds that the event loop may keep granian's thread waiting, which passes it the requests. With
# Python's 5 ms, the p99 of a burst of 64 is twice as long.
_SWITCH = 0.001

_log = logging.getLogger("eci-profile")


def main() -> None:
    """Serve until SIGTERM. Ends with one sentence if a setting is wrong or a file can't be used."""
    try:
        settings = ServerSettings.read(os.environ)
        tls = ServerTLS(settings.tls_dir, settings.tls_client_ca) if settings.tls_dir else None
    except (SettingsError, TLSError) as error:
        raise SystemExit(f"eci-profile: {error}") from None
    trial = _trial(tls.pem) if tls else None  # while the rest is loaded
    served = function()
    port = settings.port or (8443 if tls else 8080)
    try:
        listener = _listen(port)
    except OSError as error:
        raise SystemExit(
            f"eci-profile: PORT {port} can't be had: {os.strerror(error.errno or 0)}"
        ) from None
    sys.setswitchinterval(_SWITCH)
    _log.info("listening", extra={"port": port, "tls": bool(tls)})
    uvloop.run(_Serving(served, listener, tls, settings.drain).until_stopped(trial))


class _Server(Protocol):
    """What GranianServer and UvicornServer have in common."""

    def retire(self) -> None:
        """Accept no more connections. Those that are there end with their next answer."""

    async def stop(self) -> None:
        """End idle connections at once and others with their answer; return when all are."""


def _trial(pem: PEM) -> Trial | None:
    """Begin to try whether granian can use them, unless it is of no use where clients need some."""
    if pem.client_ca:
        return None
    from .web.granian_server import Trial  # not before: it isn't needed for the other server

    return Trial(pem)


async def _start(
    function: Function, listener: socket.socket, pem: PEM | None, trial: Trial | None
) -> _Server:
    """Accept connections, by granian if it can."""
    if pem is None or (trial and await asyncio.to_thread(trial.passed)):
        from .web.granian_server import GranianServer

        return GranianServer(function, listener, _KEEP_ALIVE, pem)
    from .web.uvicorn_server import UvicornServer

    server = UvicornServer(function, listener, _KEEP_ALIVE, pem)
    await server.start()
    return server


class _Serving:
    """One server after the other on the same socket: each change of the TLS files brings one.

    The one before answers what comes on its connections, and asks clients to connect anew. It
    ends once its connections have: so there are at most ``_KEEP_ALIVE / _FOLLOW`` of them.
    """

    def __init__(
        self, function: Function, listener: socket.socket, tls: ServerTLS | None, drain: float
    ) -> None:
        self._function = function
        self._listener = listener
        self._tls = tls
        self._drain = drain
        self._end = asyncio.Event()
        self._servers: list[_Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def until_stopped(self, trial: Trial | None) -> None:
        """Serve, and stop in steps: not ready, no more connections, what is under way is answered.

        The first SIGTERM starts the drain; another, or Ctrl-C, ends it.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        await self._serve(self._tls.pem if self._tls else None, trial)
        if self._tls:
            self._run(self._follow(self._tls))
        await self._end.wait()
        for task in self._tasks:
            task.cancel()
        for server in self._servers:
            server.retire()
        self._listener.close()
        await asyncio.sleep(_HANDSHAKES)
        stops = [asyncio.create_task(server.stop()) for server in self._servers]
        _, unfinished = await asyncio.wait(stops, timeout=_FINISH)
        if unfinished:
            _log.error("requests were not finished", extra={"seconds": _FINISH})

    def _stop(self, number: int) -> None:
        if number != signal.SIGTERM or self._function.stopping:
            self._end.set()
        self._function.stop()
        asyncio.get_running_loop().call_later(self._drain, self._end.set)

    async def _serve(self, pem: PEM | None, trial: Trial | None) -> None:
        server = await _start(self._function, self._listener, pem, trial)
        for before in self._servers[-1:]:
            before.retire()
            self._run(self._remove(before))
        self._servers.append(server)

    async def _remove(self, server: _Server) -> None:
        await asyncio.sleep(_KEEP_ALIVE)
        await server.stop()
        self._servers.remove(server)

    async def _follow(self, tls: ServerTLS) -> None:
        while True:
            await asyncio.sleep(_FOLLOW)
            pem = await asyncio.to_thread(tls.changed)
            if pem is None:
                continue
            try:
                await self._serve(pem, _trial(pem))
            except OSError as error:  # no descriptor left, perhaps: it is tried again
                _log.warning("the TLS files are not in force", extra={"reason": str(error)})
            else:
                tls.pem = pem
                _log.info("the TLS files changed and are in force")

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _listen(port: int) -> socket.socket:
    try:
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):  # no IPv6 here, or it is switched off
        listener = socket.create_server(("", port))
    # For the connections, which inherit it: without it an answer's body may wait 40 ms for the
    # head to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


if __name__ == "__main__":
    main()
