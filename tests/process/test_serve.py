"""The container's server: TLS, certificate renewal and shutdown."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import go
import pytest
import trustme
from clients import BODY, FILE, HEAD, REVIEW, half_a_request, send
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hosts import SERVE, container
from server import (
    ROOT,
    Server,
    checked,
    clean_environment,
    exchange,
    free_port,
    running,
    wait_until,
)
from tls_secret import Secret

from handler import serve

CLIENTS = 4
FOLLOW_SECONDS = 2


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    return Secret(tmp_path / "secret")


@contextlib.contextmanager
def serving(secret: Secret, log: Path, **settings: str) -> Iterator[Server]:
    environment = {**FILE, "ECI_PROFILE_TLS_DIR": str(secret.directory), **settings}
    with container(environment, log, tls=secret.client()) as server:
        yield server


def serial(server: Server) -> int:
    """Return the serial number of the certificate shown to a new connection."""
    with contextlib.closing(server.connect()) as connection:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        certificate = connection.sock.getpeercert(binary_form=True)
        assert certificate
        return x509.load_der_x509_certificate(certificate).serial_number


def replaced(secret: Secret, server: Server) -> int:
    """Renew the certificate, wait until the server uses it, and return its serial number."""
    renewed = secret.renew()
    wait_until(lambda: serial(server) == renewed)
    return renewed


@contextlib.contextmanager
def load(
    client: Callable[[threading.Event], None], clients: int = CLIENTS
) -> Iterator[list[BaseException]]:
    """Run concurrent clients until the block ends, and collect their failures."""
    failures: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            client(done)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_the_end_of_the_certificate_in_use_is_a_metric(secret: Secret, log: Path) -> None:
    name = "eci_profile_certificate_expiry_timestamp_seconds"
    with serving(secret, log) as server:
        wait_until(lambda: server.metric(name) == ends(server))
        renewed = secret.ca.issue_cert(
            "localhost", not_after=dt.datetime(2030, 1, 2, tzinfo=dt.timezone.utc)
        )
        chain = b"".join(pem.bytes() for pem in renewed.cert_chain_pems)
        secret.put(chain, renewed.private_key_pem.bytes())
        wait_until(lambda: server.metric(name) == 1893542400)
        assert ends(server) == 1893542400


def ends(server: Server) -> float:
    pem = ssl.get_server_certificate(("127.0.0.1", server.port))
    return x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc.timestamp()


def talk_on_kept(server: Server, done: threading.Event, least: int, pause: float) -> int:
    """Send at least this many reviews, until ``done`` is set; return how many were sent.

    Stricter than Go's client, which retries a request if a kept connection was closed before
    anything was written: here the first attempt must succeed.
    """
    count = 0
    while count < least or not done.is_set():
        with contextlib.closing(server.connect()) as connection:
            connection.connect()
            more = True
            while more and (count < least or not done.is_set()):
                connection.sock.sendall(HEAD + BODY)
                reply = connection.sock.recv(2**16)  # http.client takes five times as long
                while not reply.endswith(b"}}"):
                    part = connection.sock.recv(2**16)
                    assert part
                    reply += part
                assert reply.startswith(b"HTTP/1.1 200 ")
                count += 1
                more = b"connection: close" not in reply
                time.sleep(pause)
    return count


def talk_on_fresh(server: Server, done: threading.Event, least: int) -> int:
    """The same, with a connection for each review. It waits before and after the handshake."""
    assert server.tls
    count = 0
    while count < least or not done.is_set():
        plain = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        with contextlib.closing(server.connect()) as connection, plain:
            time.sleep(0.08)
            connection.sock = server.tls.wrap_socket(plain, server_hostname="localhost")
            time.sleep(0.08)
            assert send(connection).status == 200
            count += 1
    return count


@pytest.mark.no_cover
@pytest.mark.parametrize("client_ca", [False, True], ids=["granian", "uvicorn"])
def test_certificates_are_replaced_under_load(client_ca: bool, secret: Secret, log: Path) -> None:
    """Without a failed request. On granian, at least 5000 of them on 8 kept connections."""
    least, pause = (150, 0.05) if client_ca else (640, 0.012)
    kept: list[int] = []
    fresh: list[int] = []
    settings = {"ECI_PROFILE_LOG_LEVEL": "warning"}
    if client_ca:
        settings["ECI_PROFILE_TLS_CLIENT_CA"] = str(secret.write_client_ca(secret.ca))
    with serving(secret, log, **settings) as server:
        if client_ca:
            server.tls = secret.client(secret.ca.issue_cert("kube-apiserver"))
        with (
            load(lambda done: kept.append(talk_on_kept(server, done, least, pause)), 8) as of_kept,
            load(lambda done: fresh.append(talk_on_fresh(server, done, 50)), 8) as of_fresh,
        ):
            time.sleep(0.5)
            assert serial(server) == secret.serial
            for _ in range(3):
                renewed = replaced(secret, server)
                time.sleep(0.5)
                # No new connection gets the old certificate.
                assert {serial(server) for _ in range(20)} == {renewed}
        assert of_kept + of_fresh == []
        assert len(kept) == len(fresh) == 8
        assert sum(kept) >= 5000 or client_ca
        assert sum(fresh) >= 400


@pytest.mark.no_cover
def test_a_kept_connection_closes_after_a_response_once_the_certificate_is_replaced(
    secret: Secret, log: Path
) -> None:
    with (
        serving(secret, log) as server,
        contextlib.closing(server.connect()) as connection,
        half_a_request(server) as slow,
    ):
        assert "connection" not in send(connection).headers
        replaced(secret, server)
        reply = send(connection)
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        slow.sendall(BODY[100:])
        response = http.client.HTTPResponse(slow)
        response.begin()
        assert (response.status, response.getheader("connection")) == (200, "close")


def test_connections_and_threads_with_an_old_certificate_end(secret: Secret, log: Path) -> None:
    """Connections and threads with the old certificate end after 180 s, here 2 s."""
    program = "from handler import serve; serve._KEEP_ALIVE = 2; serve.main()"
    port = free_port()
    settings = {**FILE, "PORT": str(port), "ECI_PROFILE_TLS_DIR": str(secret.directory)}
    with (
        running([sys.executable, "-c", program], port, settings, log, secret.client()) as server,
        contextlib.closing(server.connect()) as connection,
    ):
        directory = Path(f"/proc/{server.process.pid}")

        def threads() -> set[str]:
            return {
                task.name
                for task in directory.glob("task/*")
                if "Thread" not in (task / "comm").read_text()
            }

        replaced(secret, server)
        before = threads()
        connection.connect()
        replaced(secret, server)
        assert connection.sock.recv(1) == b""
        wait_until(lambda: len(threads()) <= len(before))


@pytest.mark.no_cover
@pytest.mark.skipif(not go.present(), reason="Go is not installed")
def test_go_loses_no_request_when_certificates_are_replaced(
    secret: Secret, log: Path, tmp_path: Path
) -> None:
    """Go's HTTP client, configured as in kube-apiserver for webhooks, in bursts of 40."""
    program = go.build(go.CLIENT, tmp_path)
    review, ca = tmp_path / "review.json", tmp_path / "ca.crt"
    review.write_bytes(BODY)
    secret.ca.cert_pem.write_to_path(str(ca))
    with serving(secret, log, ECI_PROFILE_LOG_LEVEL="warning") as server:
        url = f"https://localhost:{server.port}/mutate"
        arguments = [program, "-url", url, "-ca", str(ca), "-review", str(review)]
        arguments += ["-every", "70ms", "-least", "5000"]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as client:
            while client.poll() is None:
                replaced(secret, server)
                time.sleep(0.5)
            assert client.stdout
            found = json.load(client.stdout)
    assert found["failures"] == []
    assert found["answered"] >= 5000
    assert found["connections"] >= 200


