"""The servers to measure, run as real processes, and their resource usage."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server import ROOT, clean_environment, command, free_port

__all__ = ["DEPLOYED", "FLOOR", "FUNCTION", "NAIVE", "Target", "running", "serving"]

FUNCTION = "handler/main.py"
FLOOR = "tests/bench/floor.py"
NAIVE = "tests/bench/naive.py"
DEPLOYED = (sys.executable, "-m", "handler.serve")
"""The image's server."""

_OF_THE_IMAGE = {"PYDANTIC_DISABLE_PLUGINS": "__all__", "MALLOC_ARENA_MAX": "1"}
_START_SECONDS = 60
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Target:
    """A running server. ``started`` is its start time, by time.perf_counter."""

    port: int
    pid: int
    started: float
    tls: bool

    def cpu(self) -> float:
        """CPU seconds that its processes have used so far."""
        total = 0
        for pid in self._processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / _TICK

    def resident(self) -> float:
        """Resident memory of its largest process (a worker) in MB (10^6 bytes)."""
        sizes = []
        for pid in self._processes():
            status = Path(f"/proc/{pid}/status").read_text()
            line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
            sizes.append(int(line.split()[1]) * 1024 / 1e6)
        return max(sizes)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Send one request on a new connection; return the status and body."""
        connection: http.client.HTTPConnection
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=30, context=context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def first_answer(self, body: bytes) -> float:
        """Retry until the server returns 200; return the seconds since its start."""
        end = self.started + _START_SECONDS
        while time.perf_counter() < end:
            with contextlib.suppress(OSError, http.client.HTTPException):
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    pass
                if self.ask("POST", "/mutate", body)[0] == 200:
                    return time.perf_counter() - self.started
            time.sleep(0.002)
        raise RuntimeError("the server does not respond")

    def _processes(self) -> list[int]:
        found = [self.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
                found += map(int, children.split())
        return found


def serving(
    source: str, settings: Mapping[str, str], log: Path
) -> contextlib.AbstractContextManager[Target]:
    """Start a function with functions-framework's command. It may not be ready yet."""
    return running(command(source), settings, log, "--port")


@contextlib.contextmanager
def running(
    program: Sequence[str], settings: Mapping[str, str], log: Path, option: str = ""
) -> Iterator[Target]:
    """Start a server, with TLS if the settings enable it. It may not be ready yet.

    The port is passed in ``PORT``, and after the option if one is given.
    """
    port = free_port()
    environment = {
        **clean_environment(),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        "PORT": str(port),
        "ECI_PROFILE_DRAIN": "0",
        **_OF_THE_IMAGE,
        **settings,
    }
    arguments = [*program, *([option, str(port)] if option else [])]
    with log.open("ab") as written:
        started = time.perf_counter()
        process = subprocess.Popen(arguments, env=environment, stderr=written, cwd=ROOT)
        try:
            yield Target(port, process.pid, started, "ECI_PROFILE_TLS_DIR" in settings)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
