"""Go programs, if Go is installed: clients and servers that behave like those of Kubernetes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["CLIENT", "build", "present"]

CLIENT = Path(__file__).parent / "apiserver_client.go"
"""Posts reviews like kube-apiserver."""


def present() -> bool:
    """Return whether Go is installed."""
    return shutil.which("go") is not None


def build(source: Path, folder: Path) -> str:
    """Build a single-file program into the folder and return its path."""
    program = str(folder / source.stem)
    environment = {**os.environ, "GOCACHE": str(folder / "go-cache"), "GO111MODULE": "off"}
    subprocess.run(
        [shutil.which("go") or "go", "build", "-o", program, str(source)],
        env=environment,
        check=True,
    )
    return program