def test_a_mismatched_key_pair_is_not_loaded(secret: Secret, log: Path) -> None:
    with serving(secret, log) as server:

        def warnings() -> list[str]:
            return [line["reason"] for line in server.log_lines() if line["level"] == "WARNING"]

        secret.renew(matching=False)
        wait_until(lambda: bool(warnings()), 10)
        time.sleep(2 * FOLLOW_SECONDS + 1)
        assert serial(server) == secret.serial
        (warning,) = warnings()
        assert warning == (f"{secret.directory}/tls.key does not match {secret.directory}/tls.crt")
        (secret.directory / "tls.key").unlink()
        wait_until(lambda: len(warnings()) == 2, 10)
        assert warnings()[1].endswith("tls.key can't be read: No such file or directory")
        assert serial(server) == secret.serial

        renewed = secret.renew()
        (secret.directory / "tls.key").symlink_to("..data/tls.key")
        wait_until(lambda: serial(server) == renewed, 10)


def test_reviews_can_require_a_client_certificate(secret: Secret, log: Path) -> None:
    """Probes need none, because kubelet has none."""
    old, new = trustme.CA(), trustme.CA()
    client_ca = secret.directory / "client-ca.crt"
    old.cert_pem.write_to_path(str(client_ca))
    known = {ca: secret.client(ca.issue_cert("kube-apiserver")) for ca in (old, new)}

    def status(server: Server, client: ssl.SSLContext, method: str = "POST") -> int:
        with contextlib.closing(server.connect(client)) as connection:
            return exchange(connection, method, "/readyz", BODY).status

    with serving(secret, log, ECI_PROFILE_TLS_CLIENT_CA=str(client_ca)) as server:
        assert status(server, known[old]) == 200
        assert status(server, secret.client(), "GET") == 200
        refusal = server.post(REVIEW)
        assert (refusal.status, refusal.json["message"]) == (
            403,
            "reviews need a client certificate",
        )
        with pytest.raises(OSError, match=r"unknown ca|reset|EOF|closed|pipe"):
            status(server, known[new])

        new.cert_pem.write_to_path(str(client_ca))

        def changed() -> bool:
            try:
                return status(server, known[new]) == 200
            except OSError:
                return False

        wait_until(changed, 10)
        with pytest.raises(OSError, match=r"unknown ca|reset|EOF|closed|pipe"):
            status(server, known[old])


