"""The one file and its Jobs: the real commands, with the rights that the manifests grant."""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from apiserver import APIServer, Grant, asked, granted
from cluster_jobs import (
    CRON_JOB,
    DNS_NAME,
    JOB,
    NAMESPACE,
    REGISTRATIONS,
    Cluster,
    Pod,
    loaded,
)
from local import Local, local
from manifests import BINDING, NARROW, URL, Choice, administrator, needs_kubectl, only
from server import wait_until

from handler.cluster.registration import narrowed
from handler.install.certificates import Pair, new_ca, new_certificate
from handler.profiles.parse import parse

pytestmark = needs_kubectl

NOW = dt.datetime.now(dt.timezone.utc)
PROFILE = ("v1", "configmaps", "kube-system", "eci-profile")
DEPLOYMENT = Choice("deployment")


@contextlib.contextmanager
def clustered(directory: Path, choice: Choice = DEPLOYMENT) -> Iterator[Cluster]:
    with APIServer() as api:
        cluster = Cluster(api, directory, choice)
        cluster.apply()
        yield cluster


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod, in a cluster where the CronJob has made its certificate."""
    with clustered(tmp_path_factory.mktemp("shared")) as cluster:
        cluster.done(CRON_JOB)
        with cluster.pod("first") as pod:
            yield pod


def moved(pod: Pod, cluster: Cluster) -> Pod:
    """The pod as one of this cluster, whose certificate it takes up."""
    pod = Pod(pod.port, pod.mounted, cluster)
    pod.take_up()
    return pod


@contextlib.contextmanager
def installed(
    shared: Pod, directory: Path, choice: Choice = DEPLOYMENT
) -> Iterator[tuple[Cluster, Pod]]:
    with clustered(directory, choice) as cluster:
        for name in ("eci-profile-ca", "eci-profile-tls"):
            cluster.put_secret(name, shared.cluster.secret(name))
        pod = moved(shared, cluster)
        cluster.put_endpoints(pod.port)
        cluster.done(JOB)
        yield cluster, pod


def kubectl(cluster: APIServer, directory: Path, *arguments: str) -> str:
    kubeconfig = cluster.write_kubeconfig(directory / "admin.kubeconfig", admin=True)
    result = subprocess.run(
        [shutil.which("kubectl") or "kubectl", *arguments],
        env=administrator(kubeconfig),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def writes(api: APIServer) -> list[str]:
    """The objects that were changed: without what there already was."""
    return [
        f"{request.method} {request.path}"
        for request in api.requests
        if request.method != "GET" and request.status in (200, 201)
    ]


def ages(pair: Pair) -> dict[str, bytes]:
    return {"tls.crt": pair.certificate, "tls.key": pair.key}


def test_one_file_is_the_whole_installation(shared: Pod, tmp_path: Path) -> None:
    with APIServer() as api:
        before, cluster = api.names(), Cluster(api, tmp_path, DEPLOYMENT)
        file = tmp_path / "eci-profile.yaml"
        file.write_text(yaml.safe_dump_all(cluster.documents))
        kubectl(api, tmp_path, "apply", "-f", str(file))
        assert cluster.webhooks() == []
        assert PROFILE not in api.objects

        job = cluster.start(JOB)  # before there is a pod
        wait_until(lambda: "tls.key" in cluster.secret("eci-profile-tls"))
        assert cluster.webhooks() == []
        pod = moved(shared, cluster)
        cluster.put_endpoints(pod.port, ready=False)
        time.sleep(1.5)
        assert job.poll() is None
        assert cluster.webhooks() == []
        cluster.put_endpoints(pod.port)
        _, errors = job.communicate(timeout=30)
        assert job.returncode == 0, errors
        assert [webhook["name"].split(".")[0] for webhook in cluster.webhooks()] == [
            "mutate",
            "validate",
        ]
        call(cluster, pod)
        assert len(json.loads(api.get(*PROFILE)["data"]["selectors"])) == 2

        api.put_config_map("kube-system", "eci-profile", {"selectors": "[]"})
        was = copy.deepcopy(api.objects)
        out = kubectl(api, tmp_path, "apply", "-f", str(file))
        # kubectl always sends a PodDisruptionBudget's selector.
        changed = [line for line in out.splitlines() if not line.endswith(" unchanged")]
        assert changed == ["poddisruptionbudget.policy/eci-profile configured"]
        api.clear_requests()
        assert "the existing profile is not changed" in cluster.done(JOB)
        assert writes(api) == []
        assert api.objects == was

        api.delete("v1", "endpoints", NAMESPACE, "eci-profile")
        # The namespace takes the rest with it.
        kubectl(api, tmp_path, "delete", "--ignore-not-found", "-f", str(file))
        assert api.names() - before == {"configmaps/kube-system/eci-profile"}


def call(cluster: Cluster, pod: Pod) -> None:
    """As kube-apiserver does: by name, trusting the CAs of the registration."""
    with (
        socket.create_connection(("127.0.0.1", pod.port), 5) as plain,
        cluster.trust().wrap_socket(plain, server_hostname=DNS_NAME) as connection,
    ):
        client = http.client.HTTPConnection(DNS_NAME)
        client.sock = connection
        client.request("GET", "/readyz")
        assert client.getresponse().status == 200


@pytest.mark.no_cover
def test_rights_are_what_the_commands_ask_for_and_no_more(shared: Pod, tmp_path: Path) -> None:
    with installed(shared, tmp_path) as (cluster, pod):
        data = ages(new_ca(NOW - dt.timedelta(3600)))
        cluster.put_secret("eci-profile-ca", data)
        pod_takes_up = threading.Thread(target=taking_up, args=(cluster, pod))
        pod_takes_up.start()
        cluster.done(CRON_JOB, "--wait=20")
        pod_takes_up.join()
        # Each kube-apiserver trusts the new CA before a pod can show its certificate.
        trusted, shown = (
            next(
                request.time
                for request in cluster.api.requests
                if request.method == "PATCH"
                and request.path.endswith(name)
                and request.token == cluster.api.requests[-1].token
            )
            for name in (f"{REGISTRATIONS[1]}/eci-profile", "secrets/eci-profile-tls")
        )
        assert shown - trusted >= 10
        cluster.api.delete("v1", "endpoints", NAMESPACE, "eci-profile")
        with cluster.api.fault("status", "/apis/admissionregistration", code=500):
            assert cluster.run(CRON_JOB).returncode == 1
        for name in ("eci-profile-ca", "eci-profile-tls"):
            cluster.put_secret(name, {})
        assert cluster.run(JOB, "--wait=0").returncode == 1
        assert rights(cluster, CRON_JOB) == granted(cluster.documents, "eci-profile-certificates")
        assert rights(cluster, JOB) == granted(cluster.documents, "eci-profile-install")


def rights(cluster: Cluster, job: str) -> set[Grant]:
    """What a Job's requests have asked for."""
    found = set()
    for request in cluster.api.requests:
        if request.token.startswith(job):
            assert request.status not in (401, 403), request
            path = request.path.split("?")[0].strip("/").split("/")
            found.add(asked(request.method, path))
    return found


