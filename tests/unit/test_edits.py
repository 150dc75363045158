"""The log line of an edit of the profile: who made it, what it changes, what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from local import Local
from server import review_of

from handler.admission.changes import changes

A, B, C = ({"name": name, "objectSelector": {"matchLabels": {"app": name}}} for name in "abc")


def review(before: Any, after: Any, **request: Any) -> dict[str, Any]:
    """Of an edit from some data to others; from None it is a creation."""
    old = None if before is None else {"metadata": {"name": "eci-profile"}, "data": before}
    new = {"metadata": {"name": "eci-profile"}, "data": after}
    found = review_of(new, operation="UPDATE" if old else "CREATE", oldObject=old, **request)
    resource = {"group": "", "version": "v1", "resource": "configmaps"}
    found["request"] |= {"resource": resource, "namespace": "kube-system", "name": "eci-profile"}
    return found


def line_of(function: Local, *edit: Any, **request: Any) -> dict[str, Any]:
    function.post(review(*edit, **request))
    return function.log_lines()[-1]


def selectors(*given: Any, **more: str) -> dict[str, str]:
    return {"selectors": json.dumps(given), **more}


def test_an_accepted_edit_names_the_user_and_the_change(function: Local) -> None:
    before = selectors(A, B, log="", vpcId="vpc-1")
    after = selectors(C, {**B, "mode": "audit"}, record="always", vpcId="vpc-2")
    line = line_of(function, before, after, userInfo={"username": "ann", "groups": ["x"]})
    assert (line["level"], line["outcome"]) == ("INFO", "profile_accepted")
    assert line["user"] == "ann"
    assert line["changes"] == {
        "added": ["c"],
        "removed": ["a"],
        "changed": ["b"],
        "keys": ["record", "log"],
    }
    assert line["warnings"] == 0


def test_a_refused_edit_names_the_problems_too(function: Local) -> None:
    after = selectors(A, {"name": "d", "objectselector": {}})
    line = line_of(function, selectors(A), after, userInfo={"username": "ann"})
    assert line["outcome"] == "profile_refused"
    assert (line["user"], line["changes"]) == ("ann", {"added": ["d"]})
    assert line["problems"] == [
        'selectors[1] "d": objectselector: unknown field, did you mean objectSelector?'
    ]


def test_a_creation_adds_all_and_an_edit_of_other_keys_nothing(function: Local) -> None:
    assert line_of(function, None, selectors(A, B))["changes"] == {"added": ["a", "b"]}
    line = line_of(function, selectors(A), selectors(A, vpcId="vpc-1"))
    assert line["changes"] == {}


def test_text_that_is_written_otherwise_changes_nothing() -> None:
    text = "- {name: a, objectSelector: {matchLabels: {app: a}}} # the first\n"
    assert changes(selectors(A), {"selectors": text}) == {}


def test_selectors_that_change_places_are_told() -> None:
    assert changes(selectors(A, B, C), selectors(C, A, B)) == {"moved": ["a"]}
    assert changes(selectors(A, B, C), selectors(C, B, A)) == {"moved": ["b", "a"]}


@pytest.mark.parametrize("text", ["[", "5", "- &a b", "[" * 200, '"x"', "[1, {}, {name: 5}]"])
def test_what_cannot_be_read_has_no_change_to_tell(text: str) -> None:
    found = changes(selectors(A), {"selectors": text, "record": "x"})
    expected = {"removed": ["a"]} if text.startswith("[1") else {}
    assert found == {**expected, "keys": ["record"]}


def test_very_large_texts_are_not_compared() -> None:
    old, new = selectors(A, record="x" * 100), selectors(B, record="")
    large = {**old, "selectors": old["selectors"] + " " * 2**20}
    assert changes(old, new) == {"added": ["b"], "removed": ["a"], "keys": ["record"]}
    assert changes(large, new) == {"keys": ["record"]}


def test_nothing_is_no_selectors() -> None:
    assert changes({}, {"selectors": '""'}) == {}
    assert changes(selectors(A), {}) == {"removed": ["a"]}


def test_the_line_is_bounded(function: Local) -> None:
    many = [{"name": f"{number}" + "x" * 500, "objectSelector": 5} for number in range(300)]
    line = line_of(function, selectors(), selectors(*many), userInfo={"username": "u" * 10_000})
    assert len(line["user"]) == 253
    assert len(line["changes"]["added"]) == 21
    assert line["changes"]["added"][-1] == "and 280 more"
    assert len(line["problems"]) == 21
    assert line["problems"][-1] == "and 280 more"
    assert len(json.dumps(line)) < 20_000


@pytest.mark.parametrize(
    "request_of",
    [
        {"userInfo": None, "oldObject": None},
        {"userInfo": {}, "oldObject": {"data": None}},
        {"userInfo": {"username": "x\n\u2028"}, "oldObject": {}},
    ],
    ids=json.dumps,
)
def test_what_is_not_given_is_not_told(request_of: Any, function: Local) -> None:
    found = review(None, selectors(A))
    found["request"] |= request_of
    assert function.post(found).json["response"]["allowed"]
    line = function.log_lines()[-1]
    assert line["user"] == (request_of["userInfo"] or {}).get("username", "")
    assert line["changes"] == {"added": ["a"]}


@pytest.mark.parametrize(
    "request_of",
    [{"userInfo": 5}, {"oldObject": []}, {"oldObject": {"data": {"a": [0] * 11_000}}}],
    ids=["user", "old-object", "entries"],
)
@pytest.mark.parametrize("padding", [0, 20_000], ids=["small", "large"])
def test_what_only_the_log_says_refuses_no_edit(
    request_of: Any, padding: int, function: Local
) -> None:
    found = review(None, selectors(A, note="x" * padding))
    found["request"] |= request_of
    assert function.post(found).json["response"]["allowed"]
    assert "changes" not in function.log_lines()[-1]


@pytest.mark.no_cover  # which takes several times as long
def test_a_large_edit_is_told_as_well(function: Local) -> None:
    before = [{**A, "name": f"s{number}"} for number in range(1000)]
    line = line_of(function, selectors(*before), selectors(*before[1:], C))
    assert line["changes"] == {"added": ["c"], "removed": ["s0"]}
