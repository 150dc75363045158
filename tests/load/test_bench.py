"""The benchmark runs; its results are not checked here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench import inputs
from server import ROOT, clean_environment

from handler.profiles.parse import parse


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")
def test_every_benchmark_produces_results(tmp_path: Path) -> None:
    options = ["--quick", "--rounds", "1", "--seconds", "0.1", "--out", str(tmp_path)]
    environment = {**clean_environment(), "PYTHONPATH": f"{ROOT}/tests:{ROOT}/tests/support"}
    done = subprocess.run(
        [sys.executable, "-m", "bench", *options],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    goals = [row["name"] for row in rows if row["goal"]]
    for words in (
        *("CPU / before: TLS, 8 kept", "throughput / ", "throughput / floor", "p99 / floor"),
        *("time per review", "loading", "cold start / bare"),
        *("resident, provider cm", "reviews that waited", "CPU, plan of", "memory, plan of"),
    ):
        assert any(name.startswith(words) for name in goals), words
    for row in rows:
        assert row["value"] > 0 or row["name"].startswith("reviews that waited")
        assert row["name"] in done.stdout


def test_its_largest_profile_fits_into_a_config_map() -> None:
    assert len(parse({"selectors": inputs.profile(10_000)}).selectors) == 10_000
