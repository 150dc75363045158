"""The fake kube-apiserver behaves like the real one, and injects the requested faults."""

from __future__ import annotations

import errno
import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import urllib3
from apiserver import USER, APIServer
from kubernetes import client, config
from kubernetes.config.incluster_config import InClusterConfigLoader
from urllib3.exceptions import NewConnectionError, ProtocolError, ReadTimeoutError

PROFILE = "/api/v1/namespaces/kube-system/configmaps/eci-profile"


@pytest.fixture
def server() -> Iterator[APIServer]:
    with APIServer() as server:
        server.put_config_map("kube-system", "eci-profile", {"profiles": "[]"})
        yield server


@pytest.fixture
def api(server: APIServer, tmp_path: Path) -> Iterator[Any]:
    path = server.write_kubeconfig(tmp_path / "kubeconfig")
    settings = client.Configuration(retries=False)
    connect: Any = config.new_client_from_config
    with connect(str(path), client_configuration=settings) as connection:
        yield client.CoreV1Api(connection)


def read(api: Any, name: str = "eci-profile", **options: Any) -> Any:
    return api.read_namespaced_config_map(name, "kube-system", **{"_request_timeout": 5, **options})


def status_of(error: pytest.ExceptionInfo[Any]) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(error.value.body)
    assert error.value.status == status["code"]
    assert error.value.headers["Content-Type"] == "application/json"
    assert error.value.headers["Cache-Control"] == "no-cache, private"
    assert error.value.headers["Audit-Id"]
    assert (status.pop("kind"), status.pop("apiVersion")) == ("Status", "v1")
    assert (status.pop("metadata"), status.pop("status")) == ({}, "Failure")
    return status


def event(name: str, about: str = "default", **fields: Any) -> dict[str, Any]:
    involved = {"kind": "Pod", "namespace": about, "name": "web-0"}
    return {"metadata": {"name": name}, "involvedObject": involved, **fields}


def test_reads_return_the_current_object(server: APIServer, api: Any) -> None:
    before = read(api)
    server.put_config_map("kube-system", "eci-profile", {"a": "b"}, binary_data={"c": b"\0"})
    after = read(api)
    assert (before.data, after.data, after.binary_data) == (
        {"profiles": "[]"},
        {"a": "b"},
        {"c": "AA=="},
    )
    assert int(after.metadata.resource_version) > int(before.metadata.resource_version)
    assert after.metadata.uid == before.metadata.uid
    assert after.metadata.creation_timestamp == before.metadata.creation_timestamp
    first = server.put_namespace("prod", {"eci": "true"})["metadata"]
    server.put_config_map("prod", "eci-profile", {})
    assert api.read_namespace("prod").metadata.labels == {
        "eci": "true",
        "kubernetes.io/metadata.name": "prod",
    }
    server.delete_namespace("prod")
    server.put_namespace("prod")
    assert api.read_namespace("prod").metadata.uid != first["uid"]
    with pytest.raises(client.ApiException, match="404"):
        api.read_namespaced_config_map("eci-profile", "prod")
    assert client.VersionApi(api.api_client).get_code().minor == "36"


def test_nodes_and_pods_are_readable_with_the_rbac_for_binding(server: APIServer, api: Any) -> None:
    server.effects_at_binding = True
    server.put_node("worker", {"a": "b"})
    server.put_pod("default", {"metadata": {"name": "web", "annotations": {"c": "d"}}})
    assert api.read_node("worker").metadata.labels == {"a": "b"}
    pod = api.read_namespaced_pod("web", "default")
    assert (pod.kind, pod.metadata.annotations) == ("Pod", {"c": "d"})
    for read_all in (api.list_node, api.list_pod_for_all_namespaces):
        with pytest.raises(client.ApiException, match="403"):
            read_all()
    server.delete_node("worker")
    server.delete_pod("default", "web")
    for method, names in (
        (api.read_node, ["worker"]),
        (api.read_namespaced_pod, ["web", "default"]),
    ):
        with pytest.raises(client.ApiException, match="404"):
            method(*names)


def test_a_missing_object_is_not_found(server: APIServer, api: Any) -> None:
    server.delete_config_map("kube-system", "eci-profile")
    for name in ("x", "eci-profile"):
        with pytest.raises(client.ApiException) as error:
            read(api, name)
        assert status_of(error) == {
            "message": f'configmaps "{name}" not found',
            "reason": "NotFound",
            "details": {"name": name, "kind": "configmaps"},
            "code": 404,
        }


