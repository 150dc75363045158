"""The command line as a real process: ``python -m handler``, as README says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from server import ROOT, clean_environment


def run(
    *arguments: str,
    cwd: Path = ROOT,
    text: str = "",
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, with this standard input."""
    inherited = clean_environment()
    path = os.pathsep.join([str(ROOT), *filter(None, [inherited.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "handler", *arguments],
        cwd=cwd,
        input=text,
        capture_output=True,
        encoding="utf-8",
        env={**inherited, "PYTHONPATH": path, "PYTHONUTF8": "1", **(environment or {})},
        timeout=60,
        check=False,
    )
