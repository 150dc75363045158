"""What the hosts' builds read: func.yaml, the package, the pinned requirements."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import jsonschema
import yaml
from server import DATA, ROOT

FILES = {path.name for path in (ROOT / "handler").glob("*.*")} - {"requirements.txt"}


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


def test_funcs_scaffolding_can_install_the_function(tmp_path: Path) -> None:
    """By the name and from the place that its pyproject.toml says: ``function @ {root:uri}/f``."""
    source = tmp_path / "f"
    shutil.copytree(ROOT / "handler", source / "handler")
    shutil.copy(ROOT / "pyproject.toml", source)
    pip = [str(ROOT / ".venv-func" / "bin" / "pip"), "install", "--quiet", "--no-deps"]
    requirement = f"function @ {source.as_uri()}"
    target = tmp_path / "lib"
    subprocess.run([*pip, "--no-build-isolation", "--target", str(target), requirement], check=True)
    assert {path.name for path in (target / "function").glob("*.*")} == FILES


def test_all_hosts_have_the_same_versions() -> None:
    def pins(path: str) -> set[str]:
        lines = (ROOT / path).read_text().splitlines()
        return {line for line in lines if "==" in line}

    without_server = pins("handler/requirements.txt")
    assert without_server < pins("requirements.txt")
    assert without_server < pins("tests/func-requirements.txt")
