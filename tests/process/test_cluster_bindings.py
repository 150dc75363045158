"""Effects at binding over real sockets: which objects are read, how often, and error handling."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from apiserver import USER, APIServer
from hosts import container
from local import Local, local
from server import (
    DATA,
    REVIEW_HEADERS,
    REVIEW_PATH,
    Server,
    Service,
    binding_of,
    checked,
    exchange,
    patch_of,
    wait_until,
)

NODES = "/api/v1/nodes/"
PODS = "/api/v1/namespaces/default/pods/"
VIRTUAL = {"k8s.aliyun.com/vnode": "true", "type": "virtual-kubelet"}
COST = "controller.kubernetes.io/pod-deletion-cost"
BURST = {
    "name": "burst",
    "objectSelector": {"matchLabels": {"burst": "true"}},
    "policy": {"fair": {}},
    "effect": {"at": "binding", "annotations": {COST: "-1000"}},
}


@pytest.fixture
def api(api: APIServer) -> APIServer:
    """An API server with the component's RBAC, a profile, a virtual node and a worker node."""
    api.effects_at_binding = True
    put_profile(api, BURST)
    api.put_node("vk", VIRTUAL)
    api.put_node("worker")
    put_pod(api, "web")
    return api


def put_profile(api: APIServer, *selectors: Any) -> None:
    api.put_config_map("kube-system", "eci-profile", {"selectors": json.dumps(selectors)})


def put_pod(api: APIServer, name: str, **metadata: Any) -> None:
    pod = json.loads((DATA / "objects" / "pod-pending.json").read_text())
    pod["metadata"] |= {"name": name, "namespace": "default"}
    pod["metadata"]["annotations"]["eci-profile/selectors"] = '["burst"]'
    pod["metadata"] |= metadata
    api.put_pod("default", pod)


def settings_for(api: APIServer, directory: Path, **settings: str) -> dict[str, str]:
    return {
        "KUBECONFIG": str(api.write_kubeconfig(directory / "kubeconfig")),
        "ECI_PROFILE_TTL": "30",
        "ECI_PROFILE_BINDING": "1",
        **settings,
    }


def on(api: APIServer, directory: Path, **settings: str) -> AbstractContextManager[Local]:
    """Run the function in this process, with a clock that the test can advance."""
    return local(settings_for(api, directory, **settings))


def bound(server: Service, name: str = "web", node: str = "vk") -> list[dict[str, Any]]:
    """Return the patch for the Binding."""
    review = binding_of("default", name, node)
    response = checked(server.post(review), review)
    assert response["allowed"]
    return patch_of(response)


def refused(server: Service, name: str = "web", node: str = "vk") -> str:
    """Return the error message of the 503 response."""
    reply = server.post(binding_of("default", name, node))
    assert reply.status == 503, reply.body
    message: str = reply.json["message"]
    return message


EFFECT = [{"op": "add", "path": "/metadata/annotations", "value": {COST: "-1000"}}]


def test_a_burst_reads_each_node_once_and_each_pod_once(api: APIServer, tmp_path: Path) -> None:
    pods = [f"pod-{number}" for number in range(1000)]
    virtual = {f"node-{number}": number % 5 == 0 for number in range(50)}
    for node, is_virtual in virtual.items():
        api.put_node(node, VIRTUAL if is_virtual else {})
    for pod in pods:
        put_pod(api, pod)
    nodes = [f"node-{number % 50}" for number in range(1000)]
    with container(settings_for(api, tmp_path), tmp_path / "server.log") as server:
        with ThreadPoolExecutor(32) as threads, connections(server) as post:
            answers = list(threads.map(post, pods, nodes))
        for answer, node in zip(answers, nodes, strict=True):
            assert answer == (EFFECT if virtual[node] else [])
        reads = [request.path for request in api.requests]
        assert sorted(path for path in reads if path.startswith(NODES)) == sorted(
            NODES + node for node in virtual
        )
        wanted = [pod for pod, node in zip(pods, nodes, strict=True) if virtual[node]]
        assert sorted(path for path in reads if path.startswith(PODS)) == sorted(
            PODS + pod for pod in wanted
        )
        assert len(reads) == 1 + 50 + 200  # the profile once, and no namespace
        assert server.log_lines()[-1]["level"] == "INFO"


@contextmanager
def connections(server: Server) -> Iterator[Any]:
    """Return a function that posts a binding on a connection kept per thread."""
    kept = threading.local()
    opened: list[http.client.HTTPConnection] = []

    def post(pod: str, node: str) -> list[dict[str, Any]]:
        if not hasattr(kept, "connection"):
            kept.connection = server.connect()
            opened.append(kept.connection)
        review = binding_of("default", pod, node, uid=None)
        body = json.dumps(review).encode()
        reply = exchange(kept.connection, "POST", REVIEW_PATH, body, REVIEW_HEADERS)
        return patch_of(checked(reply, review))

    yield post
    for connection in opened:
        connection.close()


