"""The container's server: single requests and connections, which all use the same two servers."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import BODY, FILE, HEAD, REVIEW, half_a_request, send
from hosts import container
from server import Server, checked, exchange
from tls_secret import Secret

LIMIT = 100_000


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without TLS."""
    log = tmp_path_factory.mktemp("plain") / "server.log"
    with container({**FILE, "ECI_PROFILE_MAX_BODY": str(LIMIT)}, log) as server:
        yield server


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Secret:
    return Secret(tmp_path_factory.mktemp("tls") / "secret")


@pytest.fixture(scope="module")
def secure(secret: Secret) -> Iterator[Server]:
    """A server with TLS."""
    settings = {"ECI_PROFILE_TLS_DIR": str(secret.directory), "ECI_PROFILE_LOG_LEVEL": "debug"}
    log = secret.directory.with_name("server.log")
    with container({**FILE, **settings}, log, tls=secret.client()) as server:
        yield server


def test_tls_with_and_without_sni(secure: Server) -> None:
    assert checked(secure.post(REVIEW), REVIEW)["patch"]
    assert secure.request("GET", "/readyz").status == 200
    by_address = http.client.HTTPSConnection("127.0.0.1", secure.port, context=secure.tls)
    assert send(by_address).status == 200  # no SNI is sent for an IP address
    by_address.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_later_are_accepted(
    version: ssl.TLSVersion, secret: Secret, secure: Server
) -> None:
    context = secret.client()
    context.minimum_version = context.maximum_version = version
    with contextlib.closing(secure.connect(context)) as connection:
        assert send(connection).status == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_1_1_is_rejected(secret: Secret, secure: Server) -> None:
    context = secret.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"protocol version|handshake failure|reset|EOF"):
        secure.connect(context).connect()


def test_responses_do_not_wait_for_acknowledgements(plain: Server) -> None:
    """With Nagle's algorithm, the body would wait for Linux's delayed ACK (40 ms) of the head."""
    with contextlib.closing(plain.connect()) as connection:
        began = time.monotonic()
        for _ in range(100):
            assert send(connection).status == 200
        assert time.monotonic() - began < 3


def test_invalid_http_is_400(plain: Server) -> None:
    with socket.create_connection(("127.0.0.1", plain.port), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    assert plain.post(REVIEW).status == 200


def test_without_tls_no_certificate_ends(plain: Server) -> None:
    assert plain.metric("eci_profile_certificate_expiry_timestamp_seconds") == 0


def test_invalid_tls_is_logged_at_debug_level(secure: Server) -> None:
    def failures() -> int:
        return sum("handshake failed" in line["message"] for line in secure.log_lines())

    before = failures()
    with socket.create_connection(("127.0.0.1", secure.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        connection.recv(100)
    assert failures() == before + 1


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no dual-stack IPv6 support")
def test_it_also_listens_on_ipv6(plain: Server) -> None:
    connection = http.client.HTTPConnection("::1", plain.port, timeout=10)
    assert exchange(connection, "GET", "/healthz").status == 200
    connection.close()


def padded(size: int) -> bytes:
    return BODY + b" " * (size - len(BODY))


def chunked(body: bytes, size: int = 5000) -> bytes:
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in [*chunks, b""])


@pytest.mark.parametrize("length", ["content-length", "chunks", "both", "both, chunks first"])
@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 5 * LIMIT])
def test_a_body_is_413_only_above_the_limit(length: str, size: int, plain: Server) -> None:
    """Also where the Content-Length is smaller than the chunked body."""
    fields = {
        "content-length": f"Content-Length: {size}\r\n",
        "chunks": "Transfer-Encoding: chunked\r\n",
        "both": "Content-Length: 10\r\nTransfer-Encoding: chunked\r\n",
        "both, chunks first": "Transfer-Encoding: chunked\r\nContent-Length: 10\r\n",
    }
    body = padded(size) if length == "content-length" else chunked(padded(size))
    with socket.create_connection(("127.0.0.1", plain.port), timeout=10) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\n{fields[length]}\r\n".encode() + body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        allowed = {413} if size > LIMIT else {200}
        assert response.status in (allowed | {400} if "both" in length else allowed)


def resident(server: Server) -> int:
    """Return the server's resident memory in bytes."""
    return 4096 * int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])


def test_bodies_far_beyond_the_limit_take_no_memory(plain: Server) -> None:
    plain.post(REVIEW)
    before = resident(plain)
    for head in ("Content-Length: 200000000", "Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", plain.port), timeout=10) as connection:
            connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
            part = b" " * 50_000
            if "chunked" in head:
                part = chunked(part)[: -len(b"0\r\n\r\n")]
            with contextlib.suppress(OSError):  # the server may stop reading
                for _ in range(4000):
                    connection.sendall(part)
            with contextlib.suppress(OSError):
                assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    assert resident(plain) < before + 10_000_000
    assert plain.post(REVIEW).status == 200


def test_a_client_that_disconnects_midway_does_no_harm(plain: Server) -> None:
    chunks = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n{"
    for start in (HEAD + BODY[:100], chunks):
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", plain.port)) as connection:
                connection.sendall(start)
                time.sleep(0.1)
    assert plain.post(REVIEW).status == 200
    assert not [line for line in plain.log_lines() if line["level"] == "ERROR"]


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_stalled_clients_do_not_block_others(tls: bool, request: pytest.FixtureRequest) -> None:
    """Before and during the handshake, the head and the body."""
    server: Server = request.getfixturevalue("secure" if tls else "plain")
    with contextlib.ExitStack() as stack:
        for number in range(600):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", server.port), timeout=10)
            )
            connection.sendall([b"", b"\x16\x03\x01" if tls else HEAD[:30], HEAD][number % 3])
        if tls:
            for _ in range(100):
                stack.enter_context(half_a_request(server))
        began = time.monotonic()
        for _ in range(100):
            assert server.post(REVIEW).status == 200
        assert time.monotonic() - began < 5
