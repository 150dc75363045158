"""make install, renew-certificate, uninstall and test-cluster: real kubectl against a server."""

from __future__ import annotations

import base64
import copy
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apiserver import APIServer
from cluster_jobs import CRON_JOB, JOB, Cluster
from cryptography import x509
from front import front, make, needs_nginx
from manifests import (
    BINDING,
    CERTS,
    HOSTS,
    IMAGE,
    K8S,
    NARROW,
    URL,
    Choice,
    Document,
    administrator,
    needs_kubectl,
    one_file,
    only,
    parsed,
    rendered,
    variables,
)
from server import ROOT, clean_environment, serving, wait_until

pytestmark = [
    needs_kubectl,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
]

REGISTRATIONS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
INSTALL_PAGE = (ROOT / "docs" / "en" / "install.md").read_text("utf-8")
PROFILE = "configmaps/kube-system/eci-profile"
CRD = {"kind": "CustomResourceDefinition", "metadata": {"name": "functions.openfaas.com"}}


@pytest.fixture
def cluster() -> Iterator[APIServer]:
    with APIServer() as cluster:
        cluster.put_namespace("openfaas-fn")
        yield cluster


def run(
    directory: Path, cluster: APIServer, target: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    kubeconfig = cluster.write_kubeconfig(directory / "admin.kubeconfig", admin=True)
    return subprocess.run(
        [shutil.which("make") or "make", "-s", target, *(f"{k}={v}" for k, v in variables.items())],
        cwd=ROOT,
        env=administrator(kubeconfig),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def resources(documents: Iterable[Document]) -> set[str]:
    """What an install makes, in the words of the cluster."""
    names = set()
    for document in documents:
        metadata = document["metadata"]
        plural = f"{document['kind'].lower()}s".replace("ys", "ies")
        names.add("/".join(filter(None, (plural, metadata.get("namespace"), metadata["name"]))))
    return names


def bundles(cluster: APIServer) -> set[str | None]:
    return {
        webhook["clientConfig"].get("caBundle")
        for key, found in cluster.objects.items()
        if key[1] in REGISTRATIONS
        for webhook in found["webhooks"]
    }


def secret(cluster: APIServer, name: str) -> dict[str, Any]:
    return cluster.get("v1", "secrets", "eci-profile", name)["data"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("host", "certs"), [("deployment", "self-signed"), ("knative", "cert-manager")]
)
def test_install_and_uninstall_can_be_repeated(
    host: str, certs: str, cluster: APIServer, tmp_path: Path
) -> None:
    before = cluster.names()

    out = done(run(tmp_path, cluster, "install", HOST=host, CERTS=certs, IMAGE=IMAGE))
    assert "==> done" in out
    secrets = {f"secrets/eci-profile/eci-profile-{each}" for each in ("ca", "tls")}
    expected = resources(rendered(Choice(host, certs))) | (
        secrets if certs == "self-signed" else set()
    )
    assert cluster.names() - before == expected
    if certs == "self-signed":
        assert bundles(cluster) == {secret(cluster, "eci-profile-tls")["ca.crt"]}

    profile = cluster.get("v1", "configmaps", "kube-system", "eci-profile")
    edited = {**profile, "data": {"selectors": "[]"}}
    cluster.put("v1", "configmaps", "kube-system", edited)
    was = copy.deepcopy(cluster.objects)
    out = done(run(tmp_path, cluster, "install", HOST=host, CERTS=certs, IMAGE=IMAGE))
    assert "is not changed" in out
    assert cluster.objects == was

    done(run(tmp_path, cluster, "uninstall"))
    assert cluster.names() - before == {PROFILE}
    done(run(tmp_path, cluster, "uninstall"))
    assert cluster.names() - before == {PROFILE}


# Of HOST=deployment too: test_each_kind_of_file_... below, and test_operations.py.
@pytest.mark.parametrize("host", HOSTS[1:])
def test_an_installation_by_a_job_can_be_repeated(
    host: str, cluster: APIServer, tmp_path: Path
) -> None:
    cluster.put("apiextensions.k8s.io/v1", "customresourcedefinitions", "", CRD)
    before, choice = cluster.names(), Choice(host)
    out = done(run(tmp_path, cluster, "install", HOST=host, IMAGE=IMAGE))
    assert "==> done" in out
    expected = resources(one_file(choice))
    assert cluster.names() - before == expected
    was = copy.deepcopy(cluster.objects)
    done(run(tmp_path, cluster, "install", HOST=host, IMAGE=IMAGE))
    assert cluster.objects != was  # the Job is another, so that it runs again
    again = {key: found for key, found in cluster.objects.items() if key[1] != "jobs"}
    assert again == {key: found for key, found in was.items() if key[1] != "jobs"}
    assert cluster.names() - before == expected
    done(run(tmp_path, cluster, "uninstall"))
    assert cluster.names() == before


@pytest.mark.parametrize(
    "choice",
    [
        *(Choice(host, certs) for host, certs in zip(HOSTS, CERTS, strict=True)),
        *(Choice(host, url=URL) for host in (*HOSTS[1:], "external")),
        Choice(
            "deployment",
            components=(BINDING, "on-virtual-node"),
            profile="kube-public/acs-profile",
        ),
    ],
    ids=str,
)
def test_each_kind_of_file_can_be_applied_again_and_leaves_nothing(
    choice: Choice, cluster: APIServer, tmp_path: Path
) -> None:
    before = cluster.names()
    wanted = {**variables(choice), "IMAGE": IMAGE}
    file = tmp_path / "eci-profile.yaml"
    file.write_text(done(run(tmp_path, cluster, "manifest", **wanted)))
    documents = parsed(file.read_text())
    environment = administrator(tmp_path / "admin.kubeconfig")

    def kubectl(*arguments: str) -> None:
        command = [shutil.which("kubectl") or "kubectl", *arguments, "-f", str(file)]
        subprocess.run(command, env=environment, check=True, timeout=60)

    kubectl("apply")
    assert cluster.names() - before == resources(documents)
    assert not any(key[1] in REGISTRATIONS and "webhooks" in o for key, o in all_of(cluster))
    was = copy.deepcopy(cluster.objects)
    kubectl("apply")
    assert cluster.objects == was
    kubectl("delete", "--ignore-not-found")
    assert cluster.names() == before


def test_make_prints_what_the_script_prints(cluster: APIServer, tmp_path: Path) -> None:
    components = (BINDING, "on-virtual-node")
    choice = Choice("knative", "self-signed", components=components, profile="kube-public/acs")
    out = done(run(tmp_path, cluster, "manifest", **variables(choice)))
    assert parsed(out) == one_file(choice)


def test_the_install_page_names_the_hosts_and_certificates_that_there_are() -> None:
    assert set(re.findall(r"\bHOST=(\w+)", INSTALL_PAGE)) == {*HOSTS, "external"}
    table = INSTALL_PAGE.split("| `CERTS=` |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE)) == set(CERTS)


def all_of(cluster: APIServer) -> list[tuple[Any, Document]]:
    return list(cluster.objects.items())


def test_pods_are_reviewed_while_a_job_takes_an_installation_over(
    cluster: APIServer, tmp_path: Path
) -> None:
    done(run(tmp_path, cluster, "install", CERTS="self-signed", IMAGE=IMAGE))
    key = ("admissionregistration.k8s.io/v1", REGISTRATIONS[0], "", "eci-profile")
    webhooks = cluster.get(*key)["webhooks"]
    certificate = secret(cluster, "eci-profile-tls")
    profile = cluster.get("v1", "configmaps", "kube-system", "eci-profile")
    done(run(tmp_path, cluster, "install", IMAGE=IMAGE))
    assert cluster.get(*key)["webhooks"] == webhooks  # until the Job writes its own
    assert secret(cluster, "eci-profile-tls") == certificate
    assert cluster.get("v1", "configmaps", "kube-system", "eci-profile") == profile
    assert "cronjobs/eci-profile/eci-profile-certificates" in cluster.names()
    taken_over = Cluster(cluster, tmp_path, Choice("deployment"))
    with taken_over.pod("first") as pod:
        taken_over.put_endpoints(pod.port)
        assert "the existing profile is not changed" in taken_over.done(JOB)
    assert secret(cluster, "eci-profile-tls") == certificate  # which is good for a year
    assert bundles(cluster) == {secret(cluster, "eci-profile-ca")["tls.crt"]}

    # And back, with another registration.
    other = {"CERTS": "self-signed", "COMPONENTS": BINDING, "IMAGE": IMAGE}
    done(run(tmp_path, cluster, "install", **other))
    assert "cronjobs/eci-profile/eci-profile-certificates" not in cluster.names()
    assert bundles(cluster) == {certificate["ca.crt"]}
    assert len(cluster.get(*key)["webhooks"]) == 2
    done(run(tmp_path, cluster, "install", IMAGE=IMAGE))
    with taken_over.pod("second") as pod:
        taken_over.put_endpoints(pod.port)
        taken_over.done(JOB)
    assert len(cluster.get(*key)["webhooks"]) == 1


def test_a_certificate_of_the_cron_job_can_be_renewed_by_hand(
    cluster: APIServer, tmp_path: Path
) -> None:
    installed = Cluster(cluster, tmp_path, Choice("deployment"))
    installed.apply()
    installed.done(CRON_JOB)
    ca, certificate = secret(cluster, "eci-profile-ca"), secret(cluster, "eci-profile-tls")
    done(run(tmp_path, cluster, "install", CERTS="self-signed", IMAGE=IMAGE))
    assert secret(cluster, "eci-profile-tls") == certificate
    done(run(tmp_path, cluster, "renew-certificate"))
    assert secret(cluster, "eci-profile-tls")["tls.crt"] != certificate["tls.crt"]
    assert secret(cluster, "eci-profile-ca")["tls.crt"] == ca["tls.crt"]
    assert bundles(cluster) == {ca["tls.crt"]}
    done(run(tmp_path, cluster, "install", IMAGE=IMAGE))
    installed.done(CRON_JOB)
    assert secret(cluster, "eci-profile-ca")["tls.crt"] == ca["tls.crt"]


def test_switching_the_narrow_registration_off_brings_the_wide_one_back(
    cluster: APIServer, tmp_path: Path
) -> None:
    """A function that still has the setting, but no right any more, does not narrow it again."""
    installed = {"IMAGE": IMAGE, "CERTS": "cert-manager"}

    narrow = [
        *("mutate.eci-profile.svc", "0-default-pod-selector.mutate.eci-profile.svc"),
        *("1-default-namespace-selector.mutate.eci-profile.svc", "bind.eci-profile.svc"),
    ]
    done(run(tmp_path, cluster, "install", **installed, COMPONENTS=f"{NARROW} {BINDING}"))
    cluster.narrow_registration = True
    settings = {
        "KUBECONFIG": str(cluster.write_kubeconfig(tmp_path / "kubeconfig")),
        "ECI_PROFILE_TTL": "0.2",
        "ECI_PROFILE_REGISTRATION": "eci-profile",
    }
    with serving(settings, tmp_path / "server.log") as function:

        def narrowed(wanted: Any) -> bool:
            function.request("GET", "/readyz")
            found = cluster.registration()["webhooks"]
            return wanted in (found, [webhook["name"] for webhook in found])

        wait_until(lambda: narrowed(narrow))
        written = cluster.registration()["webhooks"]

        done(run(tmp_path, cluster, "install", **installed, COMPONENTS=f"{NARROW} {BINDING}"))
        wait_until(lambda: narrowed(written))

        cluster.narrow_registration = False  # as the ClusterRole says, which is applied first
        done(run(tmp_path, cluster, "install", **installed))
        wide = only(rendered(Choice("deployment", "cert-manager")), "MutatingWebhookConfiguration")
        failed = "eci_profile_registration_checks_total"
        wait_until(
            lambda: narrowed(wide["webhooks"]) and function.metric(failed, result="failed") > 0
        )


def test_a_profile_under_another_name(cluster: APIServer, tmp_path: Path) -> None:
    names = {"PROFILE_NAME": "acs-profile", "PROFILE_NAMESPACE": "team-a"}
    wanted = {"HOST": "openfaas", "CERTS": "cert-manager", "IMAGE": IMAGE, **names}
    cluster.put("apiextensions.k8s.io/v1", "customresourcedefinitions", "", CRD)
    was = copy.deepcopy(cluster.objects)
    result = run(tmp_path, cluster, "install", **wanted)
    assert result.returncode != 0
    assert "there is no namespace team-a; create it first" in result.stderr
    assert cluster.objects == was

    labels = cluster.put_namespace("team-a")["metadata"]["labels"]
    named = labels.copy()
    labels.clear()  # as before Kubernetes 1.21
    before = cluster.names()
    done(run(tmp_path, cluster, "install", **wanted))
    assert cluster.get("v1", "namespaces", "", "team-a")["metadata"]["labels"] == named
    expected = resources(rendered(Choice("openfaas", "cert-manager", profile="team-a/acs-profile")))
    assert {"configmaps/team-a/acs-profile", "roles/team-a/eci-profile"} <= expected
    assert cluster.names() - before == expected
    was = copy.deepcopy(cluster.objects)
    out = done(run(tmp_path, cluster, "install", **wanted))
    assert "the existing profile, ConfigMap team-a/acs-profile, is not changed" in out
    assert cluster.objects == was

    result = run(tmp_path, cluster, "uninstall", PROFILE_NAMESPACE="A")
    assert "PROFILE_NAMESPACE must be" in result.stderr
    assert cluster.names() - before == expected
    out = done(run(tmp_path, cluster, "uninstall", **names))
    assert "kubectl -n team-a delete configmap acs-profile" in out
    assert cluster.names() - before == {"configmaps/team-a/acs-profile"}
    done(run(tmp_path, cluster, "uninstall", **names))
    assert cluster.names() - before == {"configmaps/team-a/acs-profile"}


def test_settings_are_told_where_they_cannot_be_made(cluster: APIServer, tmp_path: Path) -> None:
    wanted = {"COMPONENTS": f"{BINDING} {NARROW}", "PROFILE_NAME": "acs-profile"}
    out = done(run(tmp_path, cluster, "install", HOST="openfaas", IMAGE=IMAGE, **wanted))
    names = ("NAMESPACE=kube-system", "NAME=acs-profile")
    settings = (*names, "BINDING=1", "REGISTRATION=eci-profile")
    command = f"IMAGE={IMAGE} faas-cli deploy -f k8s/openfaas/stack.yaml"
    assert command + "".join(f" --env ECI_PROFILE_{each}" for each in settings) in out
    assert not any(name.startswith("functions/") for name in cluster.names())
    out = done(run(tmp_path, cluster, "install", HOST="external", URL=URL, **wanted))
    assert " ".join(f"ECI_PROFILE_{each}" for each in settings) in out


def test_a_certificate_is_renewed_and_its_ca_stays(cluster: APIServer, tmp_path: Path) -> None:
    """Which every webhook trusts, also that of the bindings component."""
    wanted = {"IMAGE": IMAGE, "CERTS": "self-signed"}
    out = done(run(tmp_path, cluster, "install", **wanted, COMPONENTS=BINDING))
    assert "Kubernetes before 1.35 adds their annotations, but not their labels" in out
    key = ("admissionregistration.k8s.io/v1", REGISTRATIONS[0], "", "eci-profile")
    assert len(cluster.get(*key)["webhooks"]) == 2
    assert bundles(cluster) == {secret(cluster, "eci-profile-tls")["ca.crt"]}
    before, ca = secret(cluster, "eci-profile-tls"), secret(cluster, "eci-profile-ca")
    assert "valid until" in done(run(tmp_path, cluster, "renew-certificate", DAYS="90"))
    after = secret(cluster, "eci-profile-tls")
    assert before["tls.crt"] != after["tls.crt"]
    assert before["tls.key"] != after["tls.key"]
    assert secret(cluster, "eci-profile-ca") == ca
    loaded = x509.load_pem_x509_certificate(base64.b64decode(after["tls.crt"]))
    assert (loaded.not_valid_after_utc - loaded.not_valid_before_utc).days == 90
    assert bundles(cluster) == {ca["tls.crt"]}

    done(run(tmp_path, cluster, "renew-certificate", DAYS="4000"))  # more than the CA has left
    assert secret(cluster, "eci-profile-ca") != ca
    assert bundles(cluster) == {secret(cluster, "eci-profile-tls")["ca.crt"]}
    assert base64.b64decode(secret(cluster, "eci-profile-tls")["ca.crt"]).endswith(
        base64.b64decode(ca["tls.crt"])
    )
    for name in ("eci-profile-ca", "eci-profile-tls"):
        found = cluster.get("v1", "secrets", "eci-profile", name)
        assert "annotations" not in found["metadata"]

    done(run(tmp_path, cluster, "install", **wanted))  # without the component again
    (webhook,) = cluster.get(*key)["webhooks"]
    assert webhook["name"] == "mutate.eci-profile.svc"


def test_a_registration_for_a_url_leaves_certificates_alone(
    cluster: APIServer, tmp_path: Path
) -> None:
    out = done(run(tmp_path, cluster, "install", HOST="external", URL=URL))
    assert "where the function runs" not in out
    assert bundles(cluster) == {None}
    assert not any(name.startswith("secrets/") for name in cluster.names())


def test_the_cluster_test_is_skipped_without_a_cluster() -> None:
    result = subprocess.run(
        [K8S / "test-cluster.sh"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "skipped: KUBECONFIG is not set" in done(result)


def test_the_cluster_test_leaves_an_install_alone(cluster: APIServer, tmp_path: Path) -> None:
    Cluster(cluster, tmp_path, Choice("deployment")).apply()
    was = copy.deepcopy(cluster.objects)
    result = run(tmp_path, cluster, "test-cluster", IMAGE=IMAGE)
    assert result.returncode != 0
    assert "already exists" in result.stderr
    assert cluster.objects == was


@needs_nginx
@pytest.mark.parametrize(
    ("works", "profile", "ack"),
    [(True, "acs", False), (True, "", True), (False, "", False)],
)
def test_the_cluster_test_tells_whether_pods_are_changed(
    works: bool, profile: str, ack: bool, tmp_path: Path
) -> None:
    tls = tmp_path / "tls"
    tls.mkdir()
    make(tls, name="localhost")
    with APIServer(webhook_ca=tls / "bundle.crt") as cluster:
        if ack:
            taints = ["virtual-kubelet.io/provider=alibabacloud:NoSchedule"]
            cluster.put_node("virtual-kubelet-0", {"type": "virtual-kubelet"}, taints)
        before = cluster.names()
        kubeconfig = cluster.write_kubeconfig(tmp_path / "kubeconfig")
        settings = {"KUBECONFIG": str(kubeconfig), "ECI_PROFILE_TTL": "1"}
        if not works:
            settings["ECI_PROFILE_NAME"] = "another"
        if profile:
            settings |= {"ECI_PROFILE_NAME": profile, "ECI_PROFILE_NAMESPACE": "kube-public"}
        with (
            serving(settings, tmp_path / "server.log") as function,
            front(function.port, tls, server_name="localhost") as running,
        ):
            url = f"https://localhost:{running.port}"
            wanted = {"HOST": "external", "URL": url, "PATIENCE": "3" if works else "0"}
            if profile:
                wanted |= {"PROFILE_NAME": profile, "PROFILE_NAMESPACE": "kube-public"}
            result = run(tmp_path, cluster, "test-cluster", **wanted)
        assert result.returncode == (0 if works else 2), result.stdout + result.stderr
        assert result.stdout.count("ok: ") == (7 if works else 4)
        assert ("FAILED" in result.stdout) != works
        assert cluster.names() == before
