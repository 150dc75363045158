"""A short run of coverage-guided fuzzing; `make fuzz` runs longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from server import ROOT


@pytest.mark.parametrize(("target", "runs"), [("reviews", 5_000), ("profiles", 300)])
def test_coverage_guided_fuzzing_finds_no_failure(target: str, runs: int, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris has no wheel for this platform")
    fuzzing = subprocess.run(
        [sys.executable, "tests/load/fuzz.py", target, str(tmp_path), f"-runs={runs}"],
        cwd=ROOT,
        capture_output=True,
        timeout=300,
        check=False,
    )
    output = fuzzing.stderr.decode(errors="replace")
    assert fuzzing.returncode == 0, output[-3000:]
    assert f"Done {runs} runs" in output
