"""Which pods kube-apiserver sends: the registration's conditions and selectors, also narrowed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from manifests import K8S, URL, Choice, Document, needs_kubectl, only, rendered
from msgspec import convert
from registration import concerned, conditions_hold, selects
from server import DATA, ROOT, clean_environment

from handler.filesource import FileSource
from handler.mutation import left_alone
from handler.pod import Pod
from handler.profile import Profile, parse
from k8s.register import narrowed

REVIEWS = {path.stem: json.loads(path.read_text()) for path in DATA.glob("reviews/*.json")}
CASES = sorted(path.name.removesuffix(".in.yaml") for path in DATA.glob("cases/*.in.yaml"))
MUTATING = yaml.safe_load((K8S / "base" / "mutating-webhook-configuration.yaml").read_text())
VALIDATING = yaml.safe_load((K8S / "base" / "validating-webhook-configuration.yaml").read_text())
SAMPLE = K8S / "sample" / "profile.yaml"

_DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


@pytest.mark.parametrize("name", REVIEWS)
def test_the_conditions_leave_out_what_the_function_leaves_alone(name: str) -> None:
    request = REVIEWS[name]["request"]
    (webhook,) = MUTATING["webhooks"]
    if concerned(webhook, request):
        reason = left_alone(convert(request["object"], Pod))
        assert conditions_hold(webhook, request) == (reason in (None, "opt-out"))
    else:
        assert name.startswith("configmap-") or name in (
            *("pod-binding", "pod-ephemeralcontainers", "pod-update"),
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
    called = [
        selector.name
        for selector, webhook in zip(profile.selectors, registration["webhooks"], strict=True)
        if selects(webhook, pod, namespace_labels) and conditions_hold(webhook, {"object": pod})
    ]
    applied = told["auditAnnotations"].get("selectors", "")
    assert ",".join(called) == applied


@pytest.mark.parametrize("case", CASES)
def test_a_narrowed_registration_is_valid(case: str) -> None:
    profile, *_ = read_case(case)
    registration = narrowed(MUTATING, profile)
    kubernetes_validate.validate(registration, "1.37", strict=True)
    names = [webhook["name"] for webhook in registration["webhooks"]]
    assert len(set(names)) == len(names) == len(profile.selectors)
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


def register(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "k8s.register", *arguments],
        cwd=ROOT,
        env=clean_environment(),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_the_narrowed_registration() -> None:
    result = register(str(SAMPLE), "--ca-bundle", "QUJD")
    assert (result.returncode, result.stderr) == (0, "")
    assert "without a caBundle" in register(str(SAMPLE)).stderr
    written = yaml.safe_load(result.stdout)
    kubernetes_validate.validate(written, "1.37", strict=True)
    assert [webhook["name"] for webhook in written["webhooks"]] == [
        "0-default-pod-selector.mutate.eci-profile.svc",
        "1-default-namespace-selector.mutate.eci-profile.svc",
        "2-gpu.mutate.eci-profile.svc",
    ]
    assert {webhook["clientConfig"]["caBundle"] for webhook in written["webhooks"]} == {"QUJD"}
    assert {"key": "gpu", "operator": "Exists"} in written["webhooks"][2]["objectSelector"][
        "matchExpressions"
    ]


def test_the_command_refuses_an_invalid_profile_with_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "profile.yaml"
    selectors = json.dumps([{"name": "a", "objectselector": {}}, {"name": "a"}])
    path.write_text(
        yaml.safe_dump(
            {
                "kind": "ConfigMap",
                "metadata": {"name": "eci-profile", "namespace": "kube-system"},
                "data": {"selectors": selectors},
            }
        )
    )
    result = register(str(path))
    assert result.returncode == 1
    assert not result.stdout
    assert "did you mean objectSelector?" in result.stderr
    assert "names must be unique" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_help_says_what_a_narrowed_registration_misses() -> None:
    result = register("--help")
    assert "labels that later webhooks add to a pod can't make a selector match" in result.stdout


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind: ConfigMap\nmetadata: {name: other}\n", "has no ConfigMap kube-system/eci-profile"),
        ("{", "is not as it should be"),
    ],
)
def test_the_command_says_what_is_wrong_with_the_file(
    text: str, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text(text)
    result = register(str(path))
    assert (result.returncode, result.stdout) == (1, "")
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


@needs_kubectl
def test_the_command_narrows_what_was_rendered_for_an_old_cluster() -> None:
    documents = rendered(Choice("external", url=URL, components=("before-1.16",)))
    result = register(str(SAMPLE), "--registration", "-", given=yaml.safe_dump_all(documents))
    assert result.returncode == 0, result.stderr
    written: dict[str, Any] = yaml.safe_load(result.stdout)
    assert written["apiVersion"] == "admissionregistration.k8s.io/v1beta1"
    assert written["metadata"] == only(documents, "MutatingWebhookConfiguration")["metadata"]
    assert len(written["webhooks"]) == 3
    for webhook in written["webhooks"]:
        assert webhook["clientConfig"] == {"url": f"{URL}/mutate"}
        assert "matchConditions" not in webhook

    again = register(str(SAMPLE), "--registration", "-", given=result.stdout)
    assert again.returncode == 1
    assert "must have one webhook" in again.stderr
