"""The page's answers without a browser: their limits, and what is known of namespaces."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli import run
from local import Local, local
from server import ROOT

from handler.author.workloads import read_pods
from handler.lint.diagnostics import examine
from handler.web.page import EXAMPLES

SAMPLE: Path = ROOT / "k8s" / "sample" / "profile.yaml"
STATIC: Path = ROOT / "handler" / "web" / "static"


@pytest.fixture(scope="module")
def function() -> Iterator[Local]:
    environment = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(SAMPLE)}
    with local({**environment, "ECI_PROFILE_PAGE": "1"}) as function:
        yield function


def ask(function: Local, selectors: Any, pod: str, **namespaces: str) -> Any:
    profile = {"selectors": selectors if isinstance(selectors, str) else json.dumps(selectors)}
    question = {"profile": profile, "pod": pod, "namespaces": namespaces}
    reply = function.request("POST", "/explain", json.dumps(question).encode())
    assert reply.status == 200
    return reply.json


@pytest.mark.parametrize(("count", "explained"), [(100, 100), (101, 0), (50_000, 0)])
def test_it_explains_a_hundred_pods_at_most(function: Local, count: int, explained: int) -> None:
    answer = ask(function, [], "{kind: Pod}\n---\n" * count)
    assert len(answer["pods"]) == explained
    assert ("podError" in answer) == (not explained)


def test_it_reads_twenty_namespaces_at_most(function: Local) -> None:
    pods = "\n---\n".join(
        f"{{kind: Pod, metadata: {{namespace: {name}}}}}"
        for name in [*(f"n{number}" for number in range(20)), "batch"]
    )
    answer = ask(function, [], pods)
    assert [each["known"] for each in answer["namespaces"]] == [False] * 21
    answer = ask(function, [], pods, n0="")  # that one needs no reading
    assert answer["namespaces"][0]["known"]
    assert answer["namespaces"][-1]["labels"]["alibabacloud.com/eci"] == "true"


def side(key: str, operator: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator}]}


@pytest.mark.parametrize(
    ("selector", "unknown"),
    [
        ({"objectSelector": {}}, False),
        ({"namespaceSelector": {}}, False),
        ({"namespaceSelector": side("a", "Exists")}, True),
        ({"namespaceSelector": side("a", "DoesNotExist")}, True),
        ({"namespaceSelector": side("a", "Exists"), "objectSelector": side("b", "Exists")}, False),
        ({"namespaceSelector": side("kubernetes.io/metadata.name", "Exists")}, False),
        (
            {
                "namespaceSelector": {
                    "matchLabels": {"a": "b", "kubernetes.io/metadata.name": "other"}
                }
            },
            False,
        ),
    ],
)
def test_unknown_is_what_hangs_on_unknown_labels(
    function: Local, selector: Any, unknown: bool
) -> None:
    selectors, pod = [{"name": "a", **selector}], "{kind: Pod, metadata: {namespace: elsewhere}}"
    answer = ask(function, selectors, pod)
    assert answer["pods"][0]["selectors"][0].get("unknown", False) == unknown
    answer = ask(function, selectors, pod, elsewhere="")
    assert "unknown" not in answer["pods"][0]["selectors"][0]


def test_labels_of_other_namespaces_are_not_looked_at(function: Local) -> None:
    answer = ask(function, [], "kind: Pod", gone="no label")
    assert answer["labelErrors"] == {}
    assert len(answer["pods"]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "kind: ConfigMap\ndata: {selectors: 5}",
        "kind: ConfigMap\ndata: {selectors: '[]', record: 5}",
    ],
)
def test_values_that_are_no_text_stay_in_sight(function: Local, text: str) -> None:
    answer = ask(function, text, "kind: Pod")
    assert "taken" not in answer
    assert "must be text" in answer["diagnostics"][0]["message"]


def test_an_object_without_selectors_is_no_profile(function: Local) -> None:
    for text in ("kind: ConfigMap\ndata: {}", "kind: Pod", "kind: [", "kind: a\n---\n5"):
        answer = ask(function, text, "kind: Pod")
        assert "taken" not in answer
        assert answer["diagnostics"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_valid(name: str) -> None:
    text = (STATIC / "examples" / f"{name}.yaml").read_text("utf-8")
    config_map, *others = yaml.safe_load_all(text)
    assert config_map["metadata"] == {"name": "eci-profile", "namespace": "kube-system"}
    assert examine(config_map["data"]) == []
    namespaces = {each["metadata"]["name"] for each in others if each["kind"] == "Namespace"}
    assert {pod.namespace for pod in read_pods(text)} == namespaces


def test_no_example_is_left_out() -> None:
    assert {path.stem for path in (STATIC / "examples").iterdir()} == set(EXAMPLES)


def changes(function: Local, selectors: str) -> Any:
    return ask(function, selectors, "")["changes"]


def test_changes_are_told_line_by_line(function: Local) -> None:
    loaded = function.request("GET", "/profile").json["data"]["selectors"]
    assert changes(function, loaded) == []
    lines = loaded.splitlines()
    middle = "\n".join([*lines[:6], "# new", *lines[7:]])
    assert changes(function, middle) == [
        {
            "key": "selectors",
            "lines": [
                "@@",
                *(f" {line}" for line in lines[3:6]),
                f"-{lines[6]}",
                "+# new",
                *(f" {line}" for line in lines[7:10]),
            ],
        }
    ]
    assert changes(function, f"# new\n{loaded}")[0]["lines"][:2] == ["@@", "+# new"]
    assert changes(function, f"{loaded}# new\n")[0]["lines"][-1] == "+# new"
    assert len(changes(function, "")[0]["lines"]) == len(lines) + 1


def test_a_change_of_many_lines_is_not_compared(function: Local) -> None:
    loaded = function.request("GET", "/profile").json["data"]["selectors"]
    long = loaded + "# a\n" * 1_001
    (change,) = changes(function, long)
    assert change["lines"] == ["@@ too many lines to compare: 3 and 1004 @@"]


def test_an_object_in_one_line_can_be_pasted(function: Local) -> None:
    text = json.dumps({"kind": "ConfigMap", "data": {"selectors": "[]"}})
    assert ask(function, text, "")["taken"]["data"] == {"selectors": "[]"}


CLUSTER = (SAMPLE.parent / "cluster.json").read_bytes()
WEB = [{"name": "web", "objectSelector": {"matchLabels": {"app": "web"}}}]


def ask_for_plan(function: Local, selectors: Any, objects: bytes) -> Any:
    profile = {"selectors": json.dumps(selectors)}
    body = json.dumps({"profile": profile}).encode() + b"\n" + objects
    return function.request("POST", "/plan", body)


def test_its_plan_is_that_of_the_command_line(function: Local, tmp_path: Path) -> None:
    reply = ask_for_plan(function, WEB, CLUSTER)
    assert reply.status == 200
    (tmp_path / "new.yaml").write_text(json.dumps(WEB), "utf-8")
    objects = ("-f", str(SAMPLE.parent / "cluster.json"), "--output", "json")
    printed = run("plan", str(tmp_path / "new.yaml"), "--current", str(SAMPLE), *objects).stdout
    plan = json.loads(printed)
    assert plan["summary"]["placed"] == 21
    plan["more"] = 0
    for workload in plan["workloads"]:
        workload["more"] = 0
        for change in workload["changes"]:
            change["more"] = 0
    assert reply.json == plan


def test_nothing_changes_under_the_profile_in_force(function: Local) -> None:
    data = function.request("GET", "/profile").json["data"]
    reply = function.request(
        "POST", "/plan", json.dumps({"profile": data}).encode() + b"\n" + CLUSTER
    )
    assert reply.status == 200
    assert not reply.json["changes"]


def pods(count: int) -> bytes:
    """Pods that differ in one label, in as many namespaces, which are there too."""
    namespaces = [{"kind": "Namespace", "metadata": {"name": f"n{i}"}} for i in range(count)]
    items = [
        {
            "kind": "Pod",
            "metadata": {"name": "a", "namespace": f"n{i}", "labels": {"app": "web", "n": str(i)}},
        }
        for i in range(count)
    ]
    return json.dumps({"kind": "List", "items": [*items, *namespaces]}).encode()


MANY = [{"name": f"s{n}", "objectSelector": {"matchLabels": {"n": str(n)}}} for n in range(2_000)]
REMEDY = "; use python -m handler plan, which has no limit"


@pytest.mark.parametrize(
    ("selectors", "objects", "message"),
    [
        (WEB, b"", "this is not the output of kubectl get -o json: Input data was truncated"),
        (WEB, b"kind: Pod", "this is not the output of kubectl get -o json: JSON is malformed"),
        (WEB, b"{} {}", "this is not the output of kubectl get -o json: JSON is malformed"),
        (WEB, b"[" * 10_000, "this is not the output of kubectl get -o json: maximum recursion"),
        (WEB, b'{"kind": "List", "items": [5]}', "JSON: an item is not a Kubernetes object"),
        (WEB, b'{"kind": "Pod", "spec": 5}', "Pod (without a name): Expected object"),
        (WEB, b'{"kind": "Namespace", "metadata": {}}', "there are no pods and no workloads"),
        (WEB, b"[" + b"0," * 300_001 + b"0]", "more than 300000 values" + REMEDY),
        (WEB, pods(10_001), "more than 20000 objects" + REMEDY),
        (MANY, pods(1_000), "too many pods for a profile of this size" + REMEDY),
        ([{"name": 5}], CLUSTER, "the profile has errors; fix them first"),
    ],
)
def test_what_it_does_not_plan(
    function: Local, selectors: Any, objects: bytes, message: str
) -> None:
    reply = ask_for_plan(function, selectors, objects)
    assert reply.status == 200
    assert list(reply.json) == ["error"]
    assert reply.json["error"].startswith(message)


def test_a_plan_needs_the_profile_first(function: Local) -> None:
    for body in (b"", b"[]\n{}", CLUSTER):
        assert function.request("POST", "/plan", body).status == 400
    assert function.request("POST", "/plan", b" " * (8 * 2**20 + 1)).status == 413


def test_a_long_plan_is_cut_short(function: Local) -> None:
    effect = {"annotations": {f"example.com/{n}": "x" for n in range(12)}}
    reply = ask_for_plan(function, [{**WEB[0], "effect": effect}], pods(110))
    plan = reply.json
    assert (len(plan["workloads"]), plan["more"]) == (100, 10)
    (change,) = plan["workloads"][0]["changes"]
    assert (len(change["effects"]), change["more"]) == (10, 2)
    assert plan["summary"]["placed"] == 110


@pytest.mark.no_cover  # which takes several times as long
def test_the_largest_question_takes_seconds_at_most(function: Local) -> None:
    """Selectors that all match, on as many pods as may be: 0.7 s. Others are answered meanwhile."""
    selectors = [{"name": f"s{n}", "objectSelector": {}, "percentage": 50} for n in range(20)]
    objects, longest = pods(6_000), 0.0
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask_for_plan, function, selectors, objects)
        while not future.done():
            asked = time.monotonic()
            assert function.request("GET", "/healthz").status == 200
            longest = max(longest, time.monotonic() - asked)
    assert future.result().status == 200
    seconds = time.monotonic() - began
    assert seconds < 15  # on a machine that does much else
    assert longest < seconds / 3


def test_planning_is_loaded_when_it_is_asked_for() -> None:
    names = ("handler.web.planned", "ijson")
    code = f"import sys, handler.web.page as _; print(*(n in sys.modules for n in {names}))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["False", "False"]