def taking_up(cluster: Cluster, pod: Pod) -> None:
    before = cluster.secret("eci-profile-tls")["tls.crt"]
    wait_until(lambda: cluster.secret("eci-profile-tls")["tls.crt"] != before)
    pod.take_up()


def test_a_certificate_is_renewed_before_its_end_and_its_ca_stays(
    shared: Pod, tmp_path: Path
) -> None:
    with installed(shared, tmp_path) as (cluster, pod):
        ca = cluster.secret("eci-profile-ca")
        for age, renewed in ((59, False), (61, True)):
            pair = Pair(ca["tls.crt"], ca["tls.key"])
            old = new_certificate(pair, DNS_NAME, NOW - dt.timedelta(age))
            cluster.put_secret("eci-profile-tls", {**ages(old), "ca.crt": ca["tls.crt"]})
            cluster.api.clear_requests()
            cluster.done(CRON_JOB)
            found = cluster.secret("eci-profile-tls")
            assert (found["tls.crt"] != old.certificate) == renewed
            assert len(writes(cluster.api)) == renewed
        left = loaded(found["tls.crt"]).not_valid_after_utc - NOW
        assert dt.timedelta(90) <= left < dt.timedelta(90, 3600)
        assert cluster.secret("eci-profile-ca") == ca
        pod.take_up()
        call(cluster, pod)


