"""Pods that no selector matches, logged where the profile asks for it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from local import Local, local
from server import review_of

from handler.admission.no_match import failures
from handler.decision.matching import Matcher
from handler.decision.pod import Pod
from handler.profiles.model import NoMatchLog
from handler.profiles.parse import parse

SELECTORS = [
    {"name": "gpu", "objectSelector": {"matchLabels": {"gpu": "true"}}},
    {
        "name": "team",
        "namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]},
        "objectSelector": {"matchLabels": {"app": "web"}},
    },
    {
        "name": "not-web",
        "objectSelector": {
            "matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web", "api"]}]
        },
    },
    {"name": "off", "objectSelector": {"matchLabels": {"gpu": "true"}}, "mode": "off"},
    {"name": "every", "effect": {"annotations": {"example.com/a": "b"}}},
]
WEB = {"metadata": {"labels": {"app": "web"}}}


class Logged:
    """Which reviews are logged, at the default level."""

    def __init__(self, function: Local, profile: Path) -> None:
        self.function = function
        self.profile = profile

    def has(self, log: str, selectors: Any = SELECTORS) -> None:
        data = {"selectors": json.dumps(selectors), **({"log": log} if log else {})}
        config_map = {"kind": "ConfigMap", "metadata": {"name": "eci-profile"}, "data": data}
        self.profile.write_text(yaml.safe_dump(config_map))

    def lines(self, *reviews: Mapping[str, Any]) -> list[dict[str, Any]]:
        before = len(self.function.log_lines())
        for review in reviews:
            self.function.post(review)
        lines = self.function.log_lines()[before:]
        return [line for line in lines if line["message"] == "review"]


@pytest.fixture
def logged(function: Local, profile: Path) -> Logged:
    return Logged(function, profile)


def test_nothing_is_logged_unless_the_profile_asks_for_it(logged: Logged) -> None:
    logged.has("")
    assert logged.lines(review_of(WEB)) == []


def test_a_namespace_is_logged_with_the_first_requirement_that_failed(logged: Logged) -> None:
    logged.has("noMatch: {namespace: default}")
    count = logged.function.metric("eci_profile_reviews_total", outcome="no_match")
    (line,) = logged.lines(
        review_of(WEB), review_of({"metadata": {"namespace": "other"}, **WEB}, namespace="other")
    )
    assert (line["level"], line["outcome"], line["namespace"]) == ("INFO", "no_match", "default")
    assert line["failed"] == [
        'gpu: objectSelector requires gpu In ["true"], but it is absent',
        "team: namespaceSelector requires team Exists, but it is absent",
        'not-web: objectSelector requires app NotIn ["api", "web"], but it is "web"',
    ]
    assert logged.function.metric("eci_profile_reviews_total", outcome="no_match") == count + 2


def test_a_pod_that_matches_is_logged_as_ever(logged: Logged) -> None:
    logged.has('{"noMatch": {"rate": 1}}')
    (line,) = logged.lines(review_of({"metadata": {"labels": {"gpu": "true"}}}))
    assert "failed" not in line


@pytest.mark.parametrize(
    ("rate", "count", "least", "most"),
    [
        (0, 100, 0, 0),
        pytest.param(0.1, 400, 10, 70, marks=pytest.mark.no_cover),  # the others cover the code
        (1, 100, 100, 100),
    ],
)
def test_a_share_of_all_is_logged(
    rate: float, count: int, least: int, most: int, logged: Logged
) -> None:
    logged.has(json.dumps({"noMatch": {"rate": rate}}))
    reviews = [review_of(WEB, uid=f"uid-{number}", namespace="a") for number in range(count)]
    found = [line["uid"] for line in logged.lines(*reviews)]
    assert least <= len(found) <= most  # 5 standard deviations
    assert [line["uid"] for line in logged.lines(*reviews)] == found


def test_it_is_switched_on_and_off_without_a_restart(logged: Logged) -> None:
    for log, count in (("", 0), ("noMatch: {rate: 1}", 1), ("", 0)):
        logged.has(log)
        assert len(logged.lines(review_of(WEB))) == count


def test_a_wrong_one_leaves_the_last_good_profile_in_force(logged: Logged) -> None:
    logged.has("noMatch: {rate: 1}")
    logged.function.post(review_of(WEB))
    logged.has("noMatch: {rate: 2}")
    assert len(logged.lines(review_of(WEB))) == 1


@pytest.mark.no_cover  # which takes several times as long
def test_a_line_is_bounded_whatever_the_profile_is() -> None:
    values = [f"v{number}" for number in range(2000)]
    selectors = [
        {
            "name": f"{number}" + "x" * 200,
            "objectSelector": {
                "matchExpressions": [{"key": "a", "operator": "In", "values": values}]
            },
        }
        for number in range(60)
    ]
    matcher = Matcher(parse({"selectors": json.dumps(selectors)}))
    began = time.thread_time()
    found = failures(matcher, Pod(), {})
    assert time.thread_time() - began < 0.01
    assert len(found) == 21
    assert found[0].startswith("0xxx")
    assert found[0].endswith("...: objectSelector requires a In [2000 values], but it is absent")
    assert found[-1] == "and 40 more"
    assert max(map(len, found)) < 200


def test_what_the_profile_says_is_read() -> None:
    assert parse({"log": "{}"}).no_match_log is None
    assert parse({"log": "noMatch: {rate: 0.5}"}).no_match_log == NoMatchLog(None, 0.5)
    assert parse({"log": '{"noMatch": {"namespace": "a"}}'}).no_match_log == NoMatchLog("a", 1.0)


@pytest.mark.parametrize("log", ["[]", "noMatch: 1"])
def test_it_is_judged_at_the_edit(log: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text("kind: List\n")
    with local({"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(path)}) as function:
        review = review_of({"metadata": {}, "data": {"log": log}}, name="eci-profile")
        resource = {"group": "", "version": "v1", "resource": "configmaps"}
        review["request"] |= {"resource": resource, "namespace": "kube-system"}
        response = function.post(review).json["response"]
        assert not response["allowed"]
        assert "log" in response["status"]["message"]
