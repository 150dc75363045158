"""Load by wrk, if installed: it uses less CPU time than our own load generator."""

from __future__ import annotations

import re
import shutil
import subprocess
from math import inf
from pathlib import Path

from .load import TICK, Load
from .targets import Target

__all__ = ["present", "run"]

_FOUND = re.compile(
    r"50% +([\d.]+)(us|ms|s)\n.*99% +([\d.]+)(us|ms|s)\n +(\d+) requests in +([\d.]+)s", re.DOTALL
)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}

_SCRIPT = """
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
"""


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
) -> Load:
    """Post the body from one thread. With ``close``, each request uses a new connection.

    New connections resume TLS sessions, unlike those of an API server. Raises RuntimeError if a
    response is not 200.
    """
    review, script = folder / "review.json", folder / "post.lua"
    review.write_bytes(body)
    script.write_text(_SCRIPT.format(body=review))
    duration = max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{duration}s", "--latency", "-s", str(script)]
    if close:
        command += ["-H", "Connection: close"]
    scheme = "https" if target.tls else "http"
    command.append(f"{scheme}://127.0.0.1:{target.port}/mutate")
    cpu = target.cpu()
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cpu = max(target.cpu() - cpu, TICK)
    found = _FOUND.search(printed)
    if not found or "Non-2xx" in printed:
        raise RuntimeError(printed)
    p50, p50_unit, p99, p99_unit, requests, took = found.groups()
    count = int(requests)
    return Load(
        requests=count,
        seconds=float(took),
        p50=float(p50) * _UNITS[p50_unit],
        p99=float(p99) * _UNITS[p99_unit],
        ceiling=inf,
        cpu=cpu / count,
        sent=count,
    )
