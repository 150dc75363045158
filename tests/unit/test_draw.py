"""Percentages: which matching pods a selector takes, and the record of that choice."""

from __future__ import annotations

import json
import math
import random
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from local import Local
from msgspec import convert
from server import checked, patch_of, patched, review_of

from handler.decision.decide import Decision, decide_pod
from handler.decision.draw import read_record
from handler.decision.matching import Matcher
from handler.decision.pod import Pod
from handler.profiles.parse import parse

pytestmark = pytest.mark.no_cover  # coverage doubles the time; the cases cover the code

RECORD = "eci-profile/selectors"
_RANDOM = random.Random(13)  # reproducible  # noqa: S311
UIDS = [str(uuid.UUID(int=_RANDOM.getrandbits(128), version=4)) for _ in range(10_000)]
BOUND = 5  # standard deviations: exceeded by chance once in two million


def selector(name: str, percentage: int | None = None, **more: Any) -> dict[str, Any]:
    share = {} if percentage is None else {"percentage": percentage}
    return {"name": name, "objectSelector": {"matchLabels": {"app": "web"}}, **share, **more}


def pod_of(record: str | None = None, **labels: str) -> dict[str, Any]:
    annotations = {} if record is None else {RECORD: record}
    metadata = {"name": "web", "labels": labels or {"app": "web"}, "annotations": annotations}
    return {"metadata": metadata, "spec": {"containers": [{"name": "web"}]}}


def matcher_of(*selectors: dict[str, Any]) -> Matcher:
    return Matcher(parse({"selectors": json.dumps(selectors)}))


def decide(matcher: Matcher, pod: dict[str, Any], uid: str | None = None) -> Decision:
    matching = matcher.match_by_pod(pod["metadata"]["labels"])
    assert matching is not None
    return decide_pod(convert(pod, Pod), matching, matcher, uid)


def names(decision: Decision) -> list[str]:
    return [each.name for each in decision.selectors]


def record_of(pod: dict[str, Any], decision: Decision) -> str | None:
    """Return the record that the patch adds."""
    path = "/metadata/annotations/eci-profile~1selectors"
    found = [operation["value"] for operation in decision.operations if operation["path"] == path]
    return found[0] if found else None


def within(count: float, share: float, of: int) -> bool:
    return abs(count - of * share) <= BOUND * math.sqrt(of * share * (1 - share))


@pytest.mark.parametrize("percentage", [1, 10, 50, 99])
def test_a_selector_takes_its_percentage(percentage: int) -> None:
    matcher, pod = matcher_of(selector("canary", percentage)), pod_of()
    decisions = [decide(matcher, pod, uid) for uid in UIDS]
    taken = [decision for decision in decisions if decision.selectors]
    assert within(len(taken), percentage / 100, len(UIDS))
    for decision in decisions:
        chosen, other = (decision.selectors, decision.drawn_out)
        assert [each.name for each in (*chosen, *other)] == ["canary"]
        assert (decision.placement is not None) == bool(chosen)


def test_0_and_100_percent_are_exact() -> None:
    matcher = matcher_of(selector("none", 0), selector("all", 100), selector("default"))
    assert all(names(decide(matcher, pod_of(), uid)) == ["all", "default"] for uid in UIDS[:2000])
    assert names(decide(matcher_of(selector("none", 0)), pod_of())) == []


@pytest.mark.parametrize("pair", [("a", "b"), ("canary", "canary-2"), ("1", "11"), ("x/", "x")])
def test_two_selectors_draw_independently(pair: tuple[str, str]) -> None:
    matcher, pod = matcher_of(*(selector(name, 50) for name in pair)), pod_of()
    seen = [tuple(names(decide(matcher, pod, uid))) for uid in UIDS]
    for outcome in ((), pair[:1], pair[1:], pair):
        assert within(seen.count(outcome), 0.25, len(UIDS))


def test_a_larger_percentage_keeps_the_pods_of_a_smaller_one() -> None:
    # A canary raised from 10 to 50 % keeps the pods it already has.
    small, large = (matcher_of(selector("canary", percentage)) for percentage in (10, 50))
    for uid in UIDS[:2000]:
        if names(decide(small, pod_of(), uid)):
            assert names(decide(large, pod_of(), uid)) == ["canary"]


