"""What make install finds in a cluster before it writes: real kubectl against a server."""

from __future__ import annotations

import copy
import json
import os
import pty
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import APIServer
from cli import run as run_handler
from cluster_jobs import JOB, Cluster
from manifests import IMAGE, K8S, URL, Choice, administrator, needs_kubectl

pytestmark = needs_kubectl

VNODE = {"type": "virtual-kubelet", "k8s.aliyun.com/vnode": "true"}
VNODE_TAINT = "k8s.aliyun.com/vnode=true:NoSchedule"
ACK = {"type": "virtual-kubelet", "kubernetes.io/arch": "amd64"}
ACK_TAINT = "virtual-kubelet.io/provider=alibabacloud:NoSchedule"
REGISTRATION = ("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", "")
PROFILE = ("v1", "configmaps", "kube-system", "eci-profile")
INSTALL = [str(K8S / "install.sh"), "install"]
NAMED = {"PROFILE_NAME": "eci-profile", "PROFILE_NAMESPACE": "kube-system"}
"""What install.sh tells preflight.sh by default."""


@pytest.fixture
def cluster() -> Iterator[APIServer]:
    with APIServer() as cluster:
        cluster.put_node("cn-hangzhou.10.0.0.1", {"kubernetes.io/os": "linux"})
        yield cluster


def environment(cluster: APIServer, directory: Path, **variables: str) -> dict[str, str]:
    kubeconfig = cluster.write_kubeconfig(directory / "admin.kubeconfig", admin=True)
    return {**administrator(kubeconfig), "HOST": "external", "URL": URL, **variables}


