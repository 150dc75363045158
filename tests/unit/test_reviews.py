"""Reviews recorded from a real kube-apiserver, and the expected responses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local import Local, local
from reviews import PROFILE, REVIEWS
from server import checked, patch_of, patched

# The selectors that apply to the recorded pod; pods of other recordings are not changed.
EXPECTED = {
    "pod-dry-run": "eci",
    "pod-kubectl-run": "gpu",
    "pod-labelled-with-nodeselector-and-toleration": "eci",
    "pod-nodeselector-refuses-virtual-node": "eci",
    "pod-of-deployment": "eci",
    "pod-of-job": "eci",
    "pod-unicode-annotation": "eci",
    "pod-v1beta1-review": "eci",
    "pod-with-node-affinity": "eci",
    "pod-already-on-virtual-node": "opt-in",
}


@pytest.fixture(scope="module")
def server(profile: Path) -> Iterator[Local]:
    profile.write_text(PROFILE)
    with local({"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(profile)}) as server:
        yield server


def contains(after: Any, before: Any) -> bool:
    """Return whether ``after`` keeps all values of ``before``, in order."""
    if isinstance(before, dict):
        return isinstance(after, dict) and all(
            key in after and contains(after[key], value) for key, value in before.items()
        )
    if isinstance(before, list):
        return isinstance(after, list) and after[: len(before)] == before
    return bool(after == before)


@pytest.mark.parametrize("name", [name for name in REVIEWS if name.startswith("pod-")])
def test_a_recorded_pod_review_gets_the_expected_response(name: str, server: Local) -> None:
    review = REVIEWS[name]
    response = checked(server.post(review), review)

    assert response["allowed"]
    applied = response.get("auditAnnotations", {}).get("selectors")
    assert applied == EXPECTED.get(name)
    before = review["request"]["object"]
    after = patched(before, response)
    assert contains(after, before)
    if applied is None or name == "pod-already-on-virtual-node":
        assert "patch" not in response
    elif name == "pod-nodeselector-refuses-virtual-node":
        assert {operation["path"].split("/")[1] for operation in patch_of(response)} == {"metadata"}
        assert "not placed on the virtual node" in response["warnings"][0]
    else:
        assert any(t.get("key") == "k8s.aliyun.com/vnode" for t in after["spec"]["tolerations"])
        assert ("nodeSelector" in after["spec"]) == (applied != "gpu")
    again = json.loads(json.dumps(review))
    again["request"]["object"] = after
    assert "patch" not in checked(server.post(again), again)


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "UPDATE"},
        {"operation": "DELETE"},
        {"operation": "CONNECT"},
        {"operation": "create"},
        {"subResource": "binding"},
        {"subResource": "eviction"},
        {"resource": {"group": "", "version": "v1", "resource": "podtemplates"}},
        {"resource": {"group": "metrics.k8s.io", "version": "v1beta1", "resource": "pods"}},
    ],
    ids=json.dumps,
)
def test_only_pod_creation_is_mutated(change: dict[str, Any], server: Local) -> None:
    review = json.loads(json.dumps(REVIEWS["pod-of-deployment"]))
    review["request"].update(change)
    assert checked(server.post(review), review).keys() == {"uid", "allowed"}


def test_existing_values_are_kept_and_reported(server: Local) -> None:
    review = REVIEWS["pod-labelled-with-nodeselector-and-toleration"]
    response = checked(server.post(review), review)
    assert response["warnings"] == [
        'annotation example.com/owner: the pod\'s own "team a" stays,'
        ' selector "eci" would set "eci"',
        'label app: the pod\'s own "web" stays, selector "eci" would set "eci"',
    ]


def test_a_valid_profile_is_accepted(server: Local) -> None:
    review = REVIEWS["configmap-create"]
    assert checked(server.post(review), review)["allowed"]


def test_an_invalid_profile_is_rejected_with_the_reason(server: Local) -> None:
    review = REVIEWS["configmap-update-broken-json"]
    response = checked(server.post(review), review)
    assert not response["allowed"]
    assert response["status"]["code"] == 422
    assert "selectors: line 1, column 13" in response["status"]["message"]


def test_other_config_maps_are_not_checked(server: Local) -> None:
    for field, value in (("name", "other"), ("namespace", "default")):
        review = json.loads(json.dumps(REVIEWS["configmap-update-broken-json"]))
        review["request"][field] = value
        review["request"]["object"]["metadata"][field] = value
        assert checked(server.post(review), review)["allowed"]


def test_a_questionable_profile_is_accepted_with_a_warning(server: Local) -> None:
    review = json.loads(json.dumps(REVIEWS["configmap-create"]))
    review["request"]["object"]["data"]["selectors"] = json.dumps(
        [
            {
                "name": "prefer",
                "objectSelector": {"matchLabels": {"a": "b"}},
                "policy": {"normalNodePrefer": {"cpuRatio": 0.8}},
            }
        ]
    )
    response = checked(server.post(review), review)
    assert response["allowed"]
    (warning,) = response["warnings"]
    assert warning.startswith('selectors[0] "prefer": policy.normalNodePrefer: cpuRatio')


def test_deleting_the_profile_is_allowed(server: Local) -> None:
    review = json.loads(json.dumps(REVIEWS["configmap-create"]))
    request = review["request"]
    request.update(operation="DELETE", oldObject=request["object"], object=None)
    assert checked(server.post(review), review)["allowed"]


def test_every_recording_is_used() -> None:
    assert len(REVIEWS) == 20
    assert EXPECTED.keys() <= REVIEWS.keys()
