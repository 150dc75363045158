"""``completion`` where the package that it needs is missing; ``process`` has the rest."""

from __future__ import annotations

import sys

import pytest
from cli import run


def test_without_shtab_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    result = run("completion", "bash")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "eci-profile: completion needs shtab: install with the extra completion,"
        " or run pip install shtab\n"
    )