def test_a_ca_is_replaced_without_a_failed_call(shared: Pod, tmp_path: Path) -> None:
    """While one pod takes the new certificate up before the other."""
    with installed(shared, tmp_path) as (cluster, first), cluster.pod("second") as second:
        cluster.put_endpoints(first.port, second.port)
        ca = new_ca(NOW - dt.timedelta(3300))
        certificate = new_certificate(ca, DNS_NAME, NOW)
        cluster.put_secret("eci-profile-ca", ages(ca))
        cluster.put_secret("eci-profile-tls", ages(certificate))
        cluster.done(CRON_JOB, "--wait=0")  # has the registrations trust this CA, and another
        assert cluster.bundle().count(b"BEGIN") == 2
        assert cluster.bundle().endswith(ca.certificate)
        outcomes: list[str] = []
        done = threading.Event()

        def client() -> None:
            while not done.wait(0.05):
                outcomes.extend(outcome(cluster, pod) for pod in (first, second))

        with contextlib.ExitStack() as stack:
            for pod in (first, second):  # as it was before that run
                pod.mounted.take(ages(certificate))
            time.sleep(4)
            thread = threading.Thread(target=client)
            thread.start()
            stack.callback(thread.join)
            stack.callback(done.set)
            first.take_up()
            time.sleep(4)
            log = cluster.done(CRON_JOB, "--wait=0")
            assert "the old CA stays trusted" in log
            assert f"127.0.0.1:{second.port}" in log
            assert cluster.bundle().count(b"BEGIN") == 2

            job = cluster.start(CRON_JOB)
            time.sleep(1)
            second.take_up()
            _, errors = job.communicate(timeout=30)
            assert job.returncode == 0, errors
            assert "the old CA is removed" in errors
            new = cluster.secret("eci-profile-ca")
            assert cluster.bundle() == new["tls.crt"] == cluster.secret("eci-profile-tls")["ca.crt"]
            assert "old.crt" not in new
            time.sleep(1)
        assert set(outcomes) == {""}
        assert len(outcomes) > 100


def outcome(cluster: Cluster, pod: Pod) -> str:
    """What has gone wrong with a call, or nothing."""
    try:
        call(cluster, pod)
    except (OSError, http.client.HTTPException) as error:
        return str(error)
    return ""


@pytest.mark.no_cover
def test_many_runs_at_once_agree(tmp_path: Path) -> None:
    with clustered(tmp_path) as cluster:
        # So that all have read before one writes.
        with cluster.api.fault("slow", "/api/v1/namespaces/eci-profile/secrets", delay=1):
            jobs = [cluster.start(CRON_JOB) for _ in range(4)]
            wait_until(lambda: cluster.api.count("GET", "/api/v1/namespaces/eci") >= 4)
        results = [(job.communicate(timeout=60)[1], job.returncode) for job in jobs]
        assert [code for _, code in results] == [0] * 4, results
        ca, tls = cluster.secret("eci-profile-ca"), cluster.secret("eci-profile-tls")
        loaded(tls["tls.crt"]).verify_directly_issued_by(loaded(ca["tls.crt"]))
        assert tls["ca.crt"] == ca["tls.crt"]
        assert "old.crt" not in ca
        assert sum(log.count("created a new CA") for log, _ in results) == 1
        assert [each for each in cluster.api.requests if each.status == 409]


@pytest.mark.parametrize("path", ["/apis/", "/api/v1/namespaces/eci-profile/secrets"])
def test_a_failed_run_is_an_event_and_leaves_what_works(
    path: str, shared: Pod, tmp_path: Path
) -> None:
    with installed(shared, tmp_path) as (cluster, pod):
        cluster.put_secret("eci-profile-ca", ages(new_ca(NOW - dt.timedelta(3600))))
        certificate, bundle = cluster.secret("eci-profile-tls"), cluster.bundle()
        with cluster.api.fault("status", path, code=403):
            result = cluster.run(CRON_JOB)
        assert result.returncode == 1
        assert "403" in result.stderr
        (event,) = cluster.api.events
        assert event["reason"] == "CertificateNotRenewed"
        assert event["involvedObject"]["name"] == "eci-profile-tls"
        assert event["metadata"]["namespace"] == NAMESPACE
        assert "403" in event["message"]
        assert cluster.secret("eci-profile-tls") == certificate
        assert cluster.bundle() == bundle
        call(cluster, pod)
        cluster.done(CRON_JOB, "--wait=0")
        call(cluster, pod)


