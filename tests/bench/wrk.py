"""Load by wrk, if installed: it uses less CPU time than our own load generator."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path

from .load import TICK, Load
from .targets import Target

__all__ = ["To", "present", "run"]

_FOUND = re.compile(
    r"50% +([\d.]+)(us|ms|s) *\n.*99% +([\d.]+)(us|ms|s) *\n"
    r" +(\d+) requests in +([\d.]+)(us|ms|s)",
    re.DOTALL,
)
_LONGEST = 60  # seconds without a response
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}

_SCRIPT = """
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
"""


@dataclass(frozen=True, slots=True)
class To:
    """Where to post to instead of the server that is measured."""

    url: str
    headers: Mapping[str, str]


def present() -> bool:
    """Return whether wrk is installed."""
    return shutil.which("wrk") is not None


def run(
    target: Target,
    body: bytes,
    *,
    connections: int,
    seconds: float,
    folder: Path,
    close: bool = False,
    to: To | None = None,
) -> Load:
    """Post the body from one thread. With ``close``, each request uses a new connection.

    New connections resume TLS sessions, unlike those of an API server. The CPU time is that of the
    target also if another server is asked, which calls it. Raises RuntimeError if a response is an
    error.
    """
    review, script = folder / "review.json", folder / "post.lua"
    review.write_bytes(body)
    script.write_text(_SCRIPT.format(body=review))
    command = ["stdbuf", "-oL", "wrk", "-t1", f"-c{connections}", "--latency", "-s", str(script)]
    if close:
        command += ["-H", "Connection: close"]
    scheme = "https" if target.tls else "http"
    to = to or To(f"{scheme}://127.0.0.1:{target.port}/mutate", {})
    for header in to.headers.items():
        command += ["-H", ": ".join(header)]
    command.append(to.url)
    while not (found := _measured(command, seconds, target)):
        seconds *= 2  # on a busy machine
        if seconds > _LONGEST:
            raise RuntimeError("no response")
    return found


def _measured(command: list[str], seconds: float, target: Target) -> Load | None:
    """Return None if there was no response in that time."""
    command = [*command, f"-d{ceil(seconds)}s"]
    cpu = target.cpu()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        printed = process.stdout.readline()  # once it has begun
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)  # it ends with its results; -d takes whole seconds only
        printed += process.stdout.read()
    cpu = max(target.cpu() - cpu, TICK)
    found = _FOUND.search(printed)
    if not found or "Non-2xx" in printed:
        raise RuntimeError(printed)
    p50, p50_unit, p99, p99_unit, requests, took, took_unit = found.groups()
    count = int(requests)
    if not count:
        return None
    return Load(
        requests=count,
        seconds=float(took) * _UNITS[took_unit],
        p50=float(p50) * _UNITS[p50_unit],
        p99=float(p99) * _UNITS[p99_unit],
        ceiling=inf,
        cpu=cpu / count,
        sent=count,
    )
