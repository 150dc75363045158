"""Load by wrk, where it is installed: a second opinion on the throughput."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

__all__ = ["present", "rate"]

_SCRIPT = """
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
"""


def present() -> bool:
    """Whether there is a wrk."""
    return shutil.which("wrk") is not None


def rate(port: int, body: bytes, connections: int, seconds: float, folder: Path) -> float:
    """Requests per second, with one thread."""
    review, script = folder / "review.json", folder / "post.lua"
    review.write_bytes(body)
    script.write_text(_SCRIPT.format(body=review))
    duration = f"-d{max(1, round(seconds))}s"
    url = f"http://127.0.0.1:{port}/mutate"
    command = ["wrk", "-t1", f"-c{connections}", duration, "-s", str(script), url]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s*([\d.]+)", printed)
    if not found or "Non-2xx" in printed:
        raise RuntimeError(printed)
    return float(found[1])