def test_a_binding_to_a_normal_node_reads_no_pod_and_later_ones_nothing(
    api: APIServer, tmp_path: Path
) -> None:
    with on(api, tmp_path) as server:
        assert bound(server, node="worker") == []
        assert [request.path for request in api.requests][1:] == [f"{NODES}worker"]
        api.clear_requests()
        assert bound(server, node="worker") == []
        assert api.requests == []


def test_off_reads_nothing(api: APIServer, tmp_path: Path) -> None:
    with on(api, tmp_path, ECI_PROFILE_BINDING="") as server:
        assert bound(server) == []
        assert api.requests == []


def test_a_profile_without_effects_at_binding_reads_only_itself(
    api: APIServer, tmp_path: Path
) -> None:
    put_profile(api, {**BURST, "effect": {"annotations": {"a": "b"}}})
    with on(api, tmp_path) as server:
        assert bound(server) == []
        assert len(api.requests) == 1


def test_the_current_pod_is_read_for_each_binding(api: APIServer, tmp_path: Path) -> None:
    with on(api, tmp_path) as server:
        assert bound(server) == EFFECT
        put_pod(api, "web", labels={"burst": "true", "alibabacloud.com/eci": "false"})
        assert bound(server) == []
        put_pod(api, "web", labels={})
        assert bound(server) == []
        owners = [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "1"}]
        put_pod(api, "web", ownerReferences=[{**owners[0], "controller": True}])
        assert bound(server) == []
        put_pod(api, "web", ownerReferences=owners)
        assert bound(server) == EFFECT
        assert api.count("GET", f"{PODS}web") == 5
        assert api.count("GET", NODES) == 1


def test_the_pods_uid_must_match(api: APIServer, tmp_path: Path) -> None:
    uid = api.get("v1", "pods", "default", "web")["metadata"]["uid"]
    with on(api, tmp_path) as server:
        for given, effect in ((uid, EFFECT), ("another", [])):
            review = binding_of("default", "web", "vk", given)
            assert patch_of(checked(server.post(review), review)) == effect


def test_the_namespace_is_read_if_it_can_matter(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, {**BURST, "namespaceSelector": {"matchLabels": {"eci": "true"}}})
    with on(api, tmp_path) as server:
        assert bound(server) == []
        assert api.count("GET", "/api/v1/namespaces/default") == 2  # the namespace and the pod
        api.put_namespace("default", {"eci": "true"})
        server.pass_time(31)
        assert bound(server) == EFFECT
        put_pod(api, "bare", annotations={})
        api.clear_requests()
        server.pass_time(31)
        assert bound(server, "bare") == []  # no selector was applied at creation
        assert api.count("GET", "/api/v1/namespaces/default") == api.count("GET", PODS) == 1
        with api.fault("status", "/api/v1/namespaces/default", code=500):
            assert refused(server)


def test_new_node_labels_are_used_after_the_ttl(api: APIServer, tmp_path: Path) -> None:
    with on(api, tmp_path, ECI_PROFILE_NODE_TTL="60") as server:
        assert bound(server) == EFFECT
        assert bound(server, node="worker") == []
        api.put_node("vk", {"type": "virtual-kubelet"})
        api.put_node("worker", VIRTUAL)
        server.pass_time(61)
        assert bound(server) == []
        assert bound(server, node="worker") == EFFECT


def test_nodes_can_be_read_for_every_binding(api: APIServer, tmp_path: Path) -> None:
    with on(api, tmp_path, ECI_PROFILE_NODE_TTL="0") as server:
        assert bound(server) == EFFECT
        api.put_node("vk")
        assert bound(server) == []
        assert api.count("GET", NODES) == 2


def test_a_renamed_or_deleted_node_is_503(api: APIServer, tmp_path: Path) -> None:
    with on(api, tmp_path, ECI_PROFILE_NODE_TTL="60") as server:
        assert bound(server) == EFFECT
        api.delete_node("vk")
        api.put_node("vk-2", VIRTUAL)
        server.pass_time(61)
        assert 'node vk: the API server returned 404: nodes "vk" not found' in refused(server)
        assert bound(server, node="vk-2") == EFFECT
        assert "not found" in refused(server, node="never")
        api.put_node("never")
        server.pass_time(1.1)  # a missing node is retried every second
        assert bound(server, node="never") == []


def test_a_deleted_pod_is_503(api: APIServer, tmp_path: Path) -> None:
    with on(api, tmp_path) as server:
        assert bound(server) == EFFECT
        api.delete_pod("default", "web")
        assert 'pods "web" not found' in refused(server)
        put_pod(api, "web")
        assert bound(server) == EFFECT


