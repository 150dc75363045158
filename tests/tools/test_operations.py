"""The commands in the pages about operation: each as it stands there, by real kubectl."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import re
import shutil
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import APIServer
from cli import run as run_handler
from cluster_jobs import CRON_JOB, JOB, Cluster
from hosts import SERVE
from manifests import BINDING, NARROW, Choice, administrator, needs_kubectl
from server import (
    REVIEW_HEADERS,
    REVIEW_PATH,
    ROOT,
    Server,
    checked,
    free_port,
    request,
    review_of,
    running,
    wait_until,
)

pytestmark = [
    needs_kubectl,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
]

OPERATE, INSTALL = "docs/en/operate.md", "docs/en/install.md"
PROFILE = ("v1", "configmaps", "kube-system", "eci-profile")
MUTATING = ("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", "")
OLD, NEW = (f"registry.example.com/eci-profile:{version}" for version in ("1.0", "1.1"))
SELECTORS = '[{"name": "eci", "objectSelector": {"matchLabels": {"eci": "true"}}}]\n'
PAUSE = 0.2  # seconds between the reviews of a client: the replica answers, and does not compete
REVIEW = review_of({"metadata": {"labels": {"eci": "true"}}, "spec": {}})


def commands(page: str, heading: str) -> list[str]:
    """The shell blocks below a heading of a page."""
    _, _, section = (ROOT / page).read_text("utf-8").partition(f"\n## {heading}\n")
    assert section, f"{page} has no heading {heading}"
    section = section.partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


class Shell:
    """Runs blocks one after another in one folder, as an administrator does."""

    def __init__(self, cluster: APIServer, directory: Path) -> None:
        self.directory = directory
        kubeconfig = cluster.write_kubeconfig(directory / "admin.kubeconfig", admin=True)
        self.environment = administrator(kubeconfig)
        for name in ("Makefile", "k8s"):
            (directory / name).symlink_to(ROOT / name)

    def __call__(self, *blocks: str, code: int = 0) -> str:
        result = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", "".join(blocks)],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        assert result.returncode == code, result.stdout
        return result.stdout


@pytest.fixture(scope="module")
def server() -> Iterator[APIServer]:
    with APIServer() as server:
        yield server


@pytest.fixture
def cluster(server: APIServer) -> Iterator[APIServer]:
    empty = server.objects.copy()
    yield server
    server.objects = empty


@pytest.fixture
def shell(cluster: APIServer, tmp_path: Path) -> Shell:
    return Shell(cluster, tmp_path)


def install(image: str = OLD, **variables: str) -> str:
    given = {"HOST": "deployment", "CERTS": "cert-manager", "IMAGE": image, **variables}
    return "make install " + " ".join(f"{key}={value}" for key, value in given.items()) + "\n"


@pytest.fixture(scope="module")
def installed(server: APIServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `make install` makes of an empty cluster, by CERTS."""
    empty, made = server.objects, {}
    for certs in ("cert-manager", "self-renewing"):
        server.objects = empty.copy()
        Shell(server, tmp_path_factory.mktemp(certs))(install(CERTS=certs))
        made[certs] = server.objects
    server.objects = empty
    return made


def content(cluster: APIServer) -> Any:
    """The profile, without what the API server sets and what kubectl notes."""
    found = cluster.get(*PROFILE)
    kept = ("name", "namespace", "labels")
    return {**found, "metadata": {key: found["metadata"].get(key) for key in kept}}


def put_profile(cluster: APIServer, **data: str) -> None:
    found = cluster.get(*PROFILE)
    cluster.put("v1", "configmaps", "kube-system", {**found, "data": data})


def image(cluster: APIServer) -> str:
    deployment = cluster.get("apps/v1", "deployments", "eci-profile", "eci-profile")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


def test_the_emergency_stop_saves_the_profile_first(
    cluster: APIServer, shell: Shell, installed: dict[str, Any]
) -> None:
    stop, restore, take_away = commands(OPERATE, "Emergency stop")
    cluster.objects = installed["cert-manager"].copy()
    put_profile(cluster, selectors=SELECTORS, vpcId="vpc-1")
    before = content(cluster)
    shell(stop)
    assert content(cluster)["data"] == {"selectors": "[]", "vpcId": "vpc-1"}
    shell(restore)
    assert content(cluster) == before

    names = cluster.names()
    shell(take_away)
    assert names - cluster.names() == {"mutatingwebhookconfigurations/eci-profile"}
    assert content(cluster) == before
    shell(install())
    assert cluster.names() == names
    assert content(cluster) == before


def test_a_saved_profile_is_restored_as_it_was(
    cluster: APIServer, shell: Shell, installed: dict[str, Any]
) -> None:
    save, restore, *_ = commands(OPERATE, "Save and restore the profile")
    cluster.objects = installed["cert-manager"].copy()
    put_profile(cluster, selectors=SELECTORS)
    before = content(cluster)
    shell(save)
    put_profile(cluster, selectors="[]", record="always")
    shell(restore)
    assert content(cluster) == before

    cluster.delete_config_map("kube-system", "eci-profile")
    assert "NotFound" in shell(restore, code=1)
    shell(restore.replace("replace", "create"))
    assert content(cluster) == before
    checked_file = run_handler("check", str(shell.directory / "eci-profile-saved.yaml"))
    assert checked_file.returncode == 0, checked_file.stdout


