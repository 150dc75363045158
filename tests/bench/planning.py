"""``plan`` on a large cluster: time and memory of a process that reads kubectl's output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from server import ROOT

from .cluster_dump import dump
from .results import Plan, Results

__all__ = ["measure"]

_CURRENT = [
    {"name": "batch", "objectSelector": {"matchLabels": {"tier": "batch"}}},
    {
        "name": "team",
        "namespaceSelector": {"matchLabels": {"tier": "tier-3"}},
        "effect": {"annotations": {"k8s.aliyun.com/eci-image-cache": "true"}},
    },
]
_DRAWN = {"name": "front", "objectSelector": {"matchLabels": {"tier": "front"}}, "percentage": 10}


def measure(plan: Plan, results: Results, folder: Path) -> None:
    """Add rows for a selector that takes all of its pods, and for one with a percentage."""
    pods, namespaces = (200, 50) if plan.quick else (100_000, 2_000)
    objects = folder / "cluster.json"
    with objects.open("w") as stream:
        dump(pods, namespaces, stream)
    results.add("plan, JSON that kubectl writes", "MB", [objects.stat().st_size / 1e6])
    current = _written(folder / "current.json", _CURRENT)
    for name, selector in (("all", {**_DRAWN, "percentage": 100}), ("drawn", _DRAWN)):
        new = _written(folder / "new.json", [*_CURRENT[1:], selector])
        command = [sys.executable, "-m", "handler", "plan", str(new), "--current", str(current)]
        rounds = [_run([*command, "-f", str(objects)]) for _ in range(plan.rounds)]
        of = f"plan of {pods} pods, {namespaces} namespaces, {name}"
        results.add(f"CPU, {of}", "s", [cpu for cpu, _, _ in rounds], at_most=20)
        results.add(f"time, {of}", "s", [seconds for _, seconds, _ in rounds])
        results.add(f"memory, {of}", "MB", [memory for _, _, memory in rounds], at_most=500)
    objects.unlink()


def _written(path: Path, selectors: object) -> Path:
    path.write_text(json.dumps(selectors))
    return path


def _run(command: list[str]) -> tuple[float, float, float]:
    """Return CPU time and wall time in seconds, and peak memory in MB."""
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        found = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 3 or b"would change" not in found:
        raise RuntimeError(f"plan ended with {process.returncode}")
    seconds = time.perf_counter() - began
    return usage.ru_utime + usage.ru_stime, seconds, usage.ru_maxrss * 1024 / 1e6
