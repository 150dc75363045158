"""Which pods kube-apiserver sends: the registration's conditions and selectors, also narrowed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import kubernetes_validate
import pytest
import yaml
from manifests import K8S, Document
from msgspec import convert
from registration import concerned, conditions_hold, selects
from server import DATA

from handler.cluster.file import FileSource
from handler.cluster.registration import narrowed
from handler.decision.decide import left_alone
from handler.decision.pod import Pod
from handler.profiles.model import Profile
from handler.profiles.parse import parse

REVIEWS = {path.stem: json.loads(path.read_text()) for path in DATA.glob("reviews/*.json")}
CASES = sorted(path.name.removesuffix(".in.yaml") for path in DATA.glob("cases/*.in.yaml"))
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


def read_case(case: str) -> tuple[Profile, Document, Mapping[str, str], Document]:
    path = DATA / "cases" / f"{case}.in.yaml"
    (pod,) = (each for each in yaml.safe_load_all(path.read_text()) if each["kind"] == "Pod")
    source = FileSource(str(path))
    _, told = yaml.safe_load_all((DATA / "cases" / f"{case}.out.yaml").read_text())
    namespace = pod["metadata"].get("namespace", "default")
    profile = parse(source.config_map("kube-system", "eci-profile").data)
    return profile, pod, source.namespace_labels(namespace), told


@pytest.mark.parametrize("case", CASES)
def test_a_narrowed_registration_sends_the_pods_that_a_selector_matches(case: str) -> None:
    profile, pod, namespace_labels, told = read_case(case)
    registration = narrowed(MUTATING, profile)
    asking = [each for each in profile.selectors if each.mode != "off"]
    called = {
        selector.name: selector
        for selector, webhook in zip(asking, registration["webhooks"], strict=True)
        if selects(webhook, pod, namespace_labels) and conditions_hold(webhook, {"object": pod})
    }
    audit = told["auditAnnotations"]
    applied = {
        name
        for key in ("selectors", "audited-selectors")
        for name in filter(None, audit.get(key, "").split(","))
    }
    assert applied <= called.keys()
    # Which pods an effect alone is for, and which share is taken, the registration can't say.
    assert all(
        called[name].effect_only or called[name].percentage < 100
        for name in called.keys() - applied
    )


@pytest.mark.parametrize("case", CASES)
def test_a_narrowed_registration_is_valid(case: str) -> None:
    profile, *_ = read_case(case)
    registration = narrowed(MUTATING, profile)
    kubernetes_validate.validate(registration, "1.37", strict=True)
    names = [webhook["name"] for webhook in registration["webhooks"]]
    asking = [each for each in profile.selectors if each.mode != "off"]
    assert len(set(names)) == len(names) == len(asking)
    for name in names:
        assert len(name) <= 253
        assert re.fullmatch(rf"{_DNS_LABEL}(\.{_DNS_LABEL}){{2,}}", name)


def test_names_of_selectors_may_be_of_any_characters() -> None:
    texts = ["A b_c", "\u65e0", "x" * 100, "a-b", "a.b", "-", "x" * 61 + "--y"]
    selectors = [{"name": text, "objectSelector": {}} for text in texts]
    registration = narrowed(MUTATING, parse({"selectors": json.dumps(selectors)}))
    names = [webhook["name"].split(".")[0] for webhook in registration["webhooks"]]
    assert names[:2] == ["0-a-b-c", "1"]
    assert len(set(names)) == len(texts)
    assert all(re.fullmatch(_DNS_LABEL, name) for name in names)


def test_a_profile_without_selectors_calls_for_no_pod() -> None:
    assert narrowed(MUTATING, parse({}))["webhooks"] == []
