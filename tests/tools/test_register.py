"""The command that narrows a registration to a profile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cli import Result, run
from manifests import K8S, URL, Choice, needs_kubectl, only, rendered

SAMPLE = K8S / "sample" / "profile.yaml"


def register(*arguments: str, given: str = "") -> Result:
    return run("register", *arguments, text=given)


def test_it_writes_the_narrowed_registration() -> None:
    result = register(str(SAMPLE), "--ca-bundle", "QUJD")
    assert (result.returncode, result.stderr) == (0, "")
    assert "without a caBundle" in register(str(SAMPLE)).stderr
    written = yaml.safe_load(result.stdout)
    kubernetes_validate.validate(written, "1.37", strict=True)
    assert "&id" not in result.stdout  # what several have is written out in each
    assert [webhook["name"] for webhook in written["webhooks"]] == [
        "mutate.eci-profile.svc",
        "0-default-pod-selector.mutate.eci-profile.svc",
        "1-default-namespace-selector.mutate.eci-profile.svc",
        "2-gpu.mutate.eci-profile.svc",
    ]
    assert {webhook["clientConfig"]["caBundle"] for webhook in written["webhooks"]} == {"QUJD"}
    assert {"key": "gpu", "operator": "Exists"} in written["webhooks"][3]["objectSelector"][
        "matchExpressions"
    ]


def test_it_refuses_an_invalid_profile_with_its_problems(tmp_path: Path) -> None:
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
    assert result.returncode == 2
    assert not result.stdout
    assert "did you mean objectSelector?" in result.stderr
    assert "names must be unique" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_help_says_what_a_narrowed_registration_misses() -> None:
    result = register("--help")
    assert "labels that later webhooks add to the pod can't make a selector match" in result.stdout


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind: ConfigMap\nmetadata: {name: other}\n", "has no ConfigMap kube-system/eci-profile"),
        ("{", "is invalid"),
    ],
)
def test_it_says_what_is_wrong_with_the_file(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text(text)
    result = register(str(path))
    assert (result.returncode, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


@needs_kubectl
def test_it_narrows_what_was_rendered_for_an_old_cluster() -> None:
    documents = rendered(Choice("external", url=URL, components=("before-1.16",)))
    result = register(str(SAMPLE), "--registration", "-", given=yaml.safe_dump_all(documents))
    assert result.returncode == 0, result.stderr
    written: dict[str, Any] = yaml.safe_load(result.stdout)
    assert written["apiVersion"] == "admissionregistration.k8s.io/v1beta1"
    assert written["metadata"] == only(documents, "MutatingWebhookConfiguration")["metadata"]
    assert len(written["webhooks"]) == 4
    for webhook in written["webhooks"]:
        assert webhook["clientConfig"] == {"url": f"{URL}/mutate"}
        assert "matchConditions" not in webhook

    again = register(str(SAMPLE), "--registration", "-", given=result.stdout)
    assert again.returncode == 0
    assert again.stdout == result.stdout


@needs_kubectl
def test_the_webhook_for_bindings_stays_as_it_is() -> None:
    documents = rendered(Choice("deployment", components=("effects-at-binding",)))
    bind = only(documents, "MutatingWebhookConfiguration")["webhooks"][1]
    given = yaml.safe_dump_all(documents)
    for arguments, trusted in (((), {}), (("--ca-bundle", "QUJD"), {"caBundle": "QUJD"})):
        result = register(str(SAMPLE), "--registration", "-", *arguments, given=given)
        assert result.returncode == 0, result.stderr
        webhooks = yaml.safe_load(result.stdout)["webhooks"]
        assert len(webhooks) == 5
        assert [each["name"] for each in webhooks[:-1] if "bind" in each["name"]] == []
        assert webhooks[-1] == {**bind, "clientConfig": {**bind["clientConfig"], **trusted}}
        assert ("without a caBundle" in result.stderr) == (not trusted)