def test_versions_of_the_profile_in_the_cluster(
    cluster: APIServer, shell: Shell, installed: dict[str, Any]
) -> None:
    _, _, copy_, list_, restore, delete = commands(OPERATE, "Save and restore the profile")
    cluster.objects = installed["cert-manager"].copy()
    names, versions = cluster.names(), []
    for number in range(2):
        put_profile(cluster, selectors=f"# {number}\n{SELECTORS}")
        versions.append(content(cluster))
        shell(copy_)
    kept = {f"version={name.rpartition('-')[2]}\n" for name in cluster.names() - names}
    assert len(kept) == 2
    listed = shell(list_)
    assert all(f"eci-profile-{line.strip().partition('=')[2]} " in listed for line in kept)

    for version in sorted(kept, key=lambda line: int(line.strip().partition("=")[2])):
        shell(version, restore)
        assert content(cluster) == versions.pop(0)
    shell("make uninstall\n", delete)
    assert not any(
        name.startswith("configmaps/kube-system/eci-profile-") for name in cluster.names()
    )


@pytest.mark.parametrize("how", ["self-signed", "self-renewing", "one-file"])
def test_uninstall_leaves_only_the_profile(how: str, cluster: APIServer, shell: Shell) -> None:
    (uninstall,) = commands(OPERATE, "Uninstall")
    remove, remove_file, remove_profile = uninstall.splitlines(keepends=True)
    was = copy.deepcopy(cluster.objects)
    components = f"'{BINDING} {NARROW}'"
    if how == "one-file":
        shell(f"make -s manifest IMAGE={OLD} COMPONENTS={components} > eci-profile.yaml\n")
        shell("kubectl apply -f eci-profile.yaml\n")
    else:
        shell(install(COMPONENTS=components, CERTS=how))
    if how != "self-signed":
        cluster.put_config_map("kube-system", "eci-profile", {"selectors": "[]"})  # as the Job does
    shell(remove_file if how == "one-file" else remove)
    assert cluster.objects.keys() - was.keys() == {PROFILE}
    shell(remove_profile)
    assert cluster.objects == was
    if how == "one-file":
        shell(remove_file)


def alibabas_component() -> str:
    """What Alibaba Cloud's eci-profile.yaml consists of."""
    name = {"name": "alicloud-eci-profile"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", **name}
    rbac = "rbac.authorization.k8s.io/v1"
    own: dict[str, Any] = {"metadata": {**name, "namespace": "kube-system"}}
    service = {"name": "eci-profile", "namespace": "kube-system"}
    documents = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": service, "data": {"selectors": "[]"}},
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": name, "rules": []},
        {"apiVersion": "v1", "kind": "ServiceAccount", **own},
        {"apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": name, "roleRef": role},
        {"apiVersion": "v1", "kind": "Service", "metadata": service, "spec": {"ports": []}},
        {"apiVersion": "apps/v1", "kind": "Deployment", **own, "spec": {"replicas": 1}},
    ]
    return yaml.safe_dump_all(documents)


def registration(name: str) -> dict[str, Any]:
    client = {"service": {"namespace": "kube-system", "name": "eci-profile"}}
    rules = [{"apiGroups": [""], "resources": ["pods"], "operations": ["CREATE"]}]
    webhook = {"name": "eci.aliyun.com", "clientConfig": client, "rules": rules}
    return {
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name, "generation": 1},
        "webhooks": [webhook],
    }


def test_alibabas_component_is_removed_and_comes_back(cluster: APIServer, shell: Shell) -> None:
    remove, back, *_ = commands(INSTALL, "Remove Alibaba Cloud's own component")
    before = cluster.names()
    (shell.directory / "alicloud-eci-profile.yaml").write_text(alibabas_component())
    shell("kubectl create -f alicloud-eci-profile.yaml\n")
    put_profile(cluster, selectors=SELECTORS)
    theirs = cluster.names()
    cluster.put(*MUTATING, registration("alicloud-eci-profile"))
    assert "reads the same profile" in shell(install(), code=2)

    shell(remove)
    assert cluster.names() - before == {"configmaps/kube-system/eci-profile"}
    shell(install())
    assert cluster.get(*PROFILE)["data"] == {"selectors": SELECTORS}

    assert "AlreadyExists" in shell(back, code=1)
    assert cluster.names() == theirs
    assert cluster.get(*PROFILE)["data"] == {"selectors": SELECTORS}