def test_missing_permissions_are_503_and_named(api: APIServer, tmp_path: Path) -> None:
    api.effects_at_binding = False
    with on(api, tmp_path) as server:
        assert (
            f'nodes "vk" is forbidden: User "{USER}" cannot get resource "nodes" in API group ""'
            " at the cluster scope; grant it to the service account"
        ) in refused(server)
        assert api.count("GET", PODS) == 0


FAULTS: list[tuple[Any, dict[str, Any]]] = [
    ("status", {"code": 401}),
    ("status", {"code": 403}),
    ("status", {"code": 404}),
    ("status", {"code": 429, "retry_after": 1}),
    ("status", {"code": 500}),
    ("silent", {}),
    ("slow", {"delay": 5}),
    ("trickle", {"delay": 0.3}),
    ("garbage", {}),
    ("garbage", {"body": b" " * 9_000_000}),
    ("wrong_kind", {}),
    ("cut", {}),
    ("reset", {}),
]
_IDS = [f"{kind}-{options.get('code', len(options.get('body', '')))}" for kind, options in FAULTS]


@pytest.mark.parametrize(("kind", "options"), FAULTS, ids=_IDS)
@pytest.mark.parametrize("path", [f"{NODES}vk", f"{PODS}web"], ids=["node", "pod"])
def test_a_bad_response_is_503_in_time_and_the_next_good_one_is_used(
    path: str, kind: Any, options: dict[str, Any], api: APIServer, tmp_path: Path
) -> None:
    with on(api, tmp_path) as server:
        with api.fault(kind, path, **options):
            began = time.monotonic()
            assert refused(server)
            assert time.monotonic() - began < 2.5
            assert bound(server, node="worker") == []  # other bindings are not delayed
        server.pass_time(2)
        # The first review may still share the load that the failed one started.
        wait_until(lambda: server.post(binding_of("default", "web", "vk")).status == 200, 3)
        assert bound(server) == EFFECT


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (NODES, {"kind": "Pod", "metadata": {"name": "vk", "labels": VIRTUAL}}),
        (NODES, {"kind": "Node", "metadata": {"labels": {"k8s.aliyun.com/vnode": True}}}),
        (NODES, {"kind": "Node", "metadata": {"labels": list(VIRTUAL)}}),
        (NODES, {"kind": "Node", "metadata": None}),
        (PODS, {"kind": "Node", "metadata": {"labels": {"burst": "true"}}}),
        (PODS, {"kind": "Pod", "metadata": {"annotations": {"eci-profile/selectors": ["burst"]}}}),
        (PODS, {"kind": "Pod", "metadata": {"labels": {"burst": True}}}),
        (PODS, {"kind": "Pod", "metadata": {"ownerReferences": {"kind": "DaemonSet"}}}),
        (PODS, {"kind": "Pod", "metadata": {"uid": 5}}),
    ],
    ids=str,
)
def test_a_malformed_object_is_503(path: str, answer: Any, api: APIServer, tmp_path: Path) -> None:
    with (
        on(api, tmp_path) as server,
        api.fault("wrong_kind", path, body=json.dumps(answer).encode()),
    ):
        assert "did not return the requested object" in refused(server)


def test_a_cached_node_is_used_during_an_outage(api: APIServer, tmp_path: Path) -> None:
    with on(api, tmp_path, ECI_PROFILE_NODE_TTL="60") as server:
        assert bound(server) == EFFECT
        with api.fault("status", NODES, code=403):
            server.pass_time(61)
            assert bound(server) == EFFECT
            server.pass_time(601)  # the last good answer is too old now
            assert "forbidden" in refused(server)


def test_slow_pod_reads_do_not_delay_bindings_to_normal_nodes(
    api: APIServer, tmp_path: Path
) -> None:
    names = [f"pod-{number}" for number in range(60)]
    for name in names:
        put_pod(api, name)
    with container(settings_for(api, tmp_path), tmp_path / "server.log") as server:
        assert bound(server, node="worker") == []
        with api.fault("slow", PODS, delay=10), ThreadPoolExecutor(60) as threads:
            began = time.monotonic()
            waiting = [threads.submit(refused, server, name) for name in names]
            while time.monotonic() < began + 1:
                asked = time.monotonic()
                assert bound(server, node="worker") == []
                assert time.monotonic() - asked < 1
                time.sleep(0.005)
            for each in waiting:
                assert "in time" in (reason := each.result()) or "timed out" in reason
            assert time.monotonic() - began < 6
        assert bound(server, names[0]) == EFFECT
        # Lookups whose callers have timed out are never sent.
        assert api.count("GET", PODS) < len(names)
