"""A load generator: keeps one request in flight per connection and measures response times.

It runs as a separate process: ``python -m bench.load`` reads its arguments as JSON from standard
input and writes its results as JSON to standard output. It uses plain sockets and epoll, to leave
as much CPU time as possible to the server on a small machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import socket
import ssl
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median

from .targets import Target

__all__ = ["Load", "run"]

TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Resolution of CPU times on Linux, in seconds."""
_WARM_UP = 0.2
"""Seconds of warm-up, not measured; at most as long as the measurement."""


@dataclass(frozen=True, slots=True)
class Load:
    """Results of a load run. Times are in seconds; ``ceiling`` is in requests per second."""

    requests: int
    seconds: float
    p50: float
    p99: float
    ceiling: float
    """The rate that the generator could reach if it never had to wait."""
    cpu: float = 0.0
    """CPU time of the server per request, including the warm-up."""
    sent: int = 0
    """Number of requests, including the warm-up."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def run(
    target: Target,
    bodies: Sequence[bytes],
    *,
    connections: int,
    seconds: float = 0.0,
    requests: int = 0,
) -> Load:
    """Post the bodies in turn, for a duration or a number of requests.

    Raises RuntimeError if a response is not 200.
    """
    arguments = {
        "port": target.port,
        "bodies": [b64encode(body).decode() for body in bodies],
        "connections": connections,
        "seconds": seconds,
        "requests": requests,
        "tls": target.tls,
    }
    cpu = target.cpu()
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found = Load(**json.loads(done.stdout))
    return replace(found, cpu=max(target.cpu() - cpu, TICK) / found.sent)


def _request(body: bytes) -> bytes:
    head = (
        "POST /mutate?timeout=5s HTTP/1.1\r\nHost: eci-profile.kube-system.svc\r\n"
        "User-Agent: kube-apiserver-admission\r\nAccept: application/json, */*\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection:
    def __init__(self, port: int, tls: bool) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self._socket = context.wrap_socket(self._socket)
        self._socket.setblocking(False)
        self._answer = b""
        self._missing = 0
        self.sent = 0.0

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, request: bytes) -> None:
        self.sent = time.perf_counter()
        rest = memoryview(request)
        while rest:
            with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
                rest = rest[self._socket.send(rest) :]
                continue
            select.select([], [self], [], 30)

    def receive(self) -> bool:
        """Read the available bytes; return whether the response is complete."""
        try:
            data = self._socket.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        if not data:
            raise ConnectionError("the server closed a connection")
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._answer[:end].lower()
        if not head.startswith(b"http/1.1 200"):
            raise ConnectionError(f"not 200: {self._answer.decode(errors='replace')}")
        at = head.index(b"content-length:") + 15
        line_end = head.find(b"\r\n", at)
        length = int(head[at:] if line_end < 0 else head[at:line_end])
        if len(self._answer) < end + 4 + length:
            return False
        self._answer = b""
        return True


def _generate(
    port: int,
    bodies: Sequence[bytes],
    connections: int,
    seconds: float,
    requests: int,
    tls: bool,
) -> Load:
    encoded = [_request(body) for body in bodies]
    poll = selectors.DefaultSelector()
    number = 0
    times: list[float] = []
    # Open all connections before the first request: a handshake would delay reading responses.
    count = min(connections, requests or connections)
    opened = [_Connection(port, tls) for _ in range(count)]
    warm = time.perf_counter() + (min(_WARM_UP, seconds) if seconds else 0.0)
    end = warm + seconds
    began = time.perf_counter()
    busy = time.process_time()
    warming = bool(seconds)
    for connection in opened:
        poll.register(connection.fileno(), selectors.EVENT_READ, connection)
        connection.send(encoded[number % len(encoded)])
        number += 1
    open_requests = number
    while open_requests:
        for key, _ in poll.select(30):
            connection = key.data
            if not connection.receive():
                continue
            open_requests -= 1
            now = time.perf_counter()
            times.append(now - connection.sent)
            if warming and now >= warm:
                warming, began, busy = False, now, time.process_time()
                times.clear()
            # A slow server may need longer to return enough responses for the percentiles.
            if number < requests if requests else now < end or len(times) < 2 * connections:
                connection.send(encoded[number % len(encoded)])
                number += 1
                open_requests += 1
            elif not requests:
                open_requests = 0  # responses after the end don't count
                break
    took = time.perf_counter() - began
    busy = time.process_time() - busy
    times.sort()
    return Load(
        requests=len(times),
        seconds=took,
        p50=median(times),
        p99=times[int(len(times) * 0.99)],
        ceiling=len(times) / max(busy, 1e-9),
        sent=number,
    )


if __name__ == "__main__":
    given = json.load(sys.stdin)
    given["bodies"] = [b64decode(body) for body in given["bodies"]]
    print(json.dumps(asdict(_generate(**given))))