def test_the_webhook_of_ack_is_removed_and_comes_back(cluster: APIServer, shell: Shell) -> None:
    _, _, remove, back = commands(INSTALL, "Remove Alibaba Cloud's own component")
    cluster.put(*MUTATING, registration("vk-webhook"))
    webhooks = cluster.get(*MUTATING, "vk-webhook")["webhooks"]
    assert "reads the same profile" in shell(install(), code=2)
    shell(remove, install(), back)
    assert cluster.get(*MUTATING, "vk-webhook")["webhooks"] == webhooks
    assert "mutatingwebhookconfigurations/eci-profile" not in cluster.names()


class Replica:
    """A pod of the Deployment: a real process, which its controller replaces.

    The code of all images is the same.
    """

    def __init__(self, cluster: APIServer, directory: Path, stack: contextlib.ExitStack) -> None:
        self.cluster, self.directory, self.stack = cluster, directory, stack
        self.started = 0
        self.images: dict[int, str] = {}
        self.kubeconfig = cluster.write_kubeconfig(directory / "function.kubeconfig")
        self.tls = directory / "tls"
        self.tls.mkdir()
        secret = cluster.get("v1", "secrets", "eci-profile", "eci-profile-tls")["data"]
        for name in ("tls.crt", "tls.key"):
            (self.tls / name).write_bytes(base64.b64decode(secret[name]))
        # Clients trust what the registration trusts; the certificate is for the Service's name.
        self.trust = ssl.create_default_context(cadata=base64.b64decode(secret["ca.crt"]).decode())
        self.trust.check_hostname = False
        self.server = self.start()

    def start(self) -> Server:
        deployment = self.cluster.get("apps/v1", "deployments", "eci-profile", "eci-profile")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["python", "-m", "handler.serve"]
        port = free_port()
        settings = {each["name"]: each["value"] for each in container["env"]}
        settings |= {"PORT": str(port), "ECI_PROFILE_TLS_DIR": str(self.tls)}
        settings |= {"KUBECONFIG": str(self.kubeconfig), "ECI_PROFILE_DRAIN": "1.5"}
        self.started += 1
        log = self.directory / f"replica-{self.started}.log"
        server = self.stack.enter_context(running(SERVE, port, settings, log, self.trust))
        wait_until(lambda: server.request("GET", "/readyz").status == 200)
        self.images[port] = container["image"]
        return server

    def register(self, jobs: Cluster) -> None:
        """Do what the Job does that `make install` waits for; here it is complete at once."""
        jobs.put_endpoints(self.server.port)
        jobs.done(JOB)
        assert jobs.bundle() == jobs.secret("eci-profile-tls")["ca.crt"]

    def roll_out(self) -> None:
        """maxUnavailable 0, maxSurge 1: it ends when its successor is ready."""
        old, new = self.server, self.start()
        old.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)  # until the cluster has noticed
        self.server = new
        assert old.process.wait(20) == 0


def test_an_upgrade_and_the_way_back_fail_no_review(
    cluster: APIServer, shell: Shell, installed: dict[str, Any], tmp_path: Path
) -> None:
    upgrade, back, _ = commands(OPERATE, "Upgrade")
    cluster.objects = installed["self-renewing"].copy()
    cluster.put_config_map("kube-system", "eci-profile", {"selectors": SELECTORS})
    jobs = Cluster(cluster, tmp_path, Choice("deployment"))
    jobs.done(CRON_JOB)
    failures: list[BaseException] = []
    answered: list[str] = []
    done = threading.Event()
    body = json.dumps(REVIEW).encode()

    with contextlib.ExitStack() as stack:
        replica = Replica(cluster, tmp_path, stack)
        replica.register(jobs)
        was = copy.deepcopy(cluster.objects)

        def client() -> None:
            try:
                while not done.wait(PAUSE):
                    port = replica.server.port
                    reply = request(port, "POST", REVIEW_PATH, body, REVIEW_HEADERS, replica.trust)
                    assert checked(reply, REVIEW)["patch"]
                    answered.append(replica.images[port])
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for block, wanted in ((upgrade, NEW), (back, OLD)):
                shell(block)
                assert image(cluster) == wanted
                replica.roll_out()
                replica.register(jobs)
                enough = len(answered) + 50
                while len(answered) < enough and not failures:
                    time.sleep(0.02)
                assert set(answered[-20:]) == {wanted}
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert failures == []
    # These have another resourceVersion, or had another image.
    changed = {"deployments", "replicasets", "jobs", "cronjobs", "endpoints"}
    for key, before in was.items():
        if key[1] not in changed:
            assert cluster.objects[key] == before


def test_the_deployment_alone_is_rolled_back(
    cluster: APIServer, shell: Shell, installed: dict[str, Any]
) -> None:
    upgrade, _, undo = commands(OPERATE, "Upgrade")
    cluster.objects = installed["self-renewing"].copy()
    names = cluster.names()
    for _ in range(2):
        shell(upgrade)
        assert image(cluster) == NEW
        assert "rolled back" in shell(undo)
        assert image(cluster) == OLD
    (job,) = cluster.names() - names  # of the other image
    assert job.startswith("jobs/eci-profile/eci-profile-install-")
