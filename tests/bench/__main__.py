"""Runs the benchmark, and prints and writes the results. See ``--help``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import go

from . import cold, creation, deployed, planning, plot, scale, throughput, wrk
from .results import HEADING, Plan, Results

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run all measurements, or the selected ones."""
    parts = {
        "deployed": deployed,
        "creation": creation,
        "throughput": throughput,
        "scale": scale,
        "cold": cold,
        "planning": planning,
    }
    parser = argparse.ArgumentParser("make bench", description="Measures the function.")
    parser.add_argument("--rounds", type=int, default=5, help="of which medians are taken")
    parser.add_argument("--seconds", type=float, default=1.5, help="of load each time")
    parser.add_argument("--quick", action="store_true", help="only see whether it works")
    parser.add_argument("--only", choices=parts, nargs="+", default=list(parts))
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="a folder")
    given = parser.parse_args(arguments)
    plan = Plan(given.rounds, given.seconds, quick=given.quick)
    results = Results()
    print(HEADING, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only:
            parts[name].measure(plan, results, Path(folder))
    given.out.mkdir(parents=True, exist_ok=True)
    written = given.out / "bench.json"
    machine = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "load": list(os.getloadavg()),
        "wrk": wrk.present(),
        "go": go.present(),
    }
    found = {"machine": machine, "plan": asdict(plan), **results.as_json()}
    written.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\nwritten: {written}", end="")
    if find_spec("matplotlib"):
        plot.write(results, given.out / "bench.svg")
        print(f", {given.out / 'bench.svg'}")
    else:
        print("; no plot without tests/bench/requirements.txt", file=sys.stderr)


if __name__ == "__main__":
    main()