@pytest.mark.no_cover
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_of_a_removed_client_ca_is_not_resumed(
    version: ssl.TLSVersion, secret: Secret, log: Path
) -> None:
    old, new = trustme.CA(), trustme.CA()
    both = {ca: secret.client(ca.issue_cert("kube-apiserver")) for ca in (old, new)}
    for context in both.values():
        context.minimum_version = context.maximum_version = version
    client_ca = secret.write_client_ca(old)

    def answered(client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSession:
        """Send a review and return the TLS session, for resumption by another connection."""
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain,
            client.wrap_socket(plain, server_hostname="localhost", session=session) as connection,
        ):
            connection.sendall(HEAD + BODY)
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status == 200
            response.read()
            assert connection.session
            return connection.session

    with serving(secret, log, ECI_PROFILE_TLS_CLIENT_CA=str(client_ca)) as server:
        session = answered(both[old])
        answered(both[old], session)
        secret.write_client_ca(new)
        wait_until(lambda: "the TLS files were reloaded" in log.read_text(), 20)
        for _ in range(3):
            with pytest.raises((OSError, http.client.HTTPException)):
                answered(both[old], session)
        answered(both[new], answered(both[new]))


@pytest.mark.no_cover
def test_sigterm_under_load_loses_no_request(secret: Secret, tmp_path: Path) -> None:
    """Like a Service: once a replica is not ready, new connections go to the other one."""
    served: list[Server] = []

    with (
        serving(secret, tmp_path / "1.log", ECI_PROFILE_DRAIN="2") as leaving,
        serving(secret, tmp_path / "2.log") as staying,
    ):
        out_of_service = threading.Event()

        def client(done: threading.Event) -> None:
            while not done.is_set():
                server = staying if out_of_service.is_set() else leaving
                with contextlib.closing(server.connect()) as connection:
                    connection.connect()
                    connection.auto_open = 0
                    closing = False
                    while not (closing or done.is_set()):
                        reply = send(connection)
                        assert checked(reply, REVIEW)["patch"]
                        served.append(server)
                        time.sleep(0.02)
                        closing = reply.headers.get("connection") == "close"

        with load(client) as failures:
            time.sleep(1)
            assert leaving.request("GET", "/readyz").status == 200
            began = time.monotonic()
            leaving.process.send_signal(signal.SIGTERM)
            wait_until(lambda: leaving.request("GET", "/readyz").status == 503, 2)
            assert leaving.request("GET", "/healthz").status == 200
            out_of_service.set()
            assert leaving.process.wait(10) == 0
            assert 2 <= time.monotonic() - began < 5
            time.sleep(0.5)
        assert failures == []
        assert served.count(leaving) > 100
        assert served.count(staying) > 100


def refused(server: Server) -> bool:
    try:
        server.request("GET", "/healthz")
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # not yet accepted when the socket closed
        return False
    return False


