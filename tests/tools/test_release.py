"""What makes a release: the notes from the changelog, and what the workflows call."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from server import ROOT, clean_environment

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
CHANGELOG = """\
# Changelog

## Unreleased

## 1.3.0-rc.1 - 2027-02-01

### Added

- A candidate.

## 1.3.0 - 2027-03-01

### Added

- Something.

### Fixed

- `## not a heading`, and more.

## 1.2.10

- No date.

## 1.2.1 - 2027-01-01

## 1.0.0 - 2026-12-01

- The first.
"""


def notes_of(tag: str, version: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "handler").mkdir()
    (folder / "handler/version.py").write_text(f'"""X."""\n\nVERSION = "{version}"\n')
    (folder / "CHANGELOG.md").write_text(CHANGELOG)
    return subprocess.run(
        [sys.executable, str(ROOT / ".ci/release_notes.py"), "--root", str(folder), tag],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.3.0", "### Added\n\n- Something.\n\n### Fixed\n\n- `## not a heading`, and more.\n"),
        ("1.3.0-rc.1", "### Added\n\n- A candidate.\n"),
        ("1.0.0", "- The first.\n"),
    ],
)
def test_the_notes_are_the_section_of_the_version(
    version: str, expected: str, tmp_path: Path
) -> None:
    result = notes_of(f"v{version}", version, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, expected, "")


@pytest.mark.parametrize(
    ("tag", "version", "sentence"),
    [
        ("v1.3.1", "1.3.0", "of version 1.3.0 (handler/version.py) is v1.3.0, not 'v1.3.1'"),
        ("1.3.0", "1.3.0", "is v1.3.0, not '1.3.0'"),
        ("", "1.3.0", "is v1.3.0, not ''"),
        ("v1.4.0", "1.4.0", "CHANGELOG.md has no section for 1.4.0: rename Unreleased"),
        ("v1.3", "1.3", "no section for 1.3:"),
        ("v1.2.10", "1.2.10", "'1.2.10' must be `1.2.10 - <date>`"),
        ("v1.2.1", "1.2.1", "the section '1.2.1 - 2027-01-01' is empty"),
    ],
)
def test_without_notes_there_is_no_release(
    tag: str, version: str, sentence: str, tmp_path: Path
) -> None:
    result = notes_of(tag, version, tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert sentence in result.stderr
    assert result.stderr.startswith("release-notes: ")


def test_make_prints_the_notes(tmp_path: Path) -> None:
    """As the workflow calls it, from the changelog that is there."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    (tmp_path / "handler").mkdir()
    (tmp_path / "handler/version.py").write_text('VERSION = "0.1.0"\n')
    result = subprocess.run(
        [
            shutil.which("make") or "make",
            "-s",
            "release-notes",
            "TAG=v0.1.0",
            f"PYTHON={sys.executable}",
        ],
        cwd=tmp_path,
        env={k: v for k, v in clean_environment().items() if not k.startswith(("MAKE", "MFLAGS"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("The first version.\n\n### Added\n\n- The function")
    assert "## 0.1.0" not in result.stdout


def _runs(workflow: Path) -> str:
    jobs: dict[str, Any] = yaml.safe_load(workflow.read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job.get("steps", [])]
    return "\n".join(step["run"] for step in steps if "run" in step)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_the_workflows_scripts_are_sound(workflow: Path) -> None:
    """By shellcheck, where what GitHub replaces is a word."""
    script = re.sub(r"\$\{\{.*?\}\}", "word", _runs(workflow))
    result = subprocess.run(
        [str(Path(sys.prefix, "bin/shellcheck")), "--shell=bash", "--exclude=SC2154,SC2153", "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_a_release_names_the_image_by_its_digest() -> None:
    document = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())
    steps = document["jobs"]["release"]["steps"]
    (build,) = (step for step in steps if step.get("id") == "build")
    settings = build["with"]
    assert settings["platforms"].split(",") == ["linux/amd64", "linux/arm64"]
    given = dict(line.split("=", 1) for line in settings["build-args"].splitlines())
    declared = set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert given.keys() == {"VERSION", "REVISION"} <= declared
    (manifest,) = (step for step in steps if "make --silent manifest" in step.get("run", ""))
    assert 'IMAGE="$IMAGE@$DIGEST" > eci-profile.yaml' in manifest["run"]
    assert manifest["env"] == {"DIGEST": "${{ steps.build.outputs.digest }}"}
    assert steps.index(build) < steps.index(manifest)
    assert "eci-profile.yaml" in steps[-1]["run"]
    assert document["jobs"]["release"]["needs"] == "test"


def test_workflows_have_no_more_rights_than_they_need() -> None:
    """A token that writes is only where a release is published."""
    for workflow in WORKFLOWS:
        document = yaml.safe_load(workflow.read_text())
        assert document["permissions"] == {"contents": "read"}
        for name, job in document["jobs"].items():
            expected = {"contents": "write", "packages": "write"} if name == "release" else None
            assert job.get("permissions") == expected
