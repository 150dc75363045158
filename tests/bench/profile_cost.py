"""Loads a profile as the function does, in a separate process; prints the seconds and MB taken.

``python -m bench.profile_cost FILE``
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from handler.decision.matching import Matcher
from handler.profiles.parse import parse


def _resident() -> float:
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    data = json.loads(Path(sys.argv[1]).read_text())["data"]
    parse({"selectors": "[]"})  # the one-time cost of the first parse belongs to the cold start
    before = _resident()
    began = time.perf_counter()
    matcher = Matcher(parse(data))
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "megabytes": _resident() - before}))
