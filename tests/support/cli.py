"""Runs the command line, ``python -m handler``, in this process or in a separate one."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from server import ROOT, clean_environment

from handler.__main__ import main


@dataclass
class Result:
    returncode: int
    stdout: str
    stderr: str


def run(
    *arguments: str,
    cwd: Path = ROOT,
    text: str = "",
    environment: dict[str, str] | None = None,
    one_output: bool = False,
) -> Result:
    """Run the command line in this process, with this standard input.

    ``one_output``: both outputs are one, as on a terminal.
    """
    given, out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(3))
    given.write(text)
    given.seek(0)
    before = Path.cwd()
    with (
        mock.patch.dict(os.environ, {**clean_environment(), **(environment or {})}, clear=True),
        mock.patch.object(sys, "argv", ["handler", *arguments]),
        mock.patch.object(sys, "stdin", given),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out if one_output else err),
    ):
        os.chdir(cwd)
        try:
            code = main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        finally:
            os.chdir(before)
    for stream in (out, err):
        stream.seek(0)
    return Result(code, out.read(), err.read())


def run_process(
    *arguments: str,
    cwd: Path = ROOT,
    text: str = "",
    environment: dict[str, str] | None = None,
) -> Result:
    """Run the command line in a separate process."""
    inherited = clean_environment()
    path = os.pathsep.join([str(ROOT), *filter(None, [inherited.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, "-m", "handler", *arguments],
        cwd=cwd,
        input=text,
        capture_output=True,
        encoding="utf-8",
        env={**inherited, "PYTHONPATH": path, "PYTHONUTF8": "1", **(environment or {})},
        timeout=60,
        check=False,
    )
    return Result(ended.returncode, ended.stdout, ended.stderr)
