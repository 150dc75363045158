"""Programs in Go, where it is installed: clients and servers that behave as Kubernetes' own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["CLIENT", "build", "present"]

CLIENT = Path(__file__).parent / "apiserver_client.go"
"""Posts reviews as kube-apiserver does."""


def present() -> bool:
    """Whether there is a Go."""
    return shutil.which("go") is not None


def build(source: Path, folder: Path) -> str:
    """Build a program of one file into the folder, and return its path."""
    program = str(folder / source.stem)
    environment = {**os.environ, "GOCACHE": str(folder / "go-cache"), "GO111MODULE": "off"}
    subprocess.run(
        [shutil.which("go") or "go", "build", "-o", program, str(source)],
        env=environment,
        check=True,
    )
    return program