def test_the_draw_is_repeatable_and_independent_of_the_pod() -> None:
    matcher = matcher_of(selector("canary", 50))
    for uid in UIDS[:200]:
        assert len({tuple(names(decide(matcher, pod_of(), uid))) for _ in range(3)}) == 1
        other = pod_of(app="web", more="labels")
        assert names(decide(matcher, other, uid)) == names(decide(matcher, pod_of(), uid))


STABLE = [
    selector("half", 50, policy={"fair": {}}, effect={"annotations": {"half": "1"}}),
    selector("third", 33, effect={"labels": {"third": "1"}}),
    selector("later", 50, effect={"at": "binding", "annotations": {"later": "1"}}),
    selector("rest", effect={"annotations": {"rest": "1"}}, policy={"normalNodePrefer": {}}),
    {"name": "on-eci", "effect": {"annotations": {"on-eci": "1"}}},
]


def in_force(profile: Path, *selectors: Any, **data: str) -> None:
    text = {"selectors": json.dumps(selectors), **data}
    written = {"kind": "ConfigMap", "metadata": {"name": "eci-profile"}, "data": text}
    profile.write_text(json.dumps(written))


def test_reinvocation_follows_the_first_draw(function: Local, profile: Path) -> None:
    in_force(profile, *STABLE)
    outcomes = set()
    for number, uid in enumerate(UIDS[:150]):
        review = review_of(pod_of(), uid=uid)
        first = checked(function.post(review), review)
        after = patched(review["request"]["object"], first)
        applied = first["auditAnnotations"]["selectors"]
        assert json.loads(after["metadata"]["annotations"][RECORD]) == applied.split(",")
        outcomes.add(applied)
        for other in UIDS[1000 + 3 * number : 1003 + 3 * number]:
            again = review_of(after, uid=other)
            second = checked(function.post(again), again)
            assert "patch" not in second
            assert second["auditAnnotations"] == first["auditAnnotations"]
    assert len(outcomes) == 8  # all combinations of the three selectors with a percentage


def test_an_existing_record_decides_the_draws() -> None:
    matcher = matcher_of(selector("a", 1), selector("b", 99), selector("c", 0), selector("d"))
    for uid in UIDS[:300]:
        decision = decide(matcher, pod_of('["a","c","gone"]'), uid)
        assert names(decision) == ["a", "c", "d"]
        assert [each.name for each in decision.drawn_out] == ["b"]
        assert record_of(pod_of(), decision) is None  # the pod's own record is kept
        assert names(decide(matcher, pod_of("[]"), uid)) == ["d"]


def test_a_record_never_widens_what_matches() -> None:
    other = {"objectSelector": {"matchLabels": {"app": "db"}}}
    matcher = matcher_of(
        {**selector("db", 50), **other},
        {**selector("db-later"), **other, "effect": {"at": "binding", "labels": {"x": "y"}}},
        selector("off", mode="off"),
        selector("audit", 50, mode="audit"),
        {"name": "on-eci", "effect": {"annotations": {"on-eci": "1"}}},
    )
    everything = json.dumps(["db", "db-later", "off", "audit", "on-eci"])
    for uid in UIDS[:300]:
        decision = decide(matcher, pod_of(everything), uid)
        assert names(decision) == []
        assert decision.operations == []


def test_a_record_does_not_affect_audited_selectors() -> None:
    matcher = matcher_of(selector("audit", 50, mode="audit"))
    told = sum(bool(decide(matcher, pod_of("[]"), uid).audited) for uid in UIDS[:2000])
    assert within(told, 0.5, 2000)


