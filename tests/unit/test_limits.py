"""How the API server's limits shape a response."""

from __future__ import annotations

import json
from typing import Any

from server import review_of

from handler.admission.review import Response, read, write
from handler.admission.warnings import warnings
from handler.decision.decide import decide_pod
from handler.decision.matching import Matcher
from handler.profiles.parse import parse


def answer(pod: dict[str, Any], selectors: list[dict[str, Any]]) -> dict[str, Any]:
    review = read(json.dumps(review_of(pod)).encode())
    assert review.pod is not None
    profile = parse({"selectors": json.dumps(selectors)})
    decision = decide_pod(review.pod, profile.selectors, Matcher(profile))
    given = Response(operations=decision.operations, warnings=warnings(decision))
    written = write(review, given.encoded())
    response: dict[str, Any] = json.loads(written)["response"]
    response["operations"] = decision.operations
    return response


def selector(name: str, annotations: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "objectSelector": {},
        "effect": {"annotations": annotations},
        "policy": {"normalNodeOnly": {}},
    }


def test_annotations_that_exceed_the_size_limit_are_left_out() -> None:
    own = {"own": "x" * 262_000}
    wanted = {"a": "1" * 100, "b": "2" * 200, "c": "3" * 30}
    response = answer({"metadata": {"annotations": own}}, [selector("s", wanted)])
    added = {operation["path"] for operation in response["operations"]}
    assert added == {"/metadata/annotations/a", "/metadata/annotations/c"}
    assert response["warnings"] == [
        "annotation b: not added, because the pod's annotations would exceed 262144 bytes"
    ]


def test_at_the_limit_annotations_of_later_selectors_are_left_out_first() -> None:
    half = "x" * 150_000
    selectors = [selector("first", {"z": half}), selector("second", {"a": half, "b": "small"})]
    response = answer({"metadata": {}}, selectors)
    (added,) = response["operations"]
    assert added["value"] == {"b": "small", "z": half}
    assert response["warnings"] == [
        "annotation a: not added, because the pod's annotations would exceed 262144 bytes"
    ]


def test_a_refused_placement_is_the_first_warning() -> None:
    own = {f"example.com/{number}": "own" for number in range(30)}
    wanted = [{**selector("s", dict.fromkeys(own, "other")), "policy": {"fair": {}}}]
    pod = {
        "metadata": {"annotations": own},
        "spec": {"nodeSelector": {"k8s.aliyun.com/vnode": "no"}},
    }
    warnings = answer(pod, wanted)["warnings"]
    assert "not placed on the virtual node" in warnings[0]
    assert warnings[-1] == "and 21 more warnings"


def test_warnings_fit_into_the_api_servers_headers() -> None:
    own = {f"example.com/{number}-{'k' * 40}": "é\x7f\n" * 50 for number in range(30)}
    wanted = dict.fromkeys(own, '"✓' * 50)
    response = answer({"metadata": {"annotations": own}}, [selector("名" * 300, wanted)])
    warnings = response["warnings"]
    assert len(warnings) == 11
    assert warnings[-1] == "and 20 more warnings"
    assert all(len(warning) <= 256 for warning in warnings)
    assert sum(map(len, warnings)) < 4096
    assert all(warning.isascii() and warning.isprintable() for warning in warnings)