def test_a_function_that_is_not_ready_is_not_registered(tmp_path: Path) -> None:
    with clustered(tmp_path) as cluster:
        result = cluster.run(JOB, "--wait=1")
        assert result.returncode == 1
        (event,) = cluster.api.events
        assert (event["reason"], event["message"]) == (
            "InstallFailed",
            "no pod of the function is ready",
        )
        assert cluster.webhooks() == []
        with socket.create_server(("127.0.0.1", 0)) as other:  # that speaks no TLS
            cluster.put_endpoints(other.getsockname()[1])
            assert cluster.run(JOB, "--wait=1").returncode == 1
        assert "127.0.0.1" in cluster.api.events[-1]["message"]
        assert cluster.webhooks() == []


def test_a_registration_that_was_removed_stays_so(shared: Pod, tmp_path: Path) -> None:
    """It is how calls are stopped at once."""
    with installed(shared, tmp_path) as (cluster, _):
        cluster.api.delete("admissionregistration.k8s.io/v1", REGISTRATIONS[0], "", "eci-profile")
        cluster.put_secret("eci-profile-ca", {})
        cluster.done(CRON_JOB, "--wait=0")
        assert cluster.bundle().startswith(cluster.secret("eci-profile-ca")["tls.crt"])
        cluster.choice = Choice("deployment", components=("before-1.27",))
        assert "was deleted and is not created again" in cluster.done(JOB, "--wait=0")
        names = cluster.api.names()
        assert f"{REGISTRATIONS[0]}/eci-profile" not in names
        assert f"{REGISTRATIONS[1]}/eci-profile" in names


@pytest.mark.no_cover
def test_the_same_manifest_keeps_an_administrators_change_and_another_does_not(
    shared: Pod, tmp_path: Path
) -> None:
    with installed(shared, tmp_path) as (cluster, pod):
        registration = copy.deepcopy(cluster.registration(REGISTRATIONS[0]))
        registration["webhooks"][0]["failurePolicy"] = "Fail"
        # As when the function narrows it.
        registration["webhooks"].append(
            {**registration["webhooks"][0], "name": "b.eci-profile.svc"}
        )
        key = ("admissionregistration.k8s.io/v1", REGISTRATIONS[0], "")
        cluster.api.put(*key, registration)
        was = copy.deepcopy(cluster.api.objects)
        cluster.done(JOB)
        assert cluster.api.objects == was

        cluster.put_secret("eci-profile-ca", {})
        cluster.done(CRON_JOB, "--wait=0")
        assert len(cluster.registration(REGISTRATIONS[0])["webhooks"]) == 2
        assert cluster.bundle().startswith(cluster.secret("eci-profile-ca")["tls.crt"])

        for components in ((BINDING,), ()):
            cluster.choice = Choice("deployment", components=components)
            data = only(cluster.documents, "ConfigMap")
            cluster.api.put("v1", "configmaps", NAMESPACE, data)
            pod.take_up()
            cluster.done(JOB)
            found = cluster.registration(REGISTRATIONS[0])["webhooks"]
            assert len(found) == 1 + len(components)
            assert {webhook["failurePolicy"] for webhook in found} == {"Ignore"}
            assert cluster.bundle().startswith(cluster.secret("eci-profile-ca")["tls.crt"])


@contextlib.contextmanager
def following(cluster: Cluster) -> Iterator[Local]:
    """The function with narrow-registration, in this process."""
    cluster.api.narrow_registration = True
    kubeconfig = cluster.api.write_kubeconfig(cluster.directory / "function.kubeconfig")
    settings = {"KUBECONFIG": str(kubeconfig), "ECI_PROFILE_REGISTRATION": "eci-profile"}
    with local(settings) as function:
        yield function