@pytest.mark.parametrize(
    ("selectors", "record"),
    [
        ([selector("a")], None),
        ([selector("a", 100)], None),
        ([selector("a", 0)], "[]"),
        ([selector("a"), selector("b", 0)], '["a"]'),
        ([selector("a"), selector("b", 50, mode="audit")], None),
        ([selector("a"), selector("b", 50, mode="off")], None),
        ([selector("a", effect={"annotations": {"x": "y"}})], None),
        ([selector("a", effect={"at": "binding", "annotations": {"x": "y"}})], '["a"]'),
        ([selector("a", effect={"at": "binding"})], None),
        ([selector("a", mode="audit", effect={"at": "binding", "labels": {"x": "y"}})], None),
        ([selector("a"), {"name": "e", "effect": {"at": "binding", "labels": {"x": "y"}}}], None),
        ([selector("a"), selector("\u540d", 0), selector('"b\\')], r'["a","\"b\\"]'),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_a_record_is_written_only_when_needed(
    selectors: list[dict[str, Any]], record: str | None
) -> None:
    for uid in UIDS[:20]:
        assert record_of(pod_of(), decide(matcher_of(*selectors), pod_of(), uid)) == record


def test_the_record_is_always_written_if_the_profile_requests_it(
    function: Local, profile: Path
) -> None:
    on_eci = {"name": "on-eci", "effect": {"annotations": {"on-eci": "1"}}}
    in_force(profile, on_eci, selector("a"), selector("b", mode="audit"), record="always")
    review = review_of(pod_of())
    after = patched(pod_of(), checked(function.post(review), review))
    assert after["metadata"]["annotations"] == {RECORD: '["on-eci","a"]', "on-eci": "1"}
    again = review_of(after)
    assert "patch" not in checked(function.post(again), again)
    nothing = review_of(pod_of(app="db"))
    assert "patch" not in checked(function.post(nothing), nothing)
    in_force(profile, selector("a"), record="needed")
    assert not [x for x in patch_of(checked(function.post(review), review)) if RECORD in str(x)]


def test_a_record_takes_precedence_over_effects_within_the_limit() -> None:
    effect = {"annotations": {"x": "y" * 100}}
    matcher = matcher_of(selector("canary", 99, effect=effect))
    uid = next(uid for uid in UIDS if names(decide(matcher, pod_of(), uid)))
    record = '["canary"]'
    free = len(RECORD) + len(record)
    for room, expected in (
        (free - 1, set()),
        (free, {RECORD}),
        (free + 100, {RECORD}),
        (free + 101, {RECORD, "x"}),
    ):
        pod = pod_of()
        pod["metadata"]["annotations"] = {"own": "o" * (262_144 - 3 - room)}
        decision = decide(matcher, pod, uid)
        start = "/metadata/annotations/"
        added = {
            operation["path"].removeprefix(start).replace("~1", "/")
            for operation in decision.operations
            if operation["path"].startswith(start)
        }
        assert added == expected


HOSTILE = [
    *("", " ", "[", '["a"', "a", "\x00", "\ufeff[]", "null", "true", "{}", '"a"', "NaN", "-0"),
    *('{"a": "b"}', '["a", null]', '["a", 1]', '[["a"]]', "[1e999]", "[NaN]", "9" * 60_000),
    *("[" * 60_000, "[" * 30_000 + "]" * 30_000, '{"a":' * 12_000, "[" + "0," * 30_000 + "0]"),
    *('["' + "x" * 2**20 + '"]', "[" * 2**20, "9" * 2**20, json.dumps(["a"] * 250_000)),
]


@pytest.mark.parametrize("record", HOSTILE, ids=lambda record: ascii(record[:14]))
def test_an_unreadable_record_is_ignored(record: str) -> None:
    began = time.thread_time()
    assert read_record({RECORD: record}) is None
    assert time.thread_time() - began < 0.25
    pod = pod_of(record)
    matcher = matcher_of(
        selector("a", 50), {**selector("b"), "objectSelector": {"matchLabels": {"app": "db"}}}
    )
    for uid in UIDS[:50]:
        decision = decide(matcher, pod, uid)
        assert names(decision) == names(decide(matcher, pod_of(), uid))
        assert record_of(pod, decision) is None  # the pod's own value is kept


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ("[]", set()),
        (' [ "a" ,\n"b"] ', {"a", "b"}),
        (r'["\ud800", "\u0000", ""]', {"\ud800", "\0", ""}),
        (json.dumps(["x" * 253] * 250), {"x" * 253}),
    ],
)
def test_a_record_of_names_is_read(record: str, found: set[str]) -> None:
    assert read_record({RECORD: record}) == frozenset(found)
    assert read_record({}) is None