def test_a_request_in_progress_at_shutdown_is_completed(secret: Secret, log: Path) -> None:
    with serving(secret, log, ECI_PROFILE_DRAIN="1") as server:
        with half_a_request(server) as connection:
            server.request("GET", "/healthz")
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: refused(server), 5)
            connection.sendall(BODY[100:])
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status == 200
            assert response.getheader("connection") == "close"
            assert json.loads(response.read())["response"]["patch"]
        assert server.process.wait(10) == 0


def test_an_unfinished_request_does_not_block_shutdown(secret: Secret, log: Path) -> None:
    with serving(secret, log) as server:
        with half_a_request(server):
            server.request("GET", "/healthz")
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(15) == 0
        assert server.log_lines()[-1]["level"] == "ERROR"


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]], ids=["interrupt", "twice"]
)
def test_immediate_shutdown(signals: Sequence[int], log: Path) -> None:
    with container({**FILE, "ECI_PROFILE_DRAIN": "60"}, log) as server:
        for number in signals:
            server.process.send_signal(number)
            time.sleep(0.3)
        assert server.process.wait(5) == 0
        lines = [line for line in server.log_lines() if line["message"] == "stopping"]
        assert [line["signal"] for line in lines] == [signal.Signals(each).name for each in signals]


def failed_start(**settings: str) -> str:
    """Return the startup error message, of a start in this process."""
    environment = {**clean_environment(), **FILE, "PORT": str(free_port()), **settings}
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "argv", SERVE[2:]),
        pytest.raises(SystemExit) as ended,
    ):
        serve.main()
    assert isinstance(ended.value.code, str)  # Python prints it, and exits with 1
    return ended.value.code


