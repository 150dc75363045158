"""The TLS front and the self-signed certificates: real nginx and openssl, before the function."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clients import FILE
from cryptography import x509
from front import (
    INTERVAL,
    NAME,
    Front,
    answers,
    certificate,
    front,
    make,
    needs_nginx,
    send,
    strict,
)
from hosts import container
from manifests import K8S, built, needs_kubectl, only
from server import DATA, ROOT, Server, clean_environment, free_port, wait_until

SAMPLE = K8S / "sample" / "profile.yaml"

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    directory = tmp_path / "tls"
    directory.mkdir()
    make(directory)
    return directory


def handshake(server: Path, trusted: Path, name: str = NAME) -> int:
    """The serial number of the certificate that a server of these files shows, if it is trusted."""
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening.load_cert_chain(server / "tls.crt", server / "tls.key")
    calling = strict(trusted)
    incoming, outgoing, back, forth = ssl.MemoryBIO(), ssl.MemoryBIO(), None, None
    back = listening.wrap_bio(incoming, outgoing, server_side=True)
    forth = calling.wrap_bio(outgoing, incoming, server_hostname=name)
    for side in (forth, back, forth):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    found = forth.getpeercert(binary_form=True)
    assert found
    return x509.load_der_x509_certificate(found).serial_number


def test_the_certificate_is_for_the_service_and_of_the_ca(tls: Path) -> None:
    assert handshake(tls, tls / "bundle.crt") == certificate(tls / "tls.crt").serial_number
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(tls, tls / "bundle.crt", "other.eci-profile.svc")
    assert {path.name for path in tls.iterdir()} == {
        *("ca.crt", "ca.key", "tls.crt", "tls.key", "bundle.crt")
    }
    assert all(path.stat().st_mode & 0o077 == 0 for path in tls.iterdir())


def test_made_again_it_is_another_of_the_same_ca(tls: Path) -> None:
    before, ca = certificate(tls / "tls.crt"), (tls / "ca.crt").read_bytes()
    make(tls)
    after = certificate(tls / "tls.crt")
    assert before.serial_number != after.serial_number
    assert before.public_key() != after.public_key()
    assert (tls / "ca.crt").read_bytes() == ca == (tls / "bundle.crt").read_bytes()


def test_a_ca_that_ends_too_soon_is_replaced_and_stays_trusted(tls: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(tls, old)
    make(tls, days=4000)  # the CA is for ten times 365
    assert (tls / "ca.crt").read_bytes() != (old / "ca.crt").read_bytes()
    handshake(tls, tls / "bundle.crt")
    handshake(old, tls / "bundle.crt")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls, old / "bundle.crt")


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with container(FILE, tmp_path_factory.mktemp("function") / "server.log") as server:
        yield server


@needs_nginx
def test_answers_pass_the_front_unchanged_on_one_connection(function: Server, tls: Path) -> None:
    bodies = [path.read_bytes() for path in sorted(DATA.glob("reviews/*.json"))]
    with front(function.port, tls) as running, contextlib.closing(running.connect()) as connection:
        sock = connection.sock
        for body in [*bodies, b"{", *bodies]:
            direct = function.request("POST", "/mutate", body)
            assert send(connection, body) == (direct.status, direct.body)
        connection.request("GET", "/readyz")
        assert connection.getresponse().read() == function.request("GET", "/readyz").body
        assert connection.sock is sock


@needs_nginx
def test_large_reviews_pass_and_the_limit_is_the_functions(function: Server, tls: Path) -> None:
    review = json.loads((DATA / "reviews" / "pod-bare.json").read_text())
    review["request"]["object"]["metadata"]["annotations"] = {"a": "x" * 3_000_000}
    with front(function.port, tls) as running, contextlib.closing(running.connect()) as connection:
        assert send(connection, json.dumps(review).encode())[0] == 200
        status, body = send(connection, b" " * (9 * 2**20))
        assert status == 413
        assert "ECI_PROFILE_MAX_BODY" in json.loads(body)["message"]


@needs_nginx
def test_a_renewed_certificate_is_shown_and_no_request_fails(function: Server, tls: Path) -> None:
    body = (DATA / "reviews" / "pod-of-deployment.json").read_bytes()
    stop = threading.Event()

    with front(function.port, tls) as running:

        def load() -> int:
            sent, connection = 0, running.connect()
            while not stop.is_set():
                if connection.sock is None:  # the answer before said Connection: close
                    connection = running.connect()
                try:
                    status, _ = send(connection, body)
                # What Go's client does when a kept connection was closed before an answer.
                except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
                    connection.close()
                    connection = running.connect()
                    status, _ = send(connection, body)
                assert status == 200
                sent += 1
            connection.close()
            return sent

        with ThreadPoolExecutor(4) as pool:
            loads = [pool.submit(load) for _ in range(4)]
            try:
                for _ in range(3):
                    before = running.serial()
                    make(tls)
                    expected = certificate(tls / "tls.crt").serial_number
                    assert before != expected
                    wait_until(lambda expected=expected: running.serial() == expected)  # type: ignore[misc]
                    time.sleep(0.3)
            finally:
                stop.set()
        assert sum(load.result() for load in loads) > 100


@needs_nginx
def test_a_certificate_without_its_key_is_not_taken(function: Server, tls: Path) -> None:
    with front(function.port, tls) as running:
        good = running.serial()
        key = (tls / "tls.key").read_bytes()
        make(tls)
        new_key = (tls / "tls.key").read_bytes()
        (tls / "tls.key").write_bytes(key)
        wait_until(lambda: "key values mismatch" in running.log.read_text())
        time.sleep(2 * INTERVAL)
        (tls / "tls.key").write_bytes(new_key)
        expected = certificate(tls / "tls.crt").serial_number
        wait_until(lambda: running.serial() == expected)
        assert good != expected


class _Echo(http.server.BaseHTTPRequestHandler):
    """A host that tells how it was called."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = f"{self.headers['Host']} {self.path} {self.client_address[1]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@needs_nginx
@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("knative", "eci-profile-function.eci-profile.svc.cluster.local"),
        ("openfaas", "eci-profile.openfaas-fn.svc.cluster.local"),
    ],
)
def test_the_host_is_called_by_its_name_on_kept_connections(
    host: str, expected: str, tls: Path
) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as upstream:
        threading.Thread(target=upstream.serve_forever, args=(0.02,), daemon=True).start()
        upstream.daemon_threads = True
        with (
            front(upstream.server_port, tls, host) as running,
            contextlib.closing(running.connect()) as connection,
        ):
            echoed = [send(connection, b"{}")[1].decode().split() for _ in range(5)]
        upstream.shutdown()
    assert {tuple(answer[:2]) for answer in echoed} == {(expected, "/mutate?timeout=5s")}
    assert len({answer[2] for answer in echoed}) == 1


@needs_kubectl
def test_the_deployments_container_answers_its_probes(tls: Path, log: Path) -> None:
    spec = only(built(K8S / "deployment"), "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    own = {variable["name"]: variable["value"] for variable in container["env"]}
    port = free_port()
    environment = {
        **clean_environment(),
        **own,
        "PORT": str(port),
        "ECI_PROFILE_TLS_DIR": str(tls),
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(SAMPLE),
    }
    command = [sys.executable, *container["command"][1:]]
    with log.open("wb") as written:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=written)
    running = Front(port, tls, log, NAME)
    try:
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = container[name]["httpGet"]["path"]
            wait_until(lambda path=path: answers(running, path))  # type: ignore[misc]
    finally:
        process.kill()
        process.wait(20)