def look(function: Local, result: str) -> None:
    """Have it look at the registration, with this result."""
    metric = "eci_profile_registration_checks_total"
    before = function.metric(metric, result=result)
    function.pass_time(5.1)
    assert function.request("GET", "/readyz").status == 200
    wait_until(lambda: function.metric(metric, result=result) > before)


def names(cluster: Cluster) -> list[str]:
    found = cluster.registration(REGISTRATIONS[0])["webhooks"]
    return [webhook["name"].removesuffix("mutate.eci-profile.svc") for webhook in found]


@pytest.mark.no_cover
def test_a_registration_that_follows_the_profile_stays_narrow_and_can_be_wide_again(
    shared: Pod, tmp_path: Path
) -> None:
    narrow = ["", "0-default-pod-selector.", "1-default-namespace-selector."]
    with clustered(tmp_path, Choice("deployment", components=(NARROW,))) as cluster:
        cluster.done(CRON_JOB)
        pod = moved(shared, cluster)
        with following(cluster) as function:
            cluster.put_endpoints(pod.port)
            data = only(cluster.documents, "ConfigMap")["data"]
            cluster.api.put(*PROFILE[:3], yaml.safe_load(data["profile.yaml"]))
            look(function, "unchanged")  # there is no webhook yet
            cluster.done(JOB)
            look(function, "written")
            assert names(cluster) == narrow
            was = copy.deepcopy(cluster.api.objects)
            cluster.done(JOB)  # as when the same file is applied again
            assert cluster.api.objects == was

            cluster.put_secret("eci-profile-ca", {})
            cluster.done(CRON_JOB, "--wait=0")
            assert cluster.bundle().startswith(cluster.secret("eci-profile-ca")["tls.crt"])
            assert names(cluster) == narrow
            look(function, "unchanged")

            for components, written in (
                ((NARROW, "before-1.27"), narrow),
                (("before-1.27",), [""]),
            ):
                cluster.choice = Choice("deployment", components=components)
                data = only(cluster.documents, "ConfigMap")
                cluster.api.put("v1", "configmaps", NAMESPACE, data)
                # As the ClusterRole of the file says, which is applied before the Job runs.
                cluster.api.narrow_registration = NARROW in components
                cluster.done(JOB, "--wait=0")
                assert names(cluster) == [""]
                assert "matchConditions" not in cluster.webhooks()[0]
                look(function, "written" if NARROW in components else "failed")
                assert names(cluster) == written


def test_what_the_function_writes_while_the_ca_is_replaced_is_kept(
    shared: Pod, tmp_path: Path
) -> None:
    choice = Choice("deployment", components=(NARROW,))
    with installed(shared, tmp_path, choice) as (cluster, _):
        profile = parse(
            {"selectors": '[{"name": "a", "objectSelector": {"matchLabels": {"a": "b"}}}]'}
        )

        def change() -> None:
            wide = cluster.registration(REGISTRATIONS[0])
            cluster.api.put_registration(narrowed(wide, profile))

        cluster.put_secret("eci-profile-ca", {})
        registrations = "/apis/admissionregistration.k8s.io/"
        with cluster.api.meanwhile(change, registrations):
            cluster.done(CRON_JOB, "--wait=0")
        assert [r.path for r in cluster.api.requests if r.status == 409] == [
            f"{registrations}v1/{REGISTRATIONS[0]}/eci-profile"
        ]
        assert names(cluster) == ["", "0-a."]
        assert cluster.bundle().startswith(cluster.secret("eci-profile-ca")["tls.crt"])