def failed_process(**settings: str) -> list[str]:
    """Return what a process whose start fails prints."""
    ended = subprocess.run(
        SERVE,
        env={**clean_environment(), **FILE, **settings},
        cwd=ROOT,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 1
    return ended.stderr.decode().splitlines()


def encrypted(key: bytes) -> bytes:
    private = serialization.load_pem_private_key(key, None)
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


def _pem(key: Any, form: str) -> bytes:
    written = key.private_bytes(
        serialization.Encoding.PEM,
        getattr(serialization.PrivateFormat, form),
        serialization.NoEncryption(),
    )
    assert isinstance(written, bytes)
    return written


# `openssl ecparam -genkey` writes this before the key: the OID of P-256.
_EC_PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"

P_521 = "P-521 in PKCS#8"
KEYS: dict[str, tuple[Callable[[], Any], str, bytes, bool]] = {
    "RSA in PKCS#1": (
        lambda: rsa.generate_private_key(65537, 2048),
        "TraditionalOpenSSL",
        b"",
        True,
    ),
    "RSA in PKCS#8": (lambda: rsa.generate_private_key(65537, 3072), "PKCS8", b"", True),
    "P-256 in SEC1": (
        lambda: ec.generate_private_key(ec.SECP256R1()),
        "TraditionalOpenSSL",
        b"",
        True,
    ),
    "P-256 with parameters": (
        lambda: ec.generate_private_key(ec.SECP256R1()),
        "TraditionalOpenSSL",
        _EC_PARAMETERS,
        True,
    ),
    "P-384 in PKCS#8": (lambda: ec.generate_private_key(ec.SECP384R1()), "PKCS8", b"", True),
    "Ed25519 in PKCS#8": (ed25519.Ed25519PrivateKey.generate, "PKCS8", b"", True),
    P_521: (lambda: ec.generate_private_key(ec.SECP521R1()), "PKCS8", b"", False),
}


def self_signed(key: Any) -> x509.Certificate:
    """Return a certificate of localhost that is signed with its own key."""
    number = x509.random_serial_number()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{number:x}")])
    now = dt.datetime.now(dt.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )


@pytest.mark.no_cover
def test_supported_key_formats(secret: Secret, log: Path) -> None:
    """granian exits on a P-521 key; uvicorn accepts it, at startup and when files change."""
    client = secret.client()

    def put(name: str) -> int:
        generate, form, before, _ = KEYS[name]
        key = generate()
        certificate = self_signed(key)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        client.load_verify_locations(cadata=pem.decode())
        secret.put(pem, before + _pem(key, form))
        return certificate.serial_number

    def refusals() -> int:
        return sum("granian can't use" in line["message"] for line in server.log_lines())

    def shows(number: int) -> Callable[[], bool]:
        return lambda: serial(server) == number

    first = put(P_521)
    settings = {**FILE, "ECI_PROFILE_TLS_DIR": str(secret.directory)}
    with container(settings, log, client) as server:
        assert serial(server) == first
        assert server.post(REVIEW).status == 200
        assert refusals() == 1
        for name in KEYS:
            before = refusals()
            wait_until(shows(put(name)))
            assert server.post(REVIEW).status == 200, name
            assert (refusals() == before) == KEYS[name][-1], name
        replaced(secret, server)
        assert server.post(REVIEW).status == 200
        assert refusals() == 2


Change = Callable[[Path], object]
CHANGES: dict[str, tuple[Change, str]] = {
    "no certificate": (
        lambda secret: (secret / "tls.crt").unlink(),
        "{}/tls.crt can't be read: No such file or directory",
    ),
    "no key": (
        lambda secret: (secret / "tls.key").unlink(),
        "{}/tls.key can't be read: No such file or directory",
    ),
    "an empty certificate": (
        lambda secret: (secret / "tls.crt").write_text(""),
        "{}/tls.crt has no certificate in PEM form",
    ),
    "a certificate for a key": (
        lambda secret: (secret / "tls.key").write_bytes((secret / "tls.crt").read_bytes()),
        "{}/tls.key has no private key in PEM form",
    ),
    "another's key": (
        lambda secret: (secret / "tls.key").write_bytes(
            trustme.CA().issue_cert("localhost").private_key_pem.bytes()
        ),
        "{}/tls.key does not match {}/tls.crt",
    ),
    "half a key": (
        lambda secret: (secret / "tls.key").write_bytes((secret / "tls.key").read_bytes()[:100]),
        "{}/tls.crt, {}/tls.key can't be used: ",
    ),
    "an encrypted key": (
        lambda secret: (secret / "tls.key").write_bytes(
            encrypted((secret / "tls.key").read_bytes())
        ),
        "tls.key is encrypted",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_unusable_tls_files_fail_startup(change: str, secret: Secret) -> None:
    apply, sentence = CHANGES[change]
    apply(secret.directory)
    expected = "eci-profile: " + sentence.replace("{}", str(secret.directory))
    assert failed_start(ECI_PROFILE_TLS_DIR=str(secret.directory)).startswith(expected)


def test_an_unusable_client_ca_file_fails_startup(secret: Secret) -> None:
    def start(file: Path) -> str:
        return failed_start(
            ECI_PROFILE_TLS_DIR=str(secret.directory), ECI_PROFILE_TLS_CLIENT_CA=str(file)
        )

    file = secret.directory / "client-ca.crt"
    assert start(file) == f"eci-profile: {file} can't be read: No such file or directory"
    file.write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    assert f", {file} can't be used: " in start(file)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"PORT": "http"}, "PORT must be a number from 1 to 65535, not 'http'"),
        ({"PORT": "65536"}, "PORT must be a number from 1 to 65535, not '65536'"),
        ({"ECI_PROFILE_DRAIN": "-1"}, "ECI_PROFILE_DRAIN must be a number of seconds"),
        (
            {"ECI_PROFILE_TLS_CLIENT_CA": "ca.crt"},
            "ECI_PROFILE_TLS_DIR must be the path of a directory with tls.crt and tls.key,"
            " because ECI_PROFILE_TLS_CLIENT_CA is set",
        ),
        ({"ECI_PROFILE_TLS_DIR": "no/such"}, "no/such/tls.crt can't be read: No such file"),
    ],
)
def test_an_invalid_setting_fails_startup(settings: dict[str, str], sentence: str) -> None:
    assert failed_start(**settings).startswith(f"eci-profile: {sentence}")


@pytest.mark.no_cover
def test_a_failed_start_prints_one_sentence(secret: Secret) -> None:
    (secret.directory / "tls.key").unlink()
    assert failed_process(ECI_PROFILE_TLS_DIR=str(secret.directory)) == [
        f"eci-profile: {secret.directory}/tls.key can't be read: No such file or directory"
    ]


def test_the_default_ports_are_8080_and_with_tls_8443(secret: Secret) -> None:
    tls = {"ECI_PROFILE_TLS_DIR": str(secret.directory)}
    for port, settings in ((8080, {}), (8443, tls)):
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # already in use, which also proves the default
                stack.enter_context(socket.create_server(("", port)))
            sentence = failed_process(PORT="", **settings)[-1]
            assert sentence == f"eci-profile: can't listen on PORT {port}: Address already in use"
