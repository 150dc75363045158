"""Hostile bodies and clients: each gets a response, and later valid requests still succeed."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bodies import answered_or_refused, no_reviews, reviews_with_a_wrong_value
from hypothesis import HealthCheck, given, settings
from server import ROOT, Server, checked, request, review_of, serving

MEBIBYTE = 2**20
GOOD = review_of({"metadata": {"name": "train", "labels": {"gpu": "a"}}, "spec": {}})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(ROOT / "k8s" / "sample" / "profile.yaml"),
        "ECI_PROFILE_LOG_LEVEL": "ERROR",
    }
    with serving(environment, tmp_path_factory.mktemp("hostile") / "server.log") as server:
        yield server


@pytest.fixture(autouse=True)
def still_well(server: Server) -> Iterator[None]:
    """Check after each test that a valid review succeeds and nothing unexpected was logged."""
    yield
    assert "patch" in checked(server.post(GOOD), GOOD)
    assert server.log_lines() == []


def resident(server: Server) -> float:
    """Return the worker's resident memory in bytes."""
    return server.metric("process_resident_memory_bytes")


# All examples share one server, and a slow machine is not a failure. unit/test_any_body.py has more
# examples.
IGNORED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=100, deadline=None, suppress_health_check=IGNORED)
@given(reviews_with_a_wrong_value)
def test_a_wrong_value_in_any_field_gets_a_response(server: Server, review: Any) -> None:
    answered_or_refused(server, review)


@settings(max_examples=50, deadline=None, suppress_health_check=IGNORED)
@given(no_reviews)
def test_any_body_that_is_not_a_review_is_400(server: Server, body: bytes) -> None:
    assert server.request("POST", "/", body).status == 400


def good_with(field: str) -> bytes:
    """Return a valid review with this text as an additional first field of the pod."""
    return json.dumps(GOOD).replace('"metadata": {', f'{field}, "metadata": {{').encode()


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ('"x": ' + "[" * 150 + "]" * 150, 200),
        ('"x": ' + "[" * 100_000 + "]" * 100_000, 400),
        ('"x": ' + '{"a":' * 100_000 + "1" + "}" * 100_000, 400),
        ('"x": ' + "9" * 100_000, 200),
        ('"x": -1e999999', 200),
        ('"x": NaN', 400),
        ('"x": "\\ud800"', 400),
        ('"x": "\\ud83d\\ude00"', 200),
        ('"spec": 5', 400),  # duplicate key: both values are validated
        ('"spec": {"nodeName": "x"}', 200),  # duplicate key: the last one wins
        ('"x": 01', 400),
        ('"x": "\t"', 400),
    ],
)
def test_unusual_json_gets_a_response(field: str, status: int, server: Server) -> None:
    assert server.request("POST", "/mutate", good_with(field)).status == status


def test_invalid_utf_8_is_400(server: Server) -> None:
    for bad in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"):
        body = json.dumps(GOOD).encode().replace(b"train", bad)
        assert server.request("POST", "/mutate", body).status == 400


def raw(server: Server, *parts: bytes, silence: float = 5.0) -> bytes:
    """Send raw bytes and return the response until the server closes or goes silent."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=silence) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        try:
            while b"\r\n\r\n" not in answer and (chunk := connection.recv(65536)):
                answer += chunk
        except TimeoutError:
            pass
        return answer


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


def test_a_wrong_content_length_does_no_harm(server: Server) -> None:
    body = json.dumps(GOOD).encode()
    short = HEAD + b"Content-Length: %d\r\n\r\n" % (len(body) - 10) + body
    assert raw(server, short).startswith(b"HTTP/1.1 400 ")
    for nonsense in (b"-1", b"x", b"1, 2", b"99999999999999999999999"):
        answer = raw(server, HEAD + b"Content-Length: " + nonsense + b"\r\n\r\n{}")
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ")) or answer == b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (len(body) + 10) + body)


def test_malformed_chunks_do_no_harm(server: Server) -> None:
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    for chunks in (b"zz\r\n{}\r\n", b"ffffffffffffffff\r\n{}", b"-1\r\n"):
        answer = raw(server, head + chunks, silence=2)
        assert answer.startswith(b"HTTP/1.1 400 ") or answer == b""


def test_slow_clients_do_not_block_others(server: Server) -> None:
    body = json.dumps(GOOD).encode()
    slow = []
    for _ in range(100):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:50])
        slow.append(connection)
    began = time.monotonic()
    for _ in range(20):
        assert "patch" in checked(server.post(GOOD), GOOD)
    assert time.monotonic() - began < 5
    for connection in slow:
        connection.sendall(body[50:])
    for connection in slow:
        assert connection.recv(20).startswith(b"HTTP/1.1 200 ")
        connection.close()


def test_memory_stays_flat_over_bodies_at_and_above_the_limit(server: Server) -> None:
    limit = 8 * MEBIBYTE
    good = json.dumps(GOOD).encode()
    full = good + b" " * (limit - len(good))

    def send(rounds: int) -> None:
        for _ in range(rounds):
            assert request(server.port, "POST", "/", full).status == 200
            assert request(server.port, "POST", "/", full + b" ").status == 413

    send(10)
    before = resident(server)
    send(30)
    assert resident(server) < before + 4 * limit


def test_memory_stays_flat_over_many_bad_bodies(server: Server) -> None:
    bodies = [b"", b"{", b"[" * 10_000, json.dumps({**GOOD, "kind": "x" * 10_000}).encode()]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)

    def send(rounds: int) -> None:
        for number in range(rounds):
            connection.request("POST", f"/{number}", bodies[number % len(bodies)])
            response = connection.getresponse()
            response.read()
            assert response.status == 400

    send(250)
    before = resident(server)
    send(1000)
    assert resident(server) < before + MEBIBYTE
    connection.close()