@pytest.mark.parametrize("certs", ["self-signed", "cert-manager"])
def test_certificates_of_others_are_trusted_as_they_say(
    certs: str, shared: Pod, tmp_path: Path
) -> None:
    with clustered(tmp_path, Choice("deployment", certs)) as cluster:
        ca = new_ca(NOW)
        certificate = new_certificate(ca, DNS_NAME, NOW)
        cluster.put_secret("eci-profile-tls", {**ages(certificate), "ca.crt": ca.certificate})
        pod = moved(shared, cluster)
        cluster.put_endpoints(pod.port)
        cluster.done(JOB)
        if certs == "self-signed":
            call(cluster, pod)
        else:  # as cert-manager's CA injector does, which the next manifest must not undo
            for webhook in cluster.webhooks():
                assert "caBundle" not in webhook["clientConfig"]
            for resource in REGISTRATIONS:
                registration = copy.deepcopy(cluster.registration(resource))
                registration["webhooks"][0]["clientConfig"]["caBundle"] = "eA=="
                version = registration["apiVersion"]
                cluster.api.put(version, resource, "", registration)
            cluster.choice = Choice("deployment", certs, components=("before-1.27",))
            data = only(cluster.documents, "ConfigMap")
            cluster.api.put("v1", "configmaps", NAMESPACE, data)
            cluster.done(JOB)
            assert "matchConditions" not in cluster.webhooks()[0]
            assert cluster.bundle() == b"x"
        asked_for = rights(cluster, JOB)
        assert asked_for < granted(cluster.documents, "eci-profile-install")
        assert {name for _, _, what, name in asked_for if what == "secrets"} == (
            {"eci-profile-tls"} if certs == "self-signed" else set()
        )


def test_a_function_behind_a_url_is_asked_there(shared: Pod, tmp_path: Path) -> None:
    choice = Choice("external", url=URL)
    with clustered(tmp_path, choice) as cluster:
        certificate = trustme.CA().issue_cert("localhost")
        data = {
            "tls.crt": b"".join(pem.bytes() for pem in certificate.cert_chain_pems),
            "tls.key": certificate.private_key_pem.bytes(),
        }
        assert not any(key[1] == "secrets" for key in cluster.api.objects)
        cluster.api.put_namespace(NAMESPACE)
        cluster.put_secret("eci-profile-tls", data)
        pod = moved(shared, cluster)
        config = copy.deepcopy(only(cluster.documents, "ConfigMap"))
        url = f"https://localhost:{pod.port}"
        text = config["data"]["registration.yaml"]
        config["data"]["registration.yaml"] = text.replace(URL, "https://localhost:1")
        cluster.api.put("v1", "configmaps", NAMESPACE, config)
        assert cluster.run(JOB, "--wait=0").returncode == 1
        assert "https://localhost:1/readyz" in cluster.api.events[0]["message"]
        assert cluster.webhooks() == []
        config = copy.deepcopy(config)
        config["data"]["registration.yaml"] = text.replace(URL, url)
        cluster.api.put("v1", "configmaps", NAMESPACE, config)
        cluster.done(JOB, "--wait=5")
        assert [webhook["clientConfig"] for webhook in cluster.webhooks()] == [
            {"url": f"{url}/mutate"},
            {"url": f"{url}/validate"},
        ]


@pytest.mark.no_cover
def test_registrations_before_kubernetes_1_16(shared: Pod, tmp_path: Path) -> None:
    choice = Choice("deployment", components=("before-1.16",))
    with installed(shared, tmp_path, choice) as (cluster, pod):
        versions = {cluster.registration(each)["apiVersion"] for each in REGISTRATIONS}
        assert versions == {"admissionregistration.k8s.io/v1beta1"}
        call(cluster, pod)
        cluster.put_secret("eci-profile-ca", {})
        cluster.done(CRON_JOB, "--wait=0")
        assert cluster.bundle().count(b"BEGIN") == 2


def test_the_old_cas_of_others_stay_trusted_until_then(shared: Pod, tmp_path: Path) -> None:
    """Where a certificate that somebody else made is taken over."""
    with installed(shared, tmp_path) as (cluster, pod):
        theirs = new_ca(NOW)
        certificate = new_certificate(theirs, DNS_NAME, NOW)
        cluster.put_secret("eci-profile-ca", {})
        data: dict[str, Any] = {**ages(certificate), "ca.crt": theirs.certificate}
        cluster.put_secret("eci-profile-tls", data)
        pod.take_up()
        wait_until(lambda: shown(pod) == loaded(certificate.certificate).serial_number)
        cluster.done(CRON_JOB, "--wait=0")
        assert theirs.certificate in cluster.bundle()
        call(cluster, pod)


def shown(pod: Pod) -> int:
    pem = ssl.get_server_certificate(("127.0.0.1", pod.port), timeout=5)
    return loaded(pem.encode()).serial_number
