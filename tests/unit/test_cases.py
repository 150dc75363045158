"""The pairs of files in data/cases: a profile, namespaces and a pod, and the expected pod."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cases import CASES, read_case
from local import Local
from server import checked, patched, review_of

# The label of its effect makes the other selector match if the patched pod is sent again.
FEEDS_ITSELF = "an-effects-label-does-not-make-another-selector-match"


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, function: Local, profile: Path) -> None:
    case = read_case(name)
    shutil.copyfile(case.path, profile)

    review = review_of(case.pod)
    response = checked(function.post(review), review)

    assert response["allowed"]
    assert patched(case.pod, response) == case.after
    assert response.get("warnings", []) == case.warnings
    assert response.get("auditAnnotations", {}) == case.audit
    if name != FEEDS_ITSELF:
        again = review_of(case.after)
        assert "patch" not in checked(function.post(again), again)


def test_all_cases_were_found() -> None:
    assert len(CASES) >= 98
