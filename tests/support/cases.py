"""The pairs of files in data/cases: a profile, namespaces and a pod, and the expected pod.

And the invalid profiles, each with its problems.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from server import DATA

FOLDER = DATA / "cases"
INVALID = yaml.load((DATA / "invalid-profiles.yaml").read_text("utf-8"), yaml.CSafeLoader)
CASES = sorted(path.name.removesuffix(".in.yaml") for path in FOLDER.glob("*.in.yaml"))


@dataclass(frozen=True)
class Case:
    """``path`` has the profile, the namespaces and the pod; ``after`` is the expected pod."""

    path: Path
    pod: dict[str, Any]
    after: dict[str, Any]
    warnings: list[str]
    audit: dict[str, str]


def read_case(name: str) -> Case:
    path = FOLDER / f"{name}.in.yaml"
    documents = yaml.load_all(path.read_text("utf-8"), yaml.CSafeLoader)
    (pod,) = (each for each in documents if each["kind"] == "Pod")
    expected = (FOLDER / f"{name}.out.yaml").read_text("utf-8")
    after, told = yaml.load_all(expected, yaml.CSafeLoader)
    return Case(path, pod, after, told["warnings"], told["auditAnnotations"])
