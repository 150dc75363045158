"""The entry point of the container: ``python -m handler.serve`` serves HTTP or HTTPS."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

import uvloop

from .settings import ServerSettings, Settings, SettingsError, described
from .start import function
from .telemetry import metrics
from .web.function import Function
from .web.tls import PEM, ServerTLS, TLSError, expiry

if TYPE_CHECKING:
    from .web.granian_server import Trial

__all__ = ["main"]

_KEEP_ALIVE = 180  # seconds; clients in Go, such as kube-apiserver, keep idle connections for 90
_FINISH = 10  # seconds that a request may take once no more connections are accepted
_HANDSHAKES = 0.1  # seconds for handshakes in progress at the end
_FOLLOW = 2.0  # seconds between checks of the TLS files

# Seconds that the event loop may keep the thread of granian waiting, which passes requests to it.
# With the default of 5 ms, the p99 of a burst of 64 doubles.
_SWITCH = 0.001

_log = logging.getLogger("eci-profile")


def main() -> None:
    """Serve until SIGTERM. Exits with one sentence if a setting or a file is invalid."""
    if sys.argv[1:]:
        _help(sys.argv[1:])
    try:
        settings = ServerSettings.read(os.environ)
        tls = ServerTLS(settings.tls_dir, settings.tls_client_ca) if settings.tls_dir else None
    except (SettingsError, TLSError) as error:
        raise SystemExit(f"eci-profile: {error}") from None
    trial = _trial(tls.pem) if tls else None  # while the rest is loading
    served = function()
    port = settings.port or (8443 if tls else 8080)
    try:
        listener = _listen(port)
    except OSError as error:
        raise SystemExit(
            f"eci-profile: can't listen on PORT {port}: {os.strerror(error.errno or 0)}"
        ) from None
    sys.setswitchinterval(_SWITCH)
    _log.info("listening", extra={"port": port, "tls": bool(tls)})
    uvloop.run(_Serving(served, listener, tls, settings.drain).until_stopped(trial))


def _help(arguments: list[str]) -> None:
    """Print the help and exit, or refuse other arguments."""
    import argparse  # imported here to keep the start fast

    rows = [
        f"  {each.variable}\n      {each.meaning}; default: {each.default}"
        for form in (Settings, ServerSettings)
        for each in described(form).values()
    ]
    settings = re.sub(r"`|\[([^]]+)\]\([^)]*\)", r"\1", "\n".join(rows))
    argparse.ArgumentParser(
        prog="python -m handler.serve",
        description="Serve the function over HTTP or HTTPS. There are no other options:\n"
        "the settings are environment variables.",
        epilog=f"settings:\n{settings}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)


class _Server(Protocol):
    """The interface of GranianServer and UvicornServer."""

    def retire(self) -> None:
        """Accept no more connections. Existing ones are closed with their next response."""

    async def stop(self) -> None:
        """Close idle connections at once, others with their response. Return after all."""


def _trial(pem: PEM) -> Trial | None:
    """Start to test whether granian can use the files, unless client certificates are needed."""
    if pem.client_ca:
        return None
    from .web.granian_server import Trial  # late, because the other server does not need it

    return Trial(pem)


async def _start(
    function: Function, listener: socket.socket, pem: PEM | None, trial: Trial | None
) -> _Server:
    """Accept connections, with granian if possible."""
    if pem is None or (trial and await asyncio.to_thread(trial.passed)):
        from .web.granian_server import GranianServer

        return GranianServer(function, listener, _KEEP_ALIVE, pem)
    from .web.uvicorn_server import UvicornServer

    server = UvicornServer(function, listener, _KEEP_ALIVE, pem)
    await server.start()
    return server


class _Serving:
    """Runs servers on one socket: each change of the TLS files starts a new one.

    The previous one answers requests on its connections and asks clients to reconnect. It ends
    with its last connection, so there are at most ``_KEEP_ALIVE / _FOLLOW`` of them.
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
        """Serve. Stop in steps: not ready, no more connections, answer requests in progress.

        The first SIGTERM starts the drain; another one, or Ctrl-C, ends it.
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
        _log.info("stopping", extra={"signal": signal.Signals(number).name})
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
        if pem:
            metrics.CERTIFICATE_EXPIRY.set(await asyncio.to_thread(expiry, pem))

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
            except OSError as error:  # perhaps no free descriptor: try again later
                _log.warning("the TLS files could not be applied", extra={"reason": str(error)})
            else:
                tls.pem = pem
                _log.info("the TLS files were reloaded")

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _listen(port: int) -> socket.socket:
    try:
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):  # IPv6 is not available
        listener = socket.create_server(("", port))
    # The connections inherit it. Without it, the body of a response may wait 40 ms until the
    # head is acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


if __name__ == "__main__":
    main()