def test_a_rotated_token_is_no_longer_accepted(server: APIServer, api: Any, tmp_path: Path) -> None:
    old, server.token = server.token, "new"
    with pytest.raises(client.ApiException) as error:
        read(api)
    assert status_of(error) == {"message": "Unauthorized", "reason": "Unauthorized", "code": 401}
    server.tokens.add(old)
    assert read(api).data
    assert [request.auth_ok for request in server.requests] == [False, True]

    files = server.service_account(tmp_path / "serviceaccount")
    assert (files / "namespace").read_text() == "kube-system"
    loader: Any = InClusterConfigLoader
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
    settings = client.Configuration(retries=False)
    for token in ("new", "newer"):
        server.token = token
        (files / "token").write_text(token)
        loader(str(files / "token"), str(files / "ca.crt"), environ=environ).load_and_set(settings)
        with client.ApiClient(settings) as pod:
            assert read(client.CoreV1Api(pod)).data


@pytest.mark.parametrize(
    ("method", "path", "what", "details"),
    [
        (
            "GET",
            "/api/v1/namespaces/kube-system/configmaps",
            'configmaps is forbidden: User "{}" cannot list resource "configmaps" in API group ""'
            ' in the namespace "kube-system"',
            {"kind": "configmaps"},
        ),
        (
            "GET",
            "/api/v1/namespaces?watch=true",
            'namespaces is forbidden: User "{}" cannot watch resource "namespaces" in API group ""'
            " at the cluster scope",
            {"kind": "namespaces"},
        ),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/default/deployments/web",
            'deployments.apps "web" is forbidden: User "{}" cannot patch resource "deployments"'
            ' in API group "apps" in the namespace "default"',
            {"name": "web", "group": "apps", "kind": "deployments"},
        ),
        (
            "GET",
            "/api/v1/nodes/worker",
            'nodes "worker" is forbidden: User "{}" cannot get resource "nodes" in API group ""'
            " at the cluster scope",
            {"name": "worker", "kind": "nodes"},
        ),
        (
            "GET",
            "/api/v1/namespaces/default/pods/web",
            'pods "web" is forbidden: User "{}" cannot get resource "pods" in API group ""'
            ' in the namespace "default"',
            {"name": "web", "kind": "pods"},
        ),
        ("GET", "/", 'forbidden: User "{}" cannot get path "/"', {}),
    ],
)
def test_other_requests_are_forbidden(
    server: APIServer, method: str, path: str, what: str, details: dict[str, str]
) -> None:
    with urllib3.PoolManager(ca_certs=str(server.ca_file), retries=False) as pool:
        headers = {"Authorization": f"Bearer {server.token}"}
        answer = pool.request(method, server.url + path, headers=headers)
        status = answer.json()
    assert (answer.status, status["code"], status["reason"]) == (403, 403, "Forbidden")
    assert (status["message"], status["details"]) == (what.format(USER), details)
    assert server.count(method, path) == 1


def test_an_event_must_be_new_and_valid(server: APIServer, api: Any) -> None:
    created = api.create_namespaced_event("default", event("one"))
    assert created.metadata.uid
    assert created.metadata.resource_version
    assert server.requests[-1].status == 201
    assert [posted["metadata"]["name"] for posted in server.events] == ["one"]
    new = {"reportingComponent": "a/b", "reportingInstance": "c", "action": "d", "reason": "e"}
    api.create_namespaced_event(
        "default", event("two", eventTime="2026-01-01T00:00:00.000001Z", **new)
    )
    for namespace, body, code, message in (
        ("default", event("one"), 409, 'events "one" already exists'),
        (
            "default",
            event("three", about="prod"),
            422,
            'Event "three" is invalid: involvedObject.namespace: Invalid value: "prod":'
            " does not match event.namespace",
        ),
        (
            "default",
            event("three", eventTime="2026-01-01T00:00:00.000001Z", **new | {"action": ""}),
            422,
            'Event "three" is invalid: action: Required value',
        ),
        (
            "default",
            event("three", eventTime="2026-01-01T00:00:00+00:00", **new),
            400,
            'Event in version "v1" cannot be handled as a Event: parsing time'
            ' "2026-01-01T00:00:00+00:00"',
        ),
        ("gone", event("three", about="gone"), 404, 'namespaces "gone" not found'),
    ):
        with pytest.raises(client.ApiException) as error:
            api.create_namespaced_event(namespace, body)
        status = status_of(error)
        assert (status["code"], status["message"]) == (code, message)
    assert len(server.events) == 2


@pytest.mark.parametrize(
    ("code", "retry_after"), [(401, None), (403, None), (429, 7), (500, None), (503, 0)]
)
def test_a_status_fault_returns_that_status(
    server: APIServer, api: Any, code: int, retry_after: int | None
) -> None:
    with server.fault("status", PROFILE, code=code, retry_after=retry_after):
        with pytest.raises(client.ApiException) as error:
            read(api)
        status = status_of(error)
        assert status["code"] == code
        if code == 403:
            assert status["message"] == (
                f'configmaps "eci-profile" is forbidden: User "{USER}" cannot get resource'
                ' "configmaps" in API group "" in the namespace "kube-system"'
            )
        expected = None if retry_after is None else str(retry_after)
        assert (error.value.headers or {}).get("Retry-After") == expected
        assert api.read_namespace("kube-system")  # the fault covers only the profile's path
    assert read(api).data


