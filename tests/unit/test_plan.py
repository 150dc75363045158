"""``plan``: what it says of the clusters in data/plan, and of input that is not as it should be."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli import run
from server import DATA

from handler.author.progress import Progress

FOLDER = DATA / "plan"
CASES = sorted(path.name for path in FOLDER.iterdir())
NOTHING, CHANGES, FAILED = 0, 3, 1


def plan(case: str, *arguments: str, text: str = "") -> Any:
    return run(
        *("plan", "new.yaml", "--current", "current.yaml", *arguments), cwd=FOLDER / case, text=text
    )


def objects_of(case: str) -> str:
    (path,) = (FOLDER / case).glob("objects.*")
    return path.name


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of(case: str) -> None:
    result = plan(case, "-f", objects_of(case))
    expected = (FOLDER / case / "out.txt").read_text("utf-8")
    assert (result.stdout, result.stderr) == (expected, "")
    assert result.returncode == (NOTHING if "Nothing changes" in expected else CHANGES)


@pytest.mark.parametrize("case", CASES)
def test_json_and_yaml_say_the_same(case: str) -> None:
    texts = [
        plan(case, "-f", objects_of(case), "--output", output).stdout for output in ("json", "yaml")
    ]
    found = json.loads(texts[0])
    assert yaml.safe_load(texts[1]) == found
    lines = (FOLDER / case / "out.txt").read_text("utf-8").splitlines()
    assert found["changes"] == (not any("Nothing changes" in line for line in lines))
    headings = [line for line in lines if line.endswith((" pods", " pod")) and line[0] != " "]
    assert len(found["workloads"]) == len([each for each in headings if ", " in each])
    changed = sum(found["summary"][each] for each in ("placed", "unplaced", "changed", "recorded"))
    summary = found["summary"]
    assert changed + summary["unchanged"] + summary["undecided"] == summary["pods"]


def test_what_json_has() -> None:
    found = json.loads(plan("edit", "-f", "objects.json", "--output", "json").stdout)
    (pinned,) = [
        change
        for workload in found["workloads"]
        for change in workload["changes"]
        if change["refused"]
    ]
    assert pinned["refused"] == {
        "selector": "web",
        "reason": 'the pod\'s nodeSelector has k8s.aliyun.com/vnode "false" where the virtual node'
        ' has "true"',
    }
    assert (pinned["result"], pinned["examples"]) == ("changed", ["pinned"])
    (report,) = [each for each in found["workloads"] if each["name"] == "report"]
    assert (report["namespace"], report["kind"], report["pods"]) == ("shop", "CronJob", 1)
    assert report["changes"][0]["placement"] == {
        "before": {"policy": "virtualNodeOnly", "selector": "batch", "node": ""},
        "after": {"policy": "fair", "selector": "batch", "node": ""},
    }
    assert found["unmatchedSelectors"] == ["nobody"]


def test_the_same_profile_changes_nothing() -> None:
    for case in CASES:
        arguments = ("--current", "new.yaml", "-f", objects_of(case))
        result = run("plan", "new.yaml", *arguments, cwd=FOLDER / case)
        assert (result.returncode, "Nothing changes" in result.stdout) == (NOTHING, True), case


def test_what_cannot_be_told_is_not_called_unchanged() -> None:
    pod = {"kind": "Pod", "metadata": {"name": "a", "namespace": "shop", "labels": {"tier": "web"}}}
    result = plan("unknown-namespace", "-f", "-", text=json.dumps(pod))
    assert result.returncode == FAILED
    assert result.stdout.endswith("Nothing else changes for 1 pod; not decided: 1\n")


@pytest.mark.parametrize(("size", "fits"), [(262_000, True), (262_130, False)])
def test_an_effect_that_has_no_room_changes_nothing(size: int, fits: bool, tmp_path: Path) -> None:
    """The size of annotations that no selector sets counts as well."""
    (tmp_path / "current.yaml").write_text("[]")
    effect = "{annotations: {k8s.aliyun.com/eci-use-specs: 2-4Gi}}"
    (tmp_path / "new.yaml").write_text(f"- {{name: a, objectSelector: {{}}, effect: {effect}}}")
    template = {
        "metadata": {"labels": {"app": "web"}, "annotations": {"large": "x" * size}},
        "spec": {"nodeSelector": {"k8s.aliyun.com/vnode": "true"}, "tolerations": [EVERYTHING]},
    }
    deployment = {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": template}}
    text = "\n".join(map(json.dumps, [deployment, {**NAMESPACE, "metadata": {"name": "default"}}]))
    arguments = ("--current", "current.yaml", "-f", "-")
    result = run("plan", "new.yaml", *arguments, cwd=tmp_path, text=text)
    assert ("eci-use-specs: absent" in result.stdout) == fits
    assert result.returncode == (CHANGES if fits else NOTHING)


def test_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", 0) as terminal, os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr("sys.stderr", stream)
        with Progress("reading pods", 0, "objects") as progress:
            progress.add(250)
            assert terminal.read(100) == b"\r\033[Kreading pods: 250 objects"
            progress.add(0, 750)  # too soon
            now += 1
            progress.add(250, 500)
            bar = b"#" * 15 + b"." * 15
            assert terminal.read(100) == b"\r\033[Kreading pods: [%b] 500 of 1000 objects" % bar
        assert terminal.read(100) == b"\r\033[K"


def test_names_forge_nothing() -> None:
    """Whoever may create pods may name any owner."""
    owner = {"kind": "A\nNothing changes", "name": "\u001b[2J\u202e\ud800", "controller": True}
    metadata = {"name": "a", "labels": {"tier": "web"}, "ownerReferences": [owner]}
    text = json.dumps({"kind": "Pod", "metadata": metadata})
    namespace = json.dumps({"kind": "Namespace", "metadata": {"name": "default"}})
    result = plan("edit", "-f", "-", text=text.replace("\\ud800", "") + namespace)
    assert result.stdout.startswith('"A\\nNothing changes" default/"\\u001b[2J\\u202e", 1 pod\n')


EVERYTHING = {"operator": "Exists"}


def pods(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"metadata": {"name": f"a-{n}", "namespace": "kube-public", "labels": {"tier": "web"}}}
        | fields
        for n in range(count)
    ]


NAMESPACE = {"kind": "Namespace", "metadata": {"name": "kube-public", "labels": {"team": "shop"}}}
AS_KUBECTL = json.dumps(
    {"apiVersion": "v1", "items": [*pods(3, kind="Pod"), NAMESPACE], "kind": "List"}
)
RAW = json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods(3)})
LINES = "\n".join(map(json.dumps, [*pods(3, kind="Pod"), NAMESPACE]))
YAML = yaml.safe_dump({"kind": "List", "items": [*pods(3, kind="Pod"), NAMESPACE]})
STREAM = yaml.safe_dump_all([*pods(3, kind="Pod"), {"kind": "Secret"}, NAMESPACE])


@pytest.mark.parametrize("text", [AS_KUBECTL, LINES, YAML, STREAM, "\n " + AS_KUBECTL])
def test_any_form_that_kubectl_writes(text: str) -> None:
    result = plan("unknown-namespace", "-f", "-", "--output", "json", text=text)
    assert result.returncode == CHANGES, result.stderr
    assert json.loads(result.stdout)["summary"]["placed"] == 3


def test_several_files(tmp_path: Path) -> None:
    (tmp_path / "raw.json").write_text(RAW)
    (tmp_path / "namespaces.json").write_text(json.dumps(NAMESPACE))
    files = ("-f", str(tmp_path / "raw.json"), "-f", str(tmp_path / "namespaces.json"))
    result = plan("unknown-namespace", *files, "--output", "json")
    assert json.loads(result.stdout)["summary"]["placed"] == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"kind": "List", "items": [{"kind": "Secret"}', "<stdin> is not JSON: "),
        ("{kind: Pod}", "<stdin> is not JSON: lexical error: invalid char in json text."),
        (
            '{"kind": "List", "items": [{"kind": "Secret"}]}',
            "-: no pods and no workloads",
        ),
        ("", "-: no pods and no workloads"),
        (
            RAW + RAW,
            "<stdin>: there is more data after the List; specify each List with its own -f",
        ),
        ('{"kind": "List", "items": [1]}', "<stdin>: an item is not a Kubernetes object"),
        ('{"kind": "Secret"} 1', "<stdin>: a value is not a Kubernetes object"),
        ("- kind: Pod", "<stdin>: a document is not a Kubernetes object"),
        ("kind: [Pod", "<stdin>:1:11: did not find expected ',' or ']'"),
        (
            '{"kind": "Pod", "metadata": {"namespace": "a", "name": "b", "labels": {"c": 1}}}',
            "Pod a/b: Expected str, got int - at $.metadata.labels[...]",
        ),
        (
            '{"kind": "Deployment", "metadata": {"name": "b"}, "spec": {}}',
            "Deployment b: spec.template is missing",
        ),
        ('{"kind": "Pod"}', "Pod (without a name): Object missing required field metadata"),
    ],
)
def test_input_that_is_not_as_it_should_be(text: str, said: str) -> None:
    result = plan("edit", "-f", "-", text=text)
    assert (result.returncode, result.stdout) == (FAILED, "")
    assert result.stderr.startswith(f"eci-profile: {said}"), result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.yaml", "-f", "objects.json"], "eci-profile: missing.yaml can't be read"),
        (["objects.json", "-f", "objects.json"], "eci-profile: objects.json: no ConfigMap"),
        (["new.yaml", "-f", "missing.json"], "eci-profile: missing.json can't be read: No such"),
        (["-", "-f", "-"], "eci-profile: standard input (-) can be read only once"),
        ([], "error: the following arguments are required: NEW"),
        (["new.yaml", "--output", "xml"], "invalid choice: 'xml'"),
        (["-", "-f", "objects.json"], "eci-profile: <stdin> is not a valid profile (run check"),
    ],
)
def test_wrong_uses(arguments: list[str], said: str) -> None:
    text = "- name: a\n"
    result = run("plan", *arguments, "--current", "current.yaml", cwd=FOLDER / "edit", text=text)
    assert (result.returncode, result.stdout) == (FAILED, "")
    assert said in result.stderr
