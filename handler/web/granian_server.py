"""The function behind granian: HTTP/1.1 and TLS in Rust, in this process and on its event loop.

It uses parts of granian and not its server class, which binds a socket for each worker:
connections in the backlog of a worker that ends would be reset. The version is pinned, and what is
used here is tested.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from granian._granian import (
    CallbackScheduler,
    RSGIHTTPProtocol,
    RSGIProtocolClosed,
    RSGIProtocolError,
    RSGIWorker,
    SocketHolder,
    WorkerSignal,
)
from granian.http import HTTP1Settings
from granian.rsgi import Scope

from .tls import PEM, paths

if TYPE_CHECKING:  # a trial's process starts in a third of the time without it
    from .function import Function

__all__ = ["GranianServer", "Trial"]

_BACKLOG = 2048  # connections that the kernel keeps until they are accepted
_CONNECTIONS = 10_000  # at a time; others wait in the backlog. Each takes about 30 KB
_RESERVED = 100  # file descriptors for everything else
_TRIAL_SECONDS = 30
_REASON = 300  # characters of a message of granian

# The type stubs do not match the binary.
_WORKER: Any = RSGIWorker
_SOCKET: Any = SocketHolder
_SCHEDULER: Any = CallbackScheduler

_log = logging.getLogger("eci-profile")


class GranianServer:
    """Accepts connections on a listening socket and answers requests, until it is retired.

    ``keep_alive``: seconds that a connection may be idle, or take to send the head of a request.
    """

    def __init__(
        self, function: Function, listener: socket.socket, keep_alive: float, pem: PEM | None
    ) -> None:
        self._function = function
        self._retired = False
        self._family = listener.family
        self._socket = os.dup(listener.fileno())  # owned by granian, which closes it
        self._signal = WorkerSignal()
        self._loop = loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._signal.add_cb(lambda: loop.call_soon_threadsafe(self._ended.set))
        logger = logging.getLogger("_granian")
        logger.handlers, logger.propagate = _log.handlers, False
        # Its messages about single connections and about its threads are too many.
        logger.setLevel(logging.DEBUG if _log.isEnabledFor(logging.DEBUG) else logging.WARNING)
        _run(self._socket, keep_alive, pem, self._received, self._signal)

    def retire(self) -> None:
        """Accept no more connections. Existing ones are closed with their next response.

        Handshakes in progress continue. An idle connection is not closed: a client may be about to
        send, and that of Go does not retry a POST.
        """
        if self._retired:
            return  # and the descriptor may belong to something else by now
        self._retired = True
        # granian cannot stop accepting and continue handshakes. So its descriptor is replaced by
        # that of another socket, to which nobody connects.
        address = "::1" if self._family == socket.AF_INET6 else "127.0.0.1"
        with socket.create_server((address, 0), family=self._family, backlog=0) as deaf:
            deaf.setblocking(False)
            os.dup2(deaf.fileno(), self._socket, inheritable=False)

    async def stop(self) -> None:
        """Close idle connections at once, others with their response. Return after all."""
        self._signal.set()
        await self._ended.wait()

    def _received(self, watcher: Any) -> None:
        """Start a request whose head has arrived. Runs in a thread of granian."""
        try:
            length = _length(watcher.scope)
            if length == 0:
                self._loop.call_soon_threadsafe(self._start, watcher, b"")
            elif length is None or length > self._function.max_body:
                self._loop.call_soon_threadsafe(self._start, watcher, None)
            else:
                # Reads the body here, so that the event loop wakes only once it is complete. It
                # never has more bytes than announced.
                watcher.proto().add_done_callback(partial(self._read, watcher))
        except BaseException as error:  # granian would continue with it set
            watcher.err(error)

    def _read(self, watcher: Any, body: Any) -> None:
        try:
            content = body.result()
        except (RSGIProtocolError, RSGIProtocolClosed):
            watcher.done()  # the client has disconnected
        else:
            self._start(watcher, content)

    def _start(self, watcher: Any, body: bytes | None) -> None:
        watcher.taskref(_task(self._answer(watcher, body), self._loop))

    async def _answer(self, watcher: Any, body: bytes | None) -> None:
        scope, protocol = watcher.scope, watcher.proto
        try:
            if body is None:
                body = await _bounded(protocol, self._function.max_body)
            answer = await self._function.answer(scope.method, scope.path, body)
            headers = list(answer.headers.items())
            if self._retired or self._function.stopping:
                headers.append(("connection", "close"))
            protocol.response_bytes(answer.status, headers, answer.body)
        except BaseException as error:
            watcher.err(error)


class Trial:
    """Lets granian load a certificate and key in a process of its own, which it exits if it cannot.

    OpenSSL accepts some that rustls does not, such as X.509 version 1 and keys on P-521.
    """

    def __init__(self, pem: PEM) -> None:
        self._pem = pem
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "RUST_BACKTRACE": "0"},
        )

    def passed(self) -> bool:
        """Wait for the result. The error of granian is logged."""
        files = b"\0".join((self._pem.certificate, self._pem.key))
        try:
            _, errors = self._process.communicate(files, _TRIAL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _, errors = self._process.communicate()
        if self._process.returncode:
            reason = errors.decode(errors="replace").replace("\n", " ")[:_REASON]
            _log.warning(
                "granian can't use this certificate or key, so uvicorn is used, at two thirds of"
                " the speed; a key of RSA (2048 bits), P-256, P-384 or Ed25519 is better",
                extra={"reason": reason},
            )
        return self._process.returncode == 0


def _run(
    descriptor: int,
    keep_alive: float,
    pem: PEM | None,
    received: Callable[[Any], None],
    signal: WorkerSignal,
) -> None:
    """Start the threads of granian. They exit the process if they cannot use the files."""
    loop = asyncio.get_running_loop()
    scheduler = _SCHEDULER(loop, None, None, None, None)
    scheduler._schedule_fn = received  # noqa: SLF001
    backlog = (_BACKLOG,) if sys.platform == "linux" else ()
    with paths(pem or PEM(b"", b"")) as (certificate, key):
        worker = _WORKER(
            1,
            (None, _SOCKET(descriptor, False, *backlog)),
            None,
            backpressure=_connections(),
            http_mode="1",
            http1_opts=HTTP1Settings(header_read_timeout=int(keep_alive * 1000)),
            ssl_enabled=bool(pem),
            ssl_cert=certificate,
            ssl_key=key,
            ssl_protocol_min="tls1.2",
        )
        worker.serve_async(scheduler, loop, signal)


def _connections() -> int:
    # Without a free descriptor, accepting would fail in a loop.
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return _CONNECTIONS
    return max(1, min(_CONNECTIONS, files - _RESERVED))


def _length(scope: Scope) -> int | None:
    """Return the length of the body in bytes, or None if it is not announced."""
    headers = scope.headers
    return None if "transfer-encoding" in headers else int(headers.get("content-length", "0"))


async def _bounded(protocol: RSGIHTTPProtocol, limit: int) -> bytes | None:
    """Return the whole body, or None if it is longer than the limit, in bytes.

    The rest of a longer one is read and dropped, because a client that is still sending does not
    read the response.
    """
    chunks, size = [], 0
    async for chunk in protocol:
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        else:
            chunks.clear()
        if size > 8 * limit:
            break
    return b"".join(chunks) if size <= limit else None


def _task(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)


async def _try() -> None:
    certificate, key = sys.stdin.buffer.read().split(b"\0")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _run(listener.detach(), 1, PEM(certificate, key), print, WorkerSignal())
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_try())
