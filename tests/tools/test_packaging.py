"""What the hosts' builds read: func.yaml, the package, the pinned requirements."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from cli import run
from packaging.requirements import Requirement
from server import DATA, ROOT, clean_environment

from handler.version import VERSION

FILES = {path.name for path in (ROOT / "handler").glob("*.*")} - {"requirements.txt"}
STATIC = ROOT / "handler" / "web" / "static"


def test_func_yaml_is_valid_by_knatives_schema() -> None:
    """schema/func_yaml-schema.json of https://github.com/knative/func (c18d6045a1b0)."""
    schema = json.loads((DATA / "func_yaml-schema.json").read_text())
    document = yaml.safe_load((ROOT / "func.yaml").read_text())
    document["created"] = document["created"].isoformat()  # YAML has times, JSON has not
    jsonschema.validate(document, schema, jsonschema.Draft4Validator)
    assert document["specVersion"] == "0.36.0"
    assert document["deploy"]["options"]["scale"]["min"] == 1
    service = yaml.safe_load((ROOT / "k8s/knative/function/service.yaml").read_text())["metadata"]
    assert (document["name"], document["namespace"]) == (service["name"], service["namespace"])


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the package, installed as func's scaffolding does, with .venv-func's pip.

    By the name and from the place that its pyproject.toml says: ``function @ {root:uri}/f``.
    """
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "f"
    shutil.copytree(ROOT / "handler", source / "handler")
    shutil.copy(ROOT / "pyproject.toml", source)
    pip = [str(ROOT / ".venv-func" / "bin" / "pip"), "install", "--quiet", "--no-deps"]
    requirement = f"function @ {source.as_uri()}"
    target = folder / "lib"
    subprocess.run([*pip, "--no-build-isolation", "--target", str(target), requirement], check=True)
    return target


def test_funcs_scaffolding_can_install_the_function(installed: Path) -> None:
    assert {path.name for path in (installed / "function").glob("*.*")} == FILES
    page = {path.relative_to(ROOT / "handler") for path in STATIC.rglob("*.*")}
    static = (installed / "function" / "web" / "static").rglob("*.*")
    assert {path.relative_to(installed / "function") for path in static} == page


def printed(installed: Path, script: str, *arguments: str) -> str:
    return subprocess.run(
        [installed / "bin" / script, *arguments],
        env={**clean_environment(), "PYTHONPATH": str(installed)},
        cwd=DATA / "check",
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout


@pytest.mark.parametrize(
    ("script", "called"),
    [("eci-profile", "eci-profile"), ("kubectl-eci_profile", "kubectl eci-profile")],
)
def test_an_installation_has_the_command_line(script: str, called: str, installed: Path) -> None:
    assert printed(installed, script, "--help").startswith(f"usage: {called} ")
    assert printed(installed, script, "check", "--help").startswith(f"usage: {called} check ")


def test_an_installation_has_what_the_command_line_reads(installed: Path) -> None:
    assert printed(installed, "eci-profile", "--version") == f"{VERSION}\n"
    checked = printed(installed, "eci-profile", "check", "doubts.yaml")
    assert checked == (DATA / "check/doubts.yaml.out").read_text("utf-8")


def test_the_hook_of_pre_commit_names_a_script_and_profiles() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    script, command = hook["entry"].split()
    assert f"\n{script} = " in (ROOT / "pyproject.toml").read_text()
    assert run(command, "--help").returncode == 0
    for path, taken in (
        ("k8s/eci-profile.yaml", True),
        ("eci-profile-prod.yml", True),
        ("eci-profile.json", True),
        ("eci-profile/deployment.yaml", False),
        ("profile.yaml", False),
    ):
        assert bool(re.search(hook["files"], path)) == taken


def pins(path: str) -> set[str]:
    lines = (ROOT / path).read_text().splitlines()
    return {line for line in lines if "==" in line}


def applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def test_what_is_pinned_needs_nothing_else() -> None:
    """So an image needs no resolver, which would install the newest of what is not pinned."""
    pinned = [each for each in map(Requirement, pins("requirements.txt")) if applies(each)]
    names = {each.name for each in pinned}
    for each in pinned:
        for needed in map(Requirement, importlib.metadata.requires(each.name) or ()):
            if applies(needed):
                name = re.sub(r"[-_.]+", "-", needed.name).lower()
                assert name in names, f"{each.name} needs {name}"
                assert needed.specifier.contains(importlib.metadata.version(name))


def test_all_hosts_have_the_same_versions() -> None:
    without_server = pins("handler/requirements.txt")
    assert without_server < pins("requirements.txt")
    assert without_server < pins("tests/func-requirements.txt")