def install(
    cluster: APIServer, directory: Path, command: Sequence[str] = INSTALL, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment(cluster, directory, **variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def installed(cluster: APIServer, directory: Path, **variables: str) -> str:
    result = install(cluster, directory, **variables)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def preflight(directory: Path) -> list[str]:
    """What install.sh runs before it writes."""
    work = directory / "preflight"
    work.mkdir(exist_ok=True)
    return [str(K8S / "preflight.sh"), str(work)]


def looked_at(cluster: APIServer, directory: Path, **variables: str) -> str:
    """What an installation would say first. It goes no further, which takes longer."""
    result = install(cluster, directory, preflight(directory), **{**NAMED, **variables})
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def put_registration(cluster: APIServer, name: str, service: str) -> None:
    namespace, _, service = service.partition("/")
    client = {"service": {"namespace": namespace, "name": service}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    rules = [{**rule, "operations": ["CREATE"]}]
    webhooks = [{"name": "a.example.com", "clientConfig": client, "rules": rules}]
    written = {"kind": "MutatingWebhookConfiguration", "metadata": {"name": name}}
    cluster.put(*REGISTRATION, {**written, "webhooks": webhooks})


def put_deployment(cluster: APIServer, namespace: str, name: str) -> None:
    written = {"kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": 1}}
    cluster.put("apps/v1", "deployments", namespace, written)


def toleration(taint: str) -> dict[str, str]:
    key, _, rest = taint.partition("=")
    value, _, effect = rest.partition(":")
    return {"key": key, "operator": "Equal", "value": value, "effect": effect}


def virtual_node(label: str, *taints: str) -> dict[str, Any]:
    key, _, value = label.partition("=")
    return {"nodeSelector": {key: value}, "tolerations": [toleration(taint) for taint in taints]}


ARM = "kubernetes.io/arch=arm64:NoSchedule"
PASSING = (
    "node.kubernetes.io/not-ready=:NoExecute",
    "node.cloudprovider.kubernetes.io/uninitialized=true:NoSchedule",
    "ToBeDeletedByClusterAutoscaler=1700000000:NoSchedule",
    "DeletionCandidateOfClusterAutoscaler=1700000000:PreferNoSchedule",
    "example.com/rather-not=:PreferNoSchedule",
)


VIRTUAL_NODES: list[tuple[list[tuple[dict[str, str], list[str]]], str, Any]] = [
    ([], "there is no virtual node", None),
    ([(VNODE, [VNODE_TAINT])], "the cluster has VNode", None),
    ([(VNODE, [])], "the default virtualNode matches", None),
    (
        [(VNODE, [VNODE_TAINT, ACK_TAINT])],
        "virtualNode in the new profile is set to this",
        virtual_node("k8s.aliyun.com/vnode=true", VNODE_TAINT, ACK_TAINT),
    ),
    (
        [({"k8s.aliyun.com/vnode": ""}, [])],
        "VNode",
        {"nodeSelector": {"k8s.aliyun.com/vnode": ""}},
    ),
    (
        [(ACK, [ACK_TAINT])],
        "the cluster has virtual nodes of ack-virtual-node, as on ACK",
        virtual_node("type=virtual-kubelet", ACK_TAINT),
    ),
    ([(ACK, [*PASSING, ACK_TAINT])], "ACK", virtual_node("type=virtual-kubelet", ACK_TAINT)),
    (
        [(ACK, ["virtual-kubelet.io/provider=azure:NoSchedule"])],
        "of neither VNode nor ack-virtual-node",
        virtual_node("type=virtual-kubelet", "virtual-kubelet.io/provider=azure:NoSchedule"),
    ),
    (
        [(ACK, taints) for taints in ([ACK_TAINT, ARM], [ARM, ACK_TAINT], *[[ACK_TAINT]] * 3)],
        "on the others, add them to virtualNodes",
        virtual_node("type=virtual-kubelet", ACK_TAINT),
    ),
]


def put_virtual_nodes(cluster: APIServer, nodes: list[tuple[dict[str, str], list[str]]]) -> None:
    for number, (labels, taints) in enumerate(nodes):
        cluster.put_node(f"virtual-node-{number}", labels, taints)


@pytest.mark.parametrize(("nodes", "said", "wanted"), VIRTUAL_NODES)
def test_the_virtual_node_that_is_there_is_known(
    nodes: list[tuple[dict[str, str], list[str]]],
    said: str,
    wanted: Any,
    cluster: APIServer,
    tmp_path: Path,
) -> None:
    put_virtual_nodes(cluster, nodes)
    was = copy.deepcopy(cluster.objects)
    assert said in looked_at(cluster, tmp_path)
    assert cluster.objects == was
    component = tmp_path / "preflight" / "virtual-node" / "kustomization.yaml"
    assert component.exists() == (wanted is not None)
    data = {"selectors": "[]"}
    if wanted is not None:
        ((operation,),) = (
            yaml.safe_load(each["patch"])
            for each in yaml.safe_load(component.read_text())["patches"]
        )
        data["virtualNode"] = operation["value"]
        assert json.loads(data["virtualNode"]) == wanted
    cluster.put_config_map("kube-system", "eci-profile", data)
    checked = run_handler("check", "-", text=json.dumps(cluster.get(*PROFILE)))
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(("nodes", "said", "wanted"), [VIRTUAL_NODES[1], VIRTUAL_NODES[-1]])
def test_a_new_profile_gets_the_virtual_node_that_is_there(
    nodes: list[tuple[dict[str, str], list[str]]],
    said: str,
    wanted: Any,
    cluster: APIServer,
    tmp_path: Path,
) -> None:
    put_virtual_nodes(cluster, nodes)
    assert said in installed(cluster, tmp_path)
    data = cluster.get(*PROFILE)["data"]
    assert (json.loads(data["virtualNode"]) if "virtualNode" in data else None) == wanted
    checked = run_handler("check", "-", text=json.dumps(cluster.get(*PROFILE)))
    assert checked.returncode == 0, checked.stdout
    assert "virtualNode in the profile matches" in looked_at(cluster, tmp_path)


def test_a_new_profile_under_another_name_gets_it_too(cluster: APIServer, tmp_path: Path) -> None:
    cluster.put_node("virtual-node-0", ACK, [ACK_TAINT])
    installed(cluster, tmp_path, PROFILE_NAME="acs-profile", PROFILE_NAMESPACE="kube-public")
    data = cluster.get("v1", "configmaps", "kube-public", "acs-profile")["data"]
    assert json.loads(data["virtualNode"]) == virtual_node("type=virtual-kubelet", ACK_TAINT)


def test_the_profile_that_a_job_creates_gets_it_too(cluster: APIServer, tmp_path: Path) -> None:
    cluster.put_node("virtual-node-0", ACK, [ACK_TAINT])
    by_job = {"HOST": "deployment", "URL": "", "IMAGE": IMAGE}
    assert "virtualNode in the new profile is set to this" in installed(cluster, tmp_path, **by_job)
    installation = Cluster(cluster, tmp_path, Choice("deployment"))
    with socket.create_server(("127.0.0.1", 0)) as refusing:
        installation.put_endpoints(refusing.getsockname()[1])
        assert installation.run(JOB, "--wait=0").returncode == 1
    data = cluster.get(*PROFILE)["data"]
    assert json.loads(data["virtualNode"]) == virtual_node("type=virtual-kubelet", ACK_TAINT)
    assert "virtualNode in the profile matches" in looked_at(cluster, tmp_path)
    assert cluster.get(*PROFILE)["data"] == data


def test_for_an_existing_profile_the_virtual_node_is_suggested(
    cluster: APIServer, tmp_path: Path
) -> None:
    cluster.put_node("virtual-node-0", ACK, [ACK_TAINT])
    cluster.put_config_map("kube-system", "eci-profile", {"selectors": "[]"})
    lines = installed(cluster, tmp_path).splitlines()
    assert cluster.get(*PROFILE)["data"] == {"selectors": "[]"}

    (command,) = (line for line in lines if line.startswith("kubectl -n kube-system patch"))
    subprocess.run(["/bin/sh", "-c", command], env=environment(cluster, tmp_path), check=True)
    data = cluster.get(*PROFILE)["data"]
    assert json.loads(data["virtualNode"]) == virtual_node("type=virtual-kubelet", ACK_TAINT)
    assert "virtualNode in the profile matches" in looked_at(cluster, tmp_path)

    own = {"selectors": "[]", "virtualNode": '{"nodeSelector": {"a": "b"}}'}
    cluster.put_config_map("kube-system", "eci-profile", own)
    out = looked_at(cluster, tmp_path)
    assert "compare this with virtualNode in the profile" in out
    assert own["virtualNode"] in out


def test_without_the_right_to_list_nodes_it_goes_on(cluster: APIServer, tmp_path: Path) -> None:
    cluster.put_node("virtual-node-0", ACK, [ACK_TAINT])
    cluster.fault("status", "/api/v1/nodes", code=403)
    assert "nodes can't be listed" in installed(cluster, tmp_path)
    assert "virtualNode" not in cluster.get(*PROFILE)["data"]


@pytest.mark.parametrize(
    ("name", "service", "deployment"),
    [
        ("vk-webhook", "kube-system/vk-webhook", ""),
        ("alicloud-eci-profile", "kube-system/another", ""),
        ("eci-profile", "kube-system/eci-profile", ""),  # its Service's name counts
        ("", "", "alicloud-eci-profile"),
    ],
)
def test_it_refuses_to_install_over_another_component(
    name: str, service: str, deployment: str, cluster: APIServer, tmp_path: Path
) -> None:
    put_registration(cluster, "cert-manager-webhook", "cert-manager/cert-manager-webhook")
    if name:
        put_registration(cluster, name, service)
        found = f"MutatingWebhookConfiguration {name}"
    else:
        put_deployment(cluster, "kube-system", deployment)
        found = f"Deployment kube-system/{deployment}"
    was = copy.deepcopy(cluster.objects)
    result = install(cluster, tmp_path)
    assert result.returncode == 1
    if name == "eci-profile":
        assert "MutatingWebhookConfiguration eci-profile belongs to another" in result.stderr
    else:
        assert result.stderr.startswith(f"install.sh: {found} reads the same profile")
    assert cluster.objects == was

    if name == "vk-webhook":
        out = looked_at(cluster, tmp_path, PROFILE_NAME="another")
        assert "it reads kube-system/eci-profile, not kube-system/another" in out
        out = installed(cluster, tmp_path, FORCE="1")
    else:
        out = looked_at(cluster, tmp_path, FORCE="1")
    assert f"Alibaba Cloud's own component is in the cluster: {found}" in out


def test_its_own_registration_is_no_other_component(cluster: APIServer, tmp_path: Path) -> None:
    put_registration(cluster, "cert-manager-webhook", "cert-manager/cert-manager-webhook")
    put_deployment(cluster, "default", "alicloud-eci-profile")
    for run in (installed, looked_at):
        assert "no other component reads the profile" in run(cluster, tmp_path)


def test_registrations_that_cannot_be_listed_end_it(cluster: APIServer, tmp_path: Path) -> None:
    was = copy.deepcopy(cluster.objects)
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    cluster.fault("status", path, code=403)
    result = install(cluster, tmp_path)
    assert result.returncode != 0
    assert "forbidden" in result.stderr
    assert cluster.objects == was


def at_a_terminal(
    command: list[str], cluster: APIServer, directory: Path, answer: str, **variables: str
) -> tuple[int, str]:
    """Run it with a terminal as standard input; return the exit code and both outputs."""
    ours, terminal = pty.openpty()
    try:
        os.write(ours, answer.encode())
        result = subprocess.run(
            command,
            env=environment(cluster, directory, **variables),
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(ours)
        os.close(terminal)
    return result.returncode, result.stdout


@pytest.mark.parametrize("answer", ["\n", "no\n", "\x04"])
def test_at_a_terminal_it_waits_for_a_yes(answer: str, cluster: APIServer, tmp_path: Path) -> None:
    was = copy.deepcopy(cluster.objects)
    code, out = at_a_terminal(INSTALL, cluster, tmp_path, answer)
    assert code == 1
    assert f"into the cluster of the context test ({cluster.url})" in out
    assert "Install into this cluster? [y/N] install.sh: not installed; nothing was changed" in out
    assert cluster.objects == was


def test_with_a_yes_it_installs(cluster: APIServer, tmp_path: Path) -> None:
    code, out = at_a_terminal(INSTALL, cluster, tmp_path, "y\n")
    assert code == 0, out
    assert "Install into this cluster?" in out
    assert "configmaps/kube-system/eci-profile" in cluster.names()


@pytest.mark.parametrize("answer", ["Yes\n", ""])
def test_a_yes_is_a_word_or_a_variable(answer: str, cluster: APIServer, tmp_path: Path) -> None:
    given = NAMED if answer else {**NAMED, "YES": "1"}
    code, out = at_a_terminal(preflight(tmp_path), cluster, tmp_path, answer, **given)
    assert code == 0, out
    assert ("Install into this cluster?" in out) == bool(answer)


@pytest.mark.parametrize(
    ("minor", "component"),
    [("15", "before-1.16"), ("20", "before-1.21"), ("21", "before-1.27"), ("26+", "before-1.27")],
)
def test_an_older_cluster_needs_a_component(
    cluster: APIServer, tmp_path: Path, minor: str, component: str
) -> None:
    cluster.version["minor"] = minor
    was = copy.deepcopy(cluster.objects)
    failed = install(cluster, tmp_path, COMPONENTS="effects-at-binding")
    assert failed.returncode == 1
    assert failed.stderr.startswith(
        f"install.sh: COMPONENTS: Kubernetes 1.{minor[:2]} needs {component} "
    )
    assert cluster.objects == was
    assert "virtual node" in looked_at(cluster, tmp_path, COMPONENTS=f"a {component} b")


@pytest.mark.parametrize("minor", ["27", "100", ""])
def test_other_clusters_need_none(cluster: APIServer, tmp_path: Path, minor: str) -> None:
    cluster.version["minor"] = minor
    assert "virtual node" in looked_at(cluster, tmp_path)
