"""Checks the Dockerfile without Docker: its instructions, and that the copied files run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from server import ROOT, Server, free_port, review_of, wait_until

from handler.version import VERSION

LINES = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).splitlines()
STEPS = [
    (instruction, arguments)
    for instruction, _, arguments in (line.partition(" ") for line in LINES)
    if instruction and not instruction.startswith("#")
]
LAST_STAGE = STEPS[max(i for i, (instruction, _) in enumerate(STEPS) if instruction == "FROM") :]


def arguments(instruction: str) -> list[str]:
    return [arguments for name, arguments in LAST_STAGE if name == instruction]


def sources() -> list[str]:
    """Return the paths copied from the repository, in order."""
    copies = [shlex.split(arguments) for name, arguments in STEPS if name == "COPY"]
    return [source for copy in copies if not copy[0].startswith("--from") for source in copy[:-1]]


def test_the_base_is_pinned() -> None:
    default = next(value for name, value in STEPS if name == "ARG")
    assert re.fullmatch(r"BASE=docker\.io/library/python:3\.\d+\.\d+-slim-[a-z]+", default)
    bases = [value.split()[0] for name, value in STEPS if name == "FROM"]
    assert bases == ["${BASE}"] * 2


def test_labels_name_the_version_and_the_revision() -> None:
    assert arguments("ARG") == [f"VERSION={VERSION}", "REVISION=unknown"]
    labels = dict(each.split("=", 1) for each in shlex.split(arguments("LABEL")[0]))
    assert labels["org.opencontainers.image.version"] == "${VERSION}"
    assert labels["org.opencontainers.image.revision"] == "${REVISION}"


def test_each_argument_is_described() -> None:
    page = (ROOT / "docs/en/install.md").read_text()
    for name, value in STEPS:
        if name == "ARG":
            argument, _, default = value.partition("=")
            (described,) = re.findall(rf"^\| `{argument}` \| ([^|]+) \|", page, re.MULTILINE)
            if argument == "VERSION":
                default = "handler/version.py"
            assert f"`{default}`" in described if default else described.startswith("none")


def test_the_user_is_numeric_and_not_root() -> None:
    (user,) = arguments("USER")
    assert all(int(number) > 0 for number in user.split(":"))


def test_no_step_and_no_command_needs_a_shell() -> None:
    for name, value in STEPS:
        if name in ("RUN", "CMD", "ENTRYPOINT"):
            assert isinstance(json.loads(value), list)


def test_copied_files_exist_and_are_not_ignored() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignore[1] == "*"
    assert {line[1:] for line in ignore if line.startswith("!")} == set(sources())
    for source in sources():
        assert (ROOT / source).exists()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Copy the repository's files of the last stage into a directory."""
    for source in sources():
        if (ROOT / source).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / source, tmp_path / "app" / source, ignore=ignored)
    return tmp_path


def test_the_command_serves_on_port_and_writes_no_file(image: Path) -> None:
    (command,) = arguments("CMD")
    (directory,) = arguments("WORKDIR")
    settings = dict(each.split("=", 1) for each in shlex.split(arguments("ENV")[0]))
    settings.pop("PATH")
    port = free_port()
    python, *rest = json.loads(command)
    assert python == "python"
    process = subprocess.Popen(
        [sys.executable, *rest],
        cwd=image / directory.lstrip("/"),
        env={
            **settings,  # without this process's environment
            "HOME": str(image),
            "TMPDIR": str(image),
            "PORT": str(port),
            "ECI_PROFILE_PROVIDER": "file",
            "ECI_PROFILE_FILE": str(ROOT / "k8s" / "sample" / "profile.yaml"),
            "ECI_PROFILE_DRAIN": "0",
        },
    )
    before = set(image.rglob("*"))
    try:
        with process:
            server = Server(port, process, sys.stderr.buffer)

            def ready() -> bool:
                try:
                    return server.request("GET", "/_/ready").status == 200
                except OSError:
                    return False

            wait_until(ready, 20)
            assert server.post(review_of({"metadata": {}})).json["response"]["allowed"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
    finally:
        process.kill()
    assert set(image.rglob("*")) == before
