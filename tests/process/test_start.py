"""Startup failures of a real process: the exit code and the one-line message."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hosts import SERVE
from server import ROOT, clean_environment, free_port

from handler.settings import ServerSettings, Settings, described


def ends(**settings: str) -> str:
    """Return the startup error; unit/test_file.py has every case."""
    ended = subprocess.run(
        SERVE,
        env={
            **clean_environment(),
            "HOME": "/nonexistent",
            "PORT": str(free_port()),
            **settings,
        },
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.decode().splitlines()
    assert line.startswith("eci-profile: ")
    return line


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ECI_PROFILE_TTL": "5s"}, ["ECI_PROFILE_TTL", "'5s'", "seconds"]),
        ({"KUBECONFIG": "README.md"}, ["KUBECONFIG=README.md"]),
        ({}, ["no access to the API server", "KUBECONFIG"]),
    ],
)
def test_an_invalid_setting(settings: dict[str, str], words: list[str]) -> None:
    line = ends(**settings)
    for word in words:
        assert word in line


def test_help_lists_the_settings_and_arguments_are_rejected() -> None:
    def printed(argument: str, code: int) -> str:
        ended = subprocess.run(
            [*SERVE, argument],
            env=clean_environment(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert ended.returncode == code
        return ended.stdout

    told = printed("--help", 0)
    for form in (Settings, ServerSettings):
        for each in described(form).values():
            assert f"  {each.variable}\n" in told
    assert "`" not in told
    assert "](" not in told
    assert "unrecognized arguments: --port" in printed("--port", 2)


def test_an_invalid_file(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_bytes(b"- 5")
    line = ends(ECI_PROFILE_PROVIDER="file", ECI_PROFILE_FILE=str(profile))
    assert str(profile) in line
    assert "not a Kubernetes object" in line
