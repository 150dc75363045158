"""The walk-through of operate.md, "Roll out a selector", against the running function.

What its commands print is in test_docs.py. Here is what the function does with each profile.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli import run
from pages import Block, parse
from server import ROOT, Server, checked, patched, review_of, serving_file

SECTION = "Roll out a selector"
CLUSTER = ROOT / "k8s" / "sample" / "cluster.json"
OBJECTS: list[dict[str, Any]] = json.loads(CLUSTER.read_text("utf-8"))["items"]
NAMESPACES = [each for each in OBJECTS if each["kind"] == "Namespace"]
PODS = [each for each in OBJECTS if each["kind"] == "Pod"]
PREFIX = "mutate.eci-profile.svc/"  # kube-apiserver prefixes audit annotations with the webhook
SHARES = {"Audit": 0, "Ten percent": 2, "All": 20, "Roll back": 0}
"""The steps that save a profile, and how many pods the new selector then takes."""


def parts() -> dict[str, list[Block]]:
    """The code blocks of each step; those before the first one under an empty name."""
    text = (ROOT / "docs/en/operate.md").read_text("utf-8")
    text = text.partition(f"\n## {SECTION}\n")[2].partition("\n## ")[0]
    names_and_texts = ["", *re.split(r"\n### (.+)\n", text)]
    return {
        name: parse(part, name).blocks
        for name, part in zip(names_and_texts[::2], names_and_texts[1::2], strict=True)
    }


PARTS = parts()


def profile(step: str) -> str:
    (text,) = (block.text for block in PARTS[step] if block.info.startswith("yaml"))
    return text


def shown(step: str) -> Iterator[dict[str, Any]]:
    """What the step shows in JSON."""
    for block in PARTS[step]:
        if block.info == "json":
            yield from map(json.loads, block.lines)


def shown_metrics(step: str) -> dict[str, float] | None:
    for block in PARTS[step]:
        if block.info == "text":
            pairs = (line.rsplit(" ", 1) for line in block.lines)
            return {name: float(value) for name, value in pairs}
    return None


@dataclass
class Cluster:
    """The running function, and what kube-apiserver would send it."""

    server: Server
    file: Path
    data: dict[str, str]
    responses: dict[str, dict[str, Any]] = field(default_factory=dict)

    def apply(self, text: str) -> None:
        """As kubectl does: the profile is validated, then it is in the cluster."""
        config_map = yaml.safe_load(text)
        review = review_of(
            config_map,
            uid="0d5f7c4e-6c0b-4a53-9a11-5a3c5c1e8f20",
            kind={"group": "", "version": "v1", "kind": "ConfigMap"},
            resource={"group": "", "version": "v1", "resource": "configmaps"},
            operation="UPDATE",
            oldObject={**config_map, "data": self.data},
            userInfo={"username": "kubernetes-admin"},
        )
        reply = self.server.request("POST", "/validate", json.dumps(review).encode())
        assert checked(reply, review)["allowed"]
        self.data = config_map["data"]
        write(self.file, text)

    def recreate(self) -> int:
        """Create all pods again, each with the uid that it has. Return how many are taken."""
        taken = 0
        for pod in PODS:
            metadata = {k: v for k, v in pod["metadata"].items() if k not in ("name", "uid")}
            spec = {k: v for k, v in pod["spec"].items() if k != "nodeName"}
            created = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
            uid = pod["metadata"]["uid"]
            review = review_of(created, uid=uid)
            response = checked(self.server.post(review), review)
            self.responses[uid] = response
            placed = "nodeSelector" in patched(created, response)["spec"]
            taken += placed and metadata["labels"]["app"] == "web"
        return taken


def write(file: Path, text: str) -> None:
    file.write_text("\n---\n".join([text, *map(json.dumps, NAMESPACES)]), "utf-8")


def without_times(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in ("timestamp", "ms")}


def planned(folder: Path, new: str, current: str) -> int:
    """How many more pods would be on the virtual node, by the plan."""
    (folder / "new.yaml").write_text(new, "utf-8")
    (folder / "old.yaml").write_text(current, "utf-8")
    arguments = ("--current", "old.yaml", "-f", str(CLUSTER), "--output", "json")
    summary = json.loads(run("plan", "new.yaml", *arguments, cwd=folder).stdout)["summary"]
    return int(summary["placed"] - summary["unplaced"])


def test_the_walk_through_happens_as_it_is_told(tmp_path: Path) -> None:
    assert list(PARTS) == ["", "Plan", *SHARES]
    file = tmp_path / "cluster.yaml"
    current, taken = profile(""), 0
    write(file, current)
    with serving_file(file) as server:
        cluster = Cluster(server, file, yaml.safe_load(current)["data"])
        for step, share in SHARES.items():
            new, before = profile(step), len(server.log_lines())
            cluster.apply(new)
            assert cluster.recreate() == share
            assert planned(tmp_path, new, current) == share - taken
            current, taken = new, share

            logged = server.log_lines()[before:]
            by_uid = {line["uid"]: line for line in logged if line["message"] == "review"}
            for expected in shown(step):
                if "uid" in expected:
                    found = by_uid[expected["uid"]]
                    assert list(found) == list(expected)  # in the same order, too
                    assert without_times(found) == without_times(expected)
                else:
                    annotations = {key.removeprefix(PREFIX): v for key, v in expected.items()}
                    assert annotations in [
                        each.get("auditAnnotations") for each in cluster.responses.values()
                    ]
            metrics = {
                name: value
                for name, value in server.metrics().items()
                if 'selector="web-to-eci"' in name
            }
            assert metrics == (shown_metrics(step) or {})


@pytest.mark.parametrize("step", [step for step in SHARES if step != "Roll back"])
def test_each_step_shows_its_log_and_its_metrics(step: str) -> None:
    """So that the test above compares something."""
    assert any("outcome" in line for line in shown(step))
    assert shown_metrics(step)
