"""The page's answers without a browser: their limits, and what is known of namespaces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
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
    assert change["lines"] == ["@@ 3 and 1004 lines are too many to compare @@"]


def test_an_object_in_one_line_can_be_pasted(function: Local) -> None:
    text = json.dumps({"kind": "ConfigMap", "data": {"selectors": "[]"}})
    assert ask(function, text, "")["taken"]["data"] == {"selectors": "[]"}