def test_timing_faults_delay_the_response(server: APIServer, api: Any) -> None:
    silent = server.fault("silent", PROFILE)
    with pytest.raises(ReadTimeoutError):
        read(api, _request_timeout=0.2)
    assert [request.status for request in server.requests] == [None]
    threading.Timer(0.3, silent.remove).start()
    start = time.monotonic()
    assert read(api, _request_timeout=5).data
    assert time.monotonic() - start > 0.2
    with server.fault("slow", PROFILE, delay=0.3):
        start = time.monotonic()
        assert read(api).data
        assert time.monotonic() - start >= 0.3
    with server.fault("drip", PROFILE, delay=0.002):
        start = time.monotonic()
        # Shorter than the whole response takes, but no single read takes this long.
        assert read(api, _request_timeout=(1, 0.3)).data
        assert time.monotonic() - start > 0.6


def test_content_faults_corrupt_the_response(server: APIServer, api: Any) -> None:
    assert read(api).data  # opens the connection
    with server.fault("cut", PROFILE), pytest.raises(ProtocolError, match="IncompleteRead"):
        read(api)
    with server.fault("reset", PROFILE), pytest.raises(ProtocolError, match="Connection aborted"):
        read(api)
    with server.fault("garbage", PROFILE), pytest.raises(json.JSONDecodeError):
        read(api)
    with server.fault("garbage", PROFILE, body=b'{"data":{"x":"y"}}'):
        assert read(api).data == {"x": "y"}
    with server.fault("wrong_kind", PROFILE):
        assert read(api).kind == "PodList"
    assert read(api).kind == "ConfigMap"
    with pytest.raises(ValueError, match="no such fault"):
        server.fault("sulk")  # type: ignore[arg-type]


def test_a_reset_fault_resets_the_connection(server: APIServer) -> None:
    # Before 3.13, Python's ssl reports a reset as end of file, so use the plain socket.
    server.fault("reset")
    trust = ssl.create_default_context(cafile=str(server.ca_file))
    with (
        socket.create_connection(("127.0.0.1", server.port)) as plain,
        trust.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        closed = select.poll()
        closed.register(connection, 0)
        assert closed.poll(5000)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET


def test_connections_can_be_refused_and_accepted_again(server: APIServer, api: Any) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as idle:
        assert read(api).data  # although a client without a handshake connected first
        server.refuse()
        idle.settimeout(5)
        assert idle.recv(1) == b""
    for _ in range(2):
        with pytest.raises(NewConnectionError, match="refused"):
            read(api)
    port = server.port
    server.accept()
    assert (server.port, read(api).kind) == (port, "ConfigMap")


def test_requests_are_recorded(server: APIServer, api: Any) -> None:
    start = time.monotonic()
    threads = [threading.Thread(target=read, args=(api,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    api.read_namespace("default")
    assert server.count("GET", PROFILE) == 20
    assert (server.count("GET"), server.count("POST")) == (21, 0)
    last = server.requests[-1]
    assert (last.method, last.path, last.status) == ("GET", "/api/v1/namespaces/default", 200)
    assert start <= last.time <= time.monotonic()
    server.clear_requests()
    assert server.requests == []


def test_a_certificate_from_another_ca_is_rejected(server: APIServer, api: Any) -> None:
    def connect() -> None:
        trust = ssl.create_default_context(cafile=str(server.ca_file))
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            trust.wrap_socket(plain, server_hostname="127.0.0.1").close()

    connect()
    server.rotate_certificate(other_ca=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect()
    with pytest.raises(client.ApiException, match="CERTIFICATE_VERIFY_FAILED"):
        read(api)
    server.rotate_certificate(other_ca=False)
    assert read(api).data


def test_stopping_does_not_wait_for_clients(api: Any, server: APIServer) -> None:
    before = set(threading.enumerate())
    server.fault("silent")
    with ExitStack() as stack:
        for _ in range(3):  # including clients that connect and send nothing
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        errors: list[Exception] = []

        def wait() -> None:
            try:
                read(api)
            except ProtocolError as error:
                errors.append(error)

        client_thread = threading.Thread(target=wait)
        client_thread.start()
        while not server.requests:
            time.sleep(0.01)
        start = time.monotonic()
        server.stop()
        assert time.monotonic() - start < 5
        client_thread.join(5)
        assert errors
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()
