"""The pairs of files in data/cases: a profile, namespaces and a pod, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from server import DATA, Server, checked, patched, review_of

CASES = sorted(path.name.removesuffix(".in.yaml") for path in DATA.glob("cases/*.in.yaml"))

# Its effect's label makes the other selector match when the patched pod is sent again.
FEEDS_ITSELF = "an-effects-label-does-not-make-another-selector-match"


@pytest.mark.parametrize("case", CASES)
def test_case(case: str, server: Server, profile: Path) -> None:
    given = (DATA / "cases" / f"{case}.in.yaml").read_text("utf-8")
    profile.write_text(given, "utf-8")
    (pod,) = (each for each in yaml.safe_load_all(given) if each["kind"] == "Pod")
    after, told = yaml.safe_load_all((DATA / "cases" / f"{case}.out.yaml").read_text("utf-8"))

    review = review_of(pod)
    response = checked(server.post(review), review)

    assert response["allowed"]
    assert patched(pod, response) == after
    assert response.get("warnings", []) == told["warnings"]
    assert response.get("auditAnnotations", {}) == told["auditAnnotations"]
    if case != FEEDS_ITSELF:
        again = review_of(after)
        assert "patch" not in checked(server.post(again), again)


def test_all_cases_were_found() -> None:
    assert len(CASES) >= 98
