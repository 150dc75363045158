"""What the page explains at once has a limit, since each pod meets each selector."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from local import local
from server import ROOT

SAMPLE: Path = ROOT / "k8s" / "sample" / "profile.yaml"


@pytest.mark.parametrize(("count", "explained"), [(100, 100), (101, 0), (50_000, 0)])
def test_it_explains_a_hundred_pods_at_most(count: int, explained: int) -> None:
    question = {"profile": {}, "pod": "{kind: Pod}\n---\n" * count, "namespaceLabels": ""}
    environment = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(SAMPLE)}
    with local({**environment, "ECI_PROFILE_PAGE": "1"}) as function:
        answer = function.request("POST", "/explain", json.dumps(question).encode()).json
    assert len(answer["pods"]) == explained
    assert ("podError" in answer) == (not explained)
