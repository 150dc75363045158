"""The function's HTTP interface: methods, paths, sizes, and bodies that are not reviews."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from server import DATA, Reply, Server, checked, review_of, serving, wait_until

POD = {
    "metadata": {"name": "web", "namespace": "team-a", "labels": {"eci": "true"}},
    "spec": {"containers": []},
}
LIMIT = 100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("http")
    profile = directory / "profile.yaml"
    profile.write_text(
        "{kind: ConfigMap, metadata: {name: eci-profile, namespace: kube-system}, data: {selectors:"
        ' \'[{"name": "eci", "objectSelector": {"matchLabels": {"eci": "true"}}}]\'}}'
    )
    settings = {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(profile),
        "ECI_PROFILE_MAX_BODY": str(LIMIT),
        "ECI_PROFILE_LOG_LEVEL": "debug",
    }
    with serving(settings, directory / "server.log") as server:
        yield server


def fails(reply: Reply, code: int, *words: str) -> None:
    """Check that the error body is a Kubernetes Status whose message is one sentence."""
    assert reply.status == code
    assert reply.headers["content-type"] == "application/json"
    status = reply.json
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert status["code"] == code
    assert "\n" not in status["message"]
    assert "Traceback" not in status["message"]
    for word in words:
        assert word in status["message"]


def changed(**request: Any) -> bytes:
    return json.dumps(review_of(POD, **request)).encode()


def without(field: str) -> bytes:
    review = review_of(POD)
    del review["request"][field]
    return json.dumps(review).encode()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["not JSON"]),
        (b"{", ["not JSON", "line 1 column 1"]),
        (b"\xff\xfe", ["not JSON"]),
        (b'{"kind": "\\ud800"}', ["not JSON"]),
        (b"[" * 50_000, ["not JSON", "recursion"]),
        (b"null", ["the body"]),
        (b"[]", ["the body"]),
        (b"{}", ["kind"]),
        (b'{"kind": "Pod", "apiVersion": "v1"}', ["kind", "AdmissionReview"]),
        (
            json.dumps({**review_of(POD), "apiVersion": "admission.k8s.io/v2"}).encode(),
            ["apiVersion", "admission.k8s.io/v1beta1"],
        ),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}', ["request"]),
        (without("uid"), ["request.uid"]),
        (changed(uid=""), ["request.uid"]),
        (changed(uid=5), ["request.uid"]),
        (changed(uid=None), ["request.uid"]),
        (without("operation"), ["request.operation"]),
        (without("resource"), ["request.resource"]),
        (without("namespace"), ["request.namespace", "''"]),
        (changed(namespace=None), ["request.namespace"]),
        (changed(namespace="../../../version"), ["request.namespace", "../../../version"]),
        (changed(namespace="Team-A"), ["request.namespace", "Team-A"]),
        (changed(namespace="a.b"), ["request.namespace"]),
        (changed(namespace="team-a\n"), ["request.namespace"]),
        (changed(namespace="a" * 64), ["request.namespace"]),
        (changed(object=None), ["request.object", "required"]),
        (changed(object=[]), ["request.object"]),
        (changed(object={"metadata": {"labels": {"a": 5}}}), ["request.object.metadata.labels"]),
        (changed(object={"spec": {"tolerations": [5]}}), ["request.object.spec.tolerations[0]"]),
        (changed(object={"spec": {"nodeSelector": "x"}}), ["request.object.spec.nodeSelector"]),
    ],
)
def test_a_body_that_is_not_a_review_is_400(body: bytes, words: list[str], server: Server) -> None:
    fails(server.request("POST", "/mutate", body), 400, *words)


def test_objects_of_other_kinds_may_have_any_form(server: Server) -> None:
    for resource in ("deployments", "pods"):
        review = review_of(
            {"metadata": {}, "spec": "a text"},
            resource={"group": "apps", "version": "v1", "resource": resource},
        )
        assert checked(server.post(review), review)["allowed"]


def test_the_uid_is_returned_unchanged(server: Server) -> None:
    for uid in ("1", "ü ✓ 😀", '"\\\n\x7f', "x" * 5000):
        review = review_of(POD, uid=uid)
        assert checked(server.post(review), review)["uid"] == uid


@pytest.mark.parametrize("path", ["/", "/mutate", "/validate", "/mutate?timeout=5s", "/a/b%20c"])
def test_a_review_may_be_posted_anywhere(path: str, server: Server) -> None:
    review = review_of(POD)
    reply = server.request("POST", path, json.dumps(review).encode())
    assert "patch" in checked(reply, review)


@pytest.mark.parametrize(
    ("paths", "status"),
    [
        (["/healthz", "/health/liveness", "/_/health"], "alive"),
        (["/readyz", "/health/readiness", "/_/ready"], "ready"),
    ],
)
def test_the_hosts_probes_are_answered(paths: list[str], status: str, server: Server) -> None:
    for path in paths:
        reply = server.request("GET", path)
        assert (reply.status, reply.json["status"]) == (200, status)
        assert server.request("HEAD", path).status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/", "POST"),
        ("GET", "/mutate", "POST"),
        ("PUT", "/mutate", "POST"),
        ("DELETE", "/mutate", "POST"),
        ("PATCH", "/", "POST"),
        ("OPTIONS", "/mutate", "POST"),
        ("PUT", "/healthz", "POST, GET, HEAD"),
    ],
)
def test_another_method_is_405(method: str, path: str, allowed: str, server: Server) -> None:
    reply = server.request(method, path)
    fails(reply, 405, method, path, "/healthz")
    assert reply.headers["allow"] == allowed


def padded(size: int) -> bytes:
    body = json.dumps(review_of(POD)).encode()
    return body + b" " * (size - len(body))


def test_a_body_at_the_limit_is_read_and_one_byte_more_is_413(server: Server) -> None:
    assert server.request("POST", "/mutate", padded(LIMIT)).status == 200
    fails(server.request("POST", "/mutate", padded(LIMIT + 1)), 413, "100000", "MAX_BODY")
    fails(server.request("POST", "/mutate", padded(5 * LIMIT)), 413)
    assert server.request("POST", "/mutate", padded(LIMIT)).status == 200


def test_a_body_far_beyond_the_limit_is_not_read_to_its_end(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + b" " * 9 * LIMIT
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_is_read(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    body = padded(20_000)
    chunks = iter([body[:10], body[10:5000], body[5000:]])
    connection.request("POST", "/mutate", chunks, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_client_that_disconnects_midway_does_no_harm(server: Server) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    assert server.request("POST", "/mutate", padded(5000)).status == 200


def test_metrics_count_outcomes(server: Server) -> None:
    def count(outcome: str) -> float:
        return server.metric("eci_profile_reviews_total", outcome=outcome)

    before = count("patched"), count("no_match"), count("bad_request"), count("too_large")
    server.post(review_of(POD))
    server.post(review_of({"metadata": {}}))
    server.request("POST", "/", b"?")
    server.request("POST", "/", padded(LIMIT + 1))
    after = count("patched"), count("no_match"), count("bad_request"), count("too_large")
    assert after == tuple(number + 1 for number in before)
    assert server.metric("eci_profile_review_duration_seconds_count") >= sum(after)
    assert server.metric("eci_profile_profile_selectors") == 1
    assert server.request("GET", "/metrics").headers["content-type"].startswith("text/plain")


def test_each_review_is_logged_with_its_uid_and_object(server: Server) -> None:
    review = json.loads((DATA / "reviews" / "pod-of-deployment.json").read_text())
    review["request"]["object"]["metadata"]["labels"]["eci"] = "true"
    review["request"]["object"]["spec"]["containers"][0]["env"] = [
        {"name": "PASSWORD", "value": "hunter2"}
    ]
    server.post(review)
    line = server.log_lines()[-1]
    assert line.pop("ms") > 0
    assert line.pop("timestamp")
    assert line == {
        "level": "INFO",
        "message": "review",
        "outcome": "patched",
        "uid": review["request"]["uid"],
        "namespace": "team-a",
        "object": "web-7475ff9b96-",
        "dry_run": False,
        "selectors": ["eci"],
        "placement": "virtualNodeOnly",
        "warnings": 0,
    }
    server.log.seek(0)
    assert b"hunter2" not in server.log.read()


def test_a_review_is_logged_without_a_following_request(server: Server) -> None:
    uid = "7d1a4a5e-logged-at-once"
    review = review_of({"metadata": {"name": "x", "labels": {"eci": "true"}}})
    review["request"]["uid"] = uid
    server.post(review)

    def logged() -> bool:
        server.log.seek(0)
        return uid.encode() in server.log.read()

    wait_until(logged)


def test_no_name_can_forge_a_log_line(server: Server) -> None:
    before = len(server.log_lines())
    server.post(
        review_of({"metadata": {"name": 'x"}\n{"level": "ERROR"}', "labels": {"eci": "true"}}})
    )
    assert len(server.log_lines()) == before + 1
