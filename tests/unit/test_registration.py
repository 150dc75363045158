"""Which pods kube-apiserver sends: the registration's conditions and selectors, also narrowed."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cases import CASES, Case, read_case
from hypothesis import given
from hypothesis import strategies as st
from manifests import K8S, Document
from msgspec import convert
from registration import concerned, conditions_hold, selects
from reviews import REVIEWS
from strategies import label_selectors, maps, maybe, objects

from handler.cluster.file import FileSource
from handler.cluster.registration import MOST_WEBHOOKS, narrowed, widened
from handler.decision.decide import left_alone
from handler.decision.matching import Matcher
from handler.decision.pod import Pod
from handler.profiles.model import Profile
from handler.profiles.parse import parse

MUTATING = yaml.safe_load((K8S / "base" / "mutating-webhook-configuration.yaml").read_text())
VALIDATING = yaml.safe_load((K8S / "base" / "validating-webhook-configuration.yaml").read_text())

_DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


@pytest.mark.parametrize("name", REVIEWS)
def test_the_conditions_leave_out_what_the_function_leaves_alone(name: str) -> None:
    request = REVIEWS[name]["request"]
    (webhook,) = MUTATING["webhooks"]
    if concerned(webhook, request):
        reason = left_alone(convert(request["object"], Pod))
        assert conditions_hold(webhook, request) == (reason in (None, "opt-out"))
    else:
        assert name.startswith(("configmap-", "pod-binding")) or name in (
            "pod-ephemeralcontainers",
            "pod-update",
        )


def test_the_recordings_have_what_the_conditions_leave_out() -> None:
    (webhook,) = MUTATING["webhooks"]
    left_out = {
        name
        for name, review in REVIEWS.items()
        if concerned(webhook, review["request"]) and not conditions_hold(webhook, review["request"])
    }
    assert left_out == {"pod-of-daemonset", "pod-with-nodename"}


@pytest.mark.parametrize(
    ("metadata", "spec", "called"),
    [
        ({}, {}, True),
        ({"annotations": {"a": "b"}}, {"nodeName": ""}, True),
        ({"annotations": {"kubernetes.io/config.mirror": ""}}, {}, False),
        ({}, {"nodeName": "a"}, False),
        ({"ownerReferences": []}, {}, True),
        ({"ownerReferences": [{"kind": "DaemonSet"}]}, {}, True),
        ({"ownerReferences": [{"kind": "DaemonSet", "controller": False}]}, {}, True),
        ({"ownerReferences": [{"kind": "Job", "controller": True}]}, {}, True),
        (
            {"ownerReferences": [{"kind": "X"}, {"kind": "DaemonSet", "controller": True}]},
            {},
            False,
        ),
    ],
)
def test_the_conditions_are_the_functions_own(
    metadata: Document, spec: Document, called: bool
) -> None:
    pod = {"metadata": metadata, "spec": spec}
    assert conditions_hold(MUTATING["webhooks"][0], {"object": pod}) == called
    assert (left_alone(convert(pod, Pod)) is None) == called


def test_only_the_profile_is_validated() -> None:
    (webhook,) = VALIDATING["webhooks"]
    for name, review in REVIEWS.items():
        request = review["request"]
        if concerned(webhook, request):
            assert name in ("configmap-create", "configmap-update-broken-json")
            assert conditions_hold(webhook, request)
            assert not conditions_hold(webhook, {**request, "name": "other"})
            unnamed = {key: value for key, value in request.items() if key != "name"}
            assert not conditions_hold(webhook, unnamed)


@functools.cache
def narrowed_to(name: str) -> tuple[Case, FileSource, Profile, Document]:
    case = read_case(name)
    source = FileSource(str(case.path))
    profile = parse(source.config_map("kube-system", "eci-profile").data)
    return case, source, profile, narrowed(MUTATING, profile)


def profile_of(selectors: Iterable[Any]) -> Profile:
    named = [{"name": f"s{number}", **each} for number, each in enumerate(selectors)]
    return parse({"selectors": json.dumps(named)})


def calls(registration: Document, pod: Document, namespace_labels: Mapping[str, str]) -> int:
    """How often kube-apiserver calls the function for a pod."""
    return sum(
        selects(webhook, pod, namespace_labels) and conditions_hold(webhook, {"object": pod})
        for webhook in registration["webhooks"]
    )


@pytest.mark.parametrize("name", CASES)
def test_a_narrowed_registration_sends_the_pods_that_a_selector_matches(name: str) -> None:
    case, source, profile, registration = narrowed_to(name)
    namespace = case.pod["metadata"].get("namespace", "default")
    sent = calls(registration, case.pod, source.namespace_labels(namespace))
    if case.audit.get("selectors") or case.audit.get("audited-selectors"):
        assert sent
    # Which pods an effect alone is for, and which share is taken, the registration can't say.
    elif all(not each.effect_only and each.percentage == 100 for each in profile.selectors):
        assert not sent


@pytest.mark.parametrize("name", CASES)
def test_a_narrowed_registration_is_valid(name: str) -> None:
    *_, registration = narrowed_to(name)
    kubernetes_validate.validate(registration, "1.37", strict=True)
    names = [webhook["name"] for webhook in registration["webhooks"]]
    assert len(set(names)) == len(names)
    for name in names:
        assert len(name) <= 253
        assert re.fullmatch(rf"{_DNS_LABEL}(\.{_DNS_LABEL}){{2,}}", name)


# Labels that also decide which pods the wide form sends.
_pod_labels = st.builds(
    lambda labels, more: {**labels, **more},
    maps,
    objects(**{"alibabacloud.com/eci": st.sampled_from(["true", "false"])}),
)
_namespace_labels = st.builds(
    lambda labels, name: {**labels, "kubernetes.io/metadata.name": name},
    maps,
    st.sampled_from(["default", "kube-system", "eci-profile"]),
)
_selectors = objects(
    namespaceSelector=maybe(label_selectors),
    objectSelector=maybe(label_selectors),
    mode=st.sampled_from(["enforce", "audit", "off"]),
).map(lambda each: {**each, "effect": {"annotations": {"a": "b"}}})
_profiles = st.lists(_selectors, max_size=5).map(profile_of)


@pytest.mark.no_cover  # examples take twice the time; the cases cover the code
@given(_profiles, _pod_labels, _namespace_labels)
def test_it_sends_what_a_selector_may_match_of_what_the_wide_one_sends(
    profile: Profile, pod_labels: Mapping[str, str], namespace_labels: Mapping[str, str]
) -> None:
    pod = {"metadata": {"labels": pod_labels}, "spec": {}}
    registration = narrowed(MUTATING, profile)
    matching = Matcher(profile).match(pod_labels, namespace_labels)
    wanted = registration == MUTATING or any(each.mode != "off" for each in matching)
    if any(each.effect_only and each.mode != "off" for each in profile.selectors):
        assert registration == MUTATING
    by_wide = calls(MUTATING, pod, namespace_labels)
    assert (calls(registration, pod, namespace_labels) > 0) == (by_wide > 0 and wanted)


@pytest.mark.no_cover
@given(_profiles, _profiles)
def test_any_form_becomes_any_other_and_the_same_again(one: Profile, other: Profile) -> None:
    narrow = narrowed(MUTATING, one)
    assert narrowed(narrow, one) == narrow
    assert narrowed(narrow, other) == narrowed(MUTATING, other)
    assert widened(narrow) == widened(MUTATING) == MUTATING


def test_each_distinct_pair_has_one_webhook() -> None:
    labels = {"matchLabels": {"a": "b", "c": "d"}}
    expressions = [
        {"key": "c", "operator": "In", "values": ["d", "d"]},
        {"key": "a", "operator": "In", "values": ["b"]},
    ]
    profile = profile_of(
        [
            {"name": "one", "objectSelector": labels},
            {"name": "two", "objectSelector": {"matchExpressions": expressions}},
            {"name": "three", "namespaceSelector": labels},
            {"name": "four", "namespaceSelector": labels, "objectSelector": {}},
            {"name": "five", "namespaceSelector": labels, "objectSelector": labels},
            {"name": "six", "objectSelector": {"matchLabels": {"off": ""}}, "mode": "off"},
            {"name": "seven", "objectSelector": {"matchLabels": {"audit": ""}}, "mode": "audit"},
        ]
    )
    closed, *narrow = narrowed(MUTATING, profile)["webhooks"]
    assert closed["name"] == "mutate.eci-profile.svc"
    assert [webhook["name"].partition(".")[0] for webhook in narrow] == [
        *("0-one", "1-three", "2-five", "3-seven")
    ]


@pytest.mark.parametrize(
    "selectors",
    [
        [{"objectSelector": {"matchLabels": {"a": "b"}}}, {"objectSelector": {}}],
        [{"namespaceSelector": {}}],
        [{"effect": {"annotations": {"a": "b"}}}],
        [{"effect": {"annotations": {"a": "b"}, "at": "binding"}, "mode": "audit"}],
        [{"objectSelector": {"matchLabels": {"a": str(n)}}} for n in range(MOST_WEBHOOKS + 1)],
        [
            {
                "objectSelector": {
                    "matchExpressions": [
                        {
                            "key": "a",
                            "operator": "NotIn",
                            "values": [f"{side}{n:059}" for n in range(6_000)],
                        }
                    ]
                }
            }
            for side in "xy"
        ],
    ],
    ids=["everything", "every-namespace", "effect-only", "audited", "65-pairs", "bytes"],
)
def test_the_wide_form_stays_where_it_has_to(selectors: list[Any]) -> None:
    assert narrowed(MUTATING, profile_of(selectors)) == MUTATING
    some = narrowed(MUTATING, profile_of([{"objectSelector": {"matchLabels": {"a": "b"}}}]))
    assert narrowed(some, profile_of(selectors)) == MUTATING


def test_64_pairs_are_narrowed() -> None:
    each = [{"objectSelector": {"matchLabels": {"a": str(n)}}} for n in range(MOST_WEBHOOKS)]
    off = [{"objectSelector": {"matchLabels": {"a": "off"}}, "mode": "off"}, each[0]]
    assert len(narrowed(MUTATING, profile_of([*each, *off]))["webhooks"]) == 1 + MOST_WEBHOOKS


BIND = {
    **MUTATING["webhooks"][0],
    "name": "bind.eci-profile.svc",
    "rules": [{**MUTATING["webhooks"][0]["rules"][0], "resources": ["pods/binding"]}],
}


def test_what_an_administrator_changes_holds_for_all_webhooks_for_pods() -> None:
    profile = profile_of([{"objectSelector": {"matchLabels": {"a": str(n)}}} for n in range(3)])
    registration = narrowed({**MUTATING, "webhooks": [BIND, *MUTATING["webhooks"]]}, profile)
    assert registration["metadata"] == MUTATING["metadata"]
    assert registration["webhooks"][-1] == BIND
    changed = copy.deepcopy(registration)
    wide = changed["webhooks"][0]
    own = {"key": "team", "operator": "Exists"}
    wide["failurePolicy"] = "Fail"
    wide["timeoutSeconds"] = 9
    wide["clientConfig"]["caBundle"] = "QUJD"
    wide["matchConditions"].append({"name": "mine", "expression": "true"})
    wide["namespaceSelector"]["matchLabels"] = {"mine": "true"}
    wide["objectSelector"]["matchExpressions"].insert(0, own)
    again = narrowed(changed, profile)
    assert narrowed(again, profile) == again
    assert again["webhooks"][0] == wide
    assert again["webhooks"][-1] == BIND
    for number, webhook in enumerate(again["webhooks"][1:-1]):
        for field in ("failurePolicy", "timeoutSeconds", "clientConfig", "matchConditions"):
            assert webhook[field] == wide[field], field
        assert webhook["namespaceSelector"] == wide["namespaceSelector"]
        expressions = webhook["objectSelector"]["matchExpressions"]
        assert own in expressions
        assert expressions[-1] == {"key": "a", "operator": "In", "values": [str(number)]}


def test_selectors_without_requirements_get_no_empty_lists() -> None:
    """The API server would leave them out, so that the registration would never be as written."""
    wide = {**MUTATING["webhooks"][0], "namespaceSelector": {}, "objectSelector": {}}
    bare = {**MUTATING, "webhooks": [wide]}
    registration = narrowed(bare, profile_of([{"objectSelector": {"matchLabels": {"a": "b"}}}]))
    assert "[]" not in json.dumps(registration["webhooks"])
    assert narrowed(registration, profile_of([{"objectSelector": {}}])) == bare


@pytest.mark.parametrize(
    "webhooks",
    [None, [], [BIND], [*MUTATING["webhooks"], BIND | {"rules": MUTATING["webhooks"][0]["rules"]}]],
)
def test_there_has_to_be_one_webhook_to_begin_with(webhooks: Any) -> None:
    for change in (widened, lambda given: narrowed(given, Profile())):
        with pytest.raises(ValueError, match=r"must have one webhook for pods, .* not [02]"):
            change({**MUTATING, "webhooks": webhooks})


def test_names_of_selectors_may_be_of_any_characters() -> None:
    texts = ["A b_c", "\u65e0", "x" * 100, "a-b", "a.b", "-", "x" * 61 + "--y"]
    selectors = [
        {"name": text, "objectSelector": {"matchLabels": {"a": str(number)}}}
        for number, text in enumerate(texts)
    ]
    registration = narrowed(MUTATING, parse({"selectors": json.dumps(selectors)}))
    names = [webhook["name"].split(".")[0] for webhook in registration["webhooks"][1:]]
    assert names[:2] == ["0-a-b-c", "1"]
    assert len(set(names)) == len(texts)
    assert all(re.fullmatch(_DNS_LABEL, name) for name in names)


def test_a_profile_without_selectors_calls_for_no_pod() -> None:
    registration = narrowed(MUTATING, parse({}))
    (closed,) = registration["webhooks"]
    kubernetes_validate.validate(registration, "1.37", strict=True)
    labels: tuple[dict[str, str], ...] = (
        {},
        {"eci-profile/narrowed": ""},
        {"alibabacloud.com/eci": "true"},
    )
    assert not any(selects(closed, {"metadata": {"labels": each}}, {}) for each in labels)
