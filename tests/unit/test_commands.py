"""The commands of the command line, and what is loaded for one."""

from __future__ import annotations

import re
import subprocess
import sys

from cli import run
from server import ROOT


def test_each_command_of_the_help_has_its_own() -> None:
    names = re.findall(r"^    ([a-z]+)\b", run("--help").stdout, re.MULTILINE)
    assert {"check", "schema", "completion", "install", "certificates"} < set(names)
    for name in names:
        assert f" {name} [-h]" in run(name, "--help").stdout


def test_only_the_command_that_runs_is_loaded() -> None:
    names = ("handler.install.commands", "handler.author.plan", "handler.profiles.schema")
    code = (
        "import contextlib, io, sys; from handler.__main__ import main\n"
        "sys.argv = ['handler', 'certificates', '--help']\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main()\n"
        f"print(*(name in sys.modules for name in {names}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["True", "False", "False"]
