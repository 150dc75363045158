"""Warnings about profiles: they are correct, and linting takes bounded time."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from speed import slowness

from handler.decision.matching import Matcher
from handler.lint.implication import Demands
from handler.lint.lint import lint
from handler.profiles.model import Requirement, unmet
from handler.profiles.parse import parse

pytestmark = pytest.mark.no_cover  # coverage doubles the time; the cases cover the code

KEYS = ["a", "b"]
VALUES = ["", "x", "y"]

requirements = st.lists(
    st.builds(
        Requirement,
        st.sampled_from(KEYS),
        st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
        st.frozensets(st.sampled_from(VALUES), min_size=1),
    ),
    max_size=4,
)
# All possible label sets; "z" represents every value that no requirement names.
EVERY = [
    {key: value for key, value in zip(KEYS, values, strict=True) if value is not None}
    for values in [(one, other) for one in (None, *VALUES, "z") for other in (None, *VALUES, "z")]
]


def meeting(requirements: list[Requirement]) -> list[dict[str, str]]:
    return [labels for labels in EVERY if unmet(requirements, labels) is None]


@settings(max_examples=examples(150))
@given(requirements)
def test_contradictions_are_found_exactly(some: list[Requirement]) -> None:
    demands = Demands(some)
    assert (demands.contradiction() is not None) == (not meeting(some))
    if meeting(some):
        assert unmet(some, demands.example()) is None
        for key in KEYS:
            only = demands.only(key)
            if only is not None:
                assert {labels[key] for labels in meeting(some)} == only


@settings(max_examples=examples(500))
@given(requirements, requirements)
def test_implied_requirements_are_met(some: list[Requirement], other: list[Requirement]) -> None:
    if Demands(some).imply(other):
        assert all(unmet(other, labels) is None for labels in meeting(some))


def test_implication() -> None:
    def one(operator: Any, *values: str) -> list[Requirement]:
        return [Requirement("a", operator, frozenset(values))]

    for some, other, implied in (
        (one("In", "x"), one("In", "x", "y"), True),
        (one("In", "x", "y"), one("In", "x"), False),
        (one("In", "x", "y") + one("NotIn", "y"), one("In", "x"), True),
        (one("In", "x"), one("Exists"), True),
        (one("In", "x"), one("NotIn", "y"), True),
        (one("In", "x"), one("NotIn", "x"), False),
        (one("NotIn", "x", "y"), one("NotIn", "x"), True),
        (one("DoesNotExist"), one("NotIn", "x"), True),
        (one("Exists"), one("In", "x"), False),
        (one("Exists"), one("DoesNotExist"), False),
        ([], one("NotIn", "x"), False),
        (one("In", "x"), [], True),
    ):
        assert Demands(some).imply(other) == implied, (some, other)


label_selectors = st.fixed_dictionaries(
    {},
    optional={
        "matchLabels": st.dictionaries(st.sampled_from(KEYS), st.sampled_from(["x", "y"])),
        "matchExpressions": st.lists(
            st.fixed_dictionaries(
                {
                    "key": st.sampled_from(KEYS),
                    "operator": st.sampled_from(["Exists", "DoesNotExist"]),
                }
            ),
            max_size=2,
        ),
    },
)
profiles = st.lists(
    st.fixed_dictionaries(
        {"objectSelector": label_selectors},
        optional={
            "effect": st.fixed_dictionaries(
                {"labels": st.dictionaries(st.sampled_from(KEYS), st.sampled_from(["x", "y"]))}
            ),
            "policy": st.just({"fair": {}}),
            "priority": st.integers(0, 1),
        },
    ),
    max_size=5,
).map(lambda many: [{"name": f"s{number}", **each} for number, each in enumerate(many)])


@settings(max_examples=examples(150))
@given(profiles)
def test_warnings_are_true_for_every_pod(written: list[dict[str, Any]]) -> None:
    profile = parse({"selectors": json.dumps(written)})
    matcher = Matcher(profile)
    for warning in lint(profile):
        if not warning.location:  # about the profile as a whole
            assert not written
            continue
        index = warning.location[0]
        for labels in EVERY:
            matching = [selector.index for selector in matcher.match(labels, {})]
            if "can never match" in warning.message:
                assert index not in matching
            elif "matches every pod" in warning.message:
                assert index in matching
            elif "the earlier selector" in warning.message:
                assert matching[:1] != [index]


def test_annotations_of_earlier_documentation_are_known() -> None:
    known = ["eci-resource-group-id", "eci-set-diskvolume", "eci-gpu-type", "eci-instance-type"]
    effect = {"annotations": {f"k8s.aliyun.com/{name}": "a" for name in (*known, "eci-resource")}}
    selectors = [{"name": "a", "objectSelector": {"matchLabels": {"a": "b"}}, "effect": effect}]
    (warning,) = lint(parse({"selectors": json.dumps(selectors)}))
    assert warning.location[-1] == "k8s.aliyun.com/eci-resource"


def seconds(selectors: list[dict[str, Any]]) -> tuple[float, list[str]]:
    profile = parse({"selectors": json.dumps(selectors, separators=(",", ":"))})
    began = time.thread_time()
    found = lint(profile)
    return time.thread_time() - began, [warning.message for warning in found]


def test_ten_thousand_selectors_take_about_a_second() -> None:
    effect = {"annotations": {"k8s.aliyun.com/eci-use-specs": "2-4Gi"}, "labels": {"a": ""}}
    ordinary = [
        {
            "name": str(number),
            "objectSelector": {"matchLabels": {"app": f"a{number}", "t": "w"}},
            "effect": effect,
        }
        for number in range(10_000)
    ]
    took, found = seconds(ordinary)
    assert (took < 3 * slowness(), found) == (True, [])


LATE = "too many selectors match the same pods, not all of them were compared"


@pytest.mark.no_cover  # which takes several times as long
def test_the_number_of_comparisons_is_bounded_and_not_their_time() -> None:
    selectors = [
        {
            "name": f"s{n}",
            "objectSelector": {"matchLabels": {"a": "b"}},
            "effect": {"annotations": {f"k{n}": ""}},
        }
        for n in range(700)
    ]
    assert seconds(selectors[:600])[1] == []
    assert seconds(selectors)[1] == [LATE]


@pytest.mark.no_cover  # which takes several times as long
def test_worst_case_profiles_take_bounded_time() -> None:
    for said, selectors in (
        (
            "there are more than 100 warnings; only 100 are reported",
            [{"name": f"s{number}", "objectSelector": {}} for number in range(1500)],
        ),
        (
            LATE,
            [
                {
                    "name": f"s{number}",
                    "objectSelector": {
                        "matchExpressions": [{"key": f"k{number}", "operator": "DoesNotExist"}]
                    },
                    "effect": {"labels": {f"k{number}": "x"}},
                }
                for number in range(1500)
            ],
        ),
        (
            LATE,
            [
                {
                    "name": f"s{n}",
                    "objectSelector": {"matchLabels": {"tier": "web", "app": f"a{n}"}},
                }
                for n in range(1500)
            ],
        ),
    ):
        took, found = seconds(selectors)
        assert took < 2 * slowness()
        assert said in found
