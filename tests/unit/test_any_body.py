"""Any body gets a response; process/test_hostile.py tests some of this over a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from bodies import answered_or_refused, no_reviews, reviews_with_a_wrong_value
from examples import examples
from hypothesis import HealthCheck, given, settings
from local import Local, local
from server import ROOT, checked, review_of

pytestmark = pytest.mark.no_cover  # coverage doubles the time; the cases cover the code

GOOD = review_of({"metadata": {"name": "train", "labels": {"gpu": "a"}}, "spec": {}})
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture(scope="module")
def function() -> Iterator[Local]:
    """Check after the tests that a valid review succeeds and nothing unexpected was logged."""
    environment = {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(ROOT / "k8s" / "sample" / "profile.yaml"),
        "ECI_PROFILE_LOG_LEVEL": "ERROR",
    }
    with local(environment) as function:
        yield function
        assert "patch" in checked(function.post(GOOD), GOOD)
        assert function.log_lines() == []


@settings(max_examples=examples(500), deadline=None, suppress_health_check=SHARED)
@given(reviews_with_a_wrong_value)
def test_a_wrong_value_in_any_field_gets_a_response(function: Local, review: Any) -> None:
    answered_or_refused(function, review)


@settings(max_examples=examples(250), deadline=None, suppress_health_check=SHARED)
@given(no_reviews)
def test_any_body_that_is_not_a_review_is_400(function: Local, body: bytes) -> None:
    assert function.request("POST", "/", body).status == 400


@pytest.mark.parametrize(
    "wrong", [{"metadata": 5}, {"spec": "text"}, {"data": 5}, {"metadata": []}]
)
def test_a_large_profile_review_with_a_wrong_field_gets_a_response(
    function: Local, wrong: Any
) -> None:
    names: dict[str, Any] = {"name": "eci-profile", "namespace": "kube-system"}
    resource = {"group": "", "version": "v1", "resource": "configmaps"}
    review = review_of({}, resource=resource, **names)
    review["request"]["object"] = {"kind": "ConfigMap", "x": "x" * 20_000, **wrong}
    reply = function.request("POST", "/validate", json.dumps(review).encode())
    assert reply.status == 400
