"""The container's own server: TLS, certificates that are renewed, and the end of the process."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hosts import SERVE, container
from server import (
    ROOT,
    Reply,
    Server,
    checked,
    clean_environment,
    exchange,
    free_port,
    review_of,
    wait_until,
)

FILE = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": "k8s/sample/profile.yaml"}
REVIEW = review_of(
    {"metadata": {"name": "train", "namespace": "batch", "labels": {"gpu": "a"}}, "spec": {}}
)
BODY = json.dumps(REVIEW).encode()
CLIENTS = 10
FOLLOW_SECONDS = 2


class Secret:
    """A mounted Secret with a certificate. kubelet writes a new folder and swaps one link to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = trustme.CA()
        self._versions = 0
        directory.mkdir()
        self.serial = self.renew()
        for name in ("tls.crt", "tls.key"):
            (directory / name).symlink_to(f"..data/{name}")

    def renew(self, *, matching: bool = True) -> int:
        """Have another certificate, and return its serial number."""
        certificate = self.ca.issue_cert("localhost", "127.0.0.1")
        key = certificate if matching else self.ca.issue_cert("localhost")
        self._versions += 1
        data = self.directory / f"..version-{self._versions}"
        data.mkdir()
        chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
        (data / "tls.crt").write_bytes(chain)
        (data / "tls.key").write_bytes(key.private_key_pem.bytes())
        link = self.directory / "..data_tmp"
        link.symlink_to(data.name)
        link.replace(self.directory / "..data")
        return x509.load_pem_x509_certificate(chain).serial_number

    def client(self, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """What a client uses that trusts the certificate's issuer."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if certificate:
            certificate.configure_cert(context)
        return context


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    return Secret(tmp_path / "secret")


@contextlib.contextmanager
def serving(secret: Secret, log: Path, **settings: str) -> Iterator[Server]:
    environment = {**FILE, "ECI_PROFILE_TLS_DIR": str(secret.directory), **settings}
    with container(environment, log, tls=secret.client()) as server:
        yield server


def send(connection: http.client.HTTPConnection) -> Reply:
    return exchange(connection, "POST", "/mutate?timeout=5s", BODY)


def serial(server: Server) -> int:
    """Of the certificate that a new connection is shown."""
    with contextlib.closing(server.connect()) as connection:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        certificate = connection.sock.getpeercert(binary_form=True)
        assert certificate
        return x509.load_der_x509_certificate(certificate).serial_number


@contextlib.contextmanager
def load(client: Callable[[threading.Event], None]) -> Iterator[list[BaseException]]:
    """Run clients at once until the block ends, and then have what failed in them."""
    failures: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            client(done)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        done.set()
        for thread in threads:
            thread.join()


class _Idle(NamedTuple):
    connections: Sequence[http.client.HTTPConnection]
    since: float


@pytest.fixture(scope="module", autouse=True)
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Idle]:
    """Connections that are idle while the other tests run: the last one looks at them."""
    directory = tmp_path_factory.mktemp("idle")
    with (
        serving(Secret(directory / "secret"), directory / "tls.log") as server,
        container(FILE, directory / "plain.log") as plain,
        contextlib.closing(server.connect()) as one,
        contextlib.closing(plain.connect()) as other,
    ):
        for connection in (one, other):
            assert send(connection).status == 200
            connection.auto_open = 0
        yield _Idle((one, other), time.monotonic())


def test_it_serves_tls_with_names_and_without(secret: Secret, log: Path) -> None:
    with serving(secret, log) as server:
        assert checked(server.post(REVIEW), REVIEW)["patch"]
        assert server.request("GET", "/readyz").status == 200
        by_address = http.client.HTTPSConnection("127.0.0.1", server.port, context=server.tls)
        assert send(by_address).status == 200  # a client that names an address sends no SNI
        by_address.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_from_1_2_on(version: ssl.TLSVersion, secret: Secret, log: Path) -> None:
    with serving(secret, log) as server:
        context = secret.client()
        context.minimum_version = context.maximum_version = version
        with contextlib.closing(server.connect(context)) as connection:
            assert send(connection).status == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_not_tls_1_1(secret: Secret, log: Path) -> None:
    with serving(secret, log) as server:
        context = secret.client()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError, match=r"protocol version|reset|EOF"):
            server.connect(context).connect()


def test_answers_do_not_wait_for_acknowledgements(log: Path) -> None:
    """Head and body are two packets, and Linux acknowledges the first after 40 ms if need be."""
    with container(FILE, log) as server, contextlib.closing(server.connect()) as connection:
        began = time.monotonic()
        for _ in range(100):
            assert send(connection).status == 200
        assert time.monotonic() - began < 3


def test_a_certificate_is_replaced_under_load(secret: Secret, log: Path) -> None:
    """At least 5000 requests over kept connections, a renewal amid them, and no failure."""
    counts: list[int] = []

    with serving(secret, log, ECI_PROFILE_LOG_LEVEL="warning") as server:

        def client(done: threading.Event) -> None:
            count = 0
            with contextlib.closing(server.connect()) as connection:
                connection.connect()
                connection.auto_open = 0  # a connection that was closed shall fail
                while count < 600 or not done.is_set():
                    assert send(connection).status == 200
                    count += 1
            counts.append(count)

        with load(client) as failures:
            time.sleep(1)
            assert serial(server) == secret.serial
            renewed = secret.renew()
            wait_until(lambda: serial(server) == renewed, 60)
        assert failures == []
        assert len(counts) == CLIENTS >= 8
        assert sum(counts) >= 5000


def test_a_pair_that_does_not_match_is_not_taken_over(secret: Secret, log: Path) -> None:
    with serving(secret, log) as server:

        def warnings() -> list[str]:
            return [line["reason"] for line in server.log_lines() if line["level"] == "WARNING"]

        secret.renew(matching=False)
        wait_until(lambda: bool(warnings()), 10)
        time.sleep(2 * FOLLOW_SECONDS + 1)
        assert serial(server) == secret.serial
        (warning,) = warnings()
        assert warning == (
            f"{secret.directory}/tls.key is not the key of {secret.directory}/tls.crt"
        )
        (secret.directory / "tls.key").unlink()
        wait_until(lambda: len(warnings()) == 2, 10)
        assert warnings()[1].endswith("tls.key can't be read: No such file or directory")
        assert serial(server) == secret.serial

        renewed = secret.renew()
        (secret.directory / "tls.key").symlink_to("..data/tls.key")
        wait_until(lambda: serial(server) == renewed, 10)


def test_reviews_may_need_a_client_certificate(secret: Secret, log: Path) -> None:
    """Probes do without: kubelet has none."""
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
        with pytest.raises(OSError, match=r"unknown ca|reset|EOF|closed"):
            status(server, known[new])

        new.cert_pem.write_to_path(str(client_ca))

        def changed() -> bool:
            try:
                return status(server, known[new]) == 200
            except OSError:
                return False

        wait_until(changed, 10)
        with pytest.raises(OSError, match=r"unknown ca|reset|EOF|closed"):
            status(server, known[old])


def test_sigterm_under_load_loses_no_request(secret: Secret, tmp_path: Path) -> None:
    """Clients come by a Service: once a replica isn't ready, new connections go to the other."""
    served: list[Server] = []

    with (
        serving(secret, tmp_path / "1.log", ECI_PROFILE_DRAIN="3") as leaving,
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
            assert 3 <= time.monotonic() - began < 6
            time.sleep(0.5)
        assert failures == []
        assert served.count(leaving) > 200
        assert served.count(staying) > 200


@contextlib.contextmanager
def half_a_request(server: Server) -> Iterator[ssl.SSLSocket]:
    assert server.tls
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain,
        server.tls.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(head + BODY[:100])
        yield connection


def refused(server: Server) -> bool:
    try:
        server.request("GET", "/healthz")
    except ConnectionRefusedError:
        return True
    return False


def test_a_request_under_way_at_the_end_is_answered(secret: Secret, log: Path) -> None:
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


def test_a_request_that_never_ends_does_not_keep_the_process(secret: Secret, log: Path) -> None:
    with serving(secret, log) as server:
        with half_a_request(server):
            server.request("GET", "/healthz")
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(15) == 0
        assert server.log_lines()[-1]["level"] == "ERROR"


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]], ids=["interrupt", "twice"]
)
def test_it_can_end_at_once(signals: Sequence[int], log: Path) -> None:
    with container({**FILE, "ECI_PROFILE_DRAIN": "60"}, log) as server:
        for number in signals:
            server.process.send_signal(number)
            time.sleep(0.3)
        assert server.process.wait(5) == 0


def test_what_is_no_http_is_told_as_a_log_line(log: Path) -> None:
    with container(FILE, log) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"\x16\x03\x01\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        assert server.log_lines()[-1]["message"] == "Invalid HTTP request received."


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6 here")
def test_it_listens_on_ipv6_too(log: Path) -> None:
    with container(FILE, log) as server:
        connection = http.client.HTTPConnection("::1", server.port, timeout=10)
        assert exchange(connection, "GET", "/healthz").status == 200
        connection.close()


def failed_start(**settings: str) -> str:
    """The sentence with which it ends."""
    ended = subprocess.run(
        SERVE,
        env={**clean_environment(), **FILE, "PORT": str(free_port()), **settings},
        cwd=ROOT,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 1
    return ended.stderr.decode().splitlines()[-1]


def encrypted(key: bytes) -> bytes:
    private = serialization.load_pem_private_key(key, None)
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


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
        "{}/tls.key is not the key of {}/tls.crt",
    ),
    "half a key": (
        lambda secret: (secret / "tls.key").write_bytes((secret / "tls.key").read_bytes()[:100]),
        "of {}/tls.crt, {}/tls.key, one can't be used: ",
    ),
    "an encrypted key": (
        lambda secret: (secret / "tls.key").write_bytes(
            encrypted((secret / "tls.key").read_bytes())
        ),
        "tls.key is encrypted",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_tls_files_that_cannot_be_used_end_the_start(change: str, secret: Secret) -> None:
    apply, sentence = CHANGES[change]
    apply(secret.directory)
    expected = "eci-profile: " + sentence.replace("{}", str(secret.directory))
    assert failed_start(ECI_PROFILE_TLS_DIR=str(secret.directory)).startswith(expected)


def test_a_file_of_client_cas_that_cannot_be_used_ends_the_start(secret: Secret) -> None:
    def start(file: Path) -> str:
        return failed_start(
            ECI_PROFILE_TLS_DIR=str(secret.directory), ECI_PROFILE_TLS_CLIENT_CA=str(file)
        )

    file = secret.directory / "client-ca.crt"
    assert start(file) == f"eci-profile: {file} can't be read: No such file or directory"
    file.write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    assert f", {file}, one can't be used: " in start(file)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"PORT": "http"}, "PORT must be a number from 1 to 65535, not 'http'"),
        ({"PORT": "65536"}, "PORT must be a number from 1 to 65535, not '65536'"),
        ({"ECI_PROFILE_DRAIN": "-1"}, "ECI_PROFILE_DRAIN must be a number of seconds"),
        (
            {"ECI_PROFILE_TLS_CLIENT_CA": "ca.crt"},
            "ECI_PROFILE_TLS_DIR must be the path of a directory with tls.crt and tls.key,"
            " since ECI_PROFILE_TLS_CLIENT_CA is given",
        ),
        ({"ECI_PROFILE_TLS_DIR": "no/such"}, "no/such/tls.crt can't be read: No such file"),
    ],
)
def test_a_wrong_setting_ends_the_start(settings: dict[str, str], sentence: str) -> None:
    assert failed_start(**settings).startswith(f"eci-profile: {sentence}")


def test_the_default_ports_are_8080_and_with_tls_8443(secret: Secret) -> None:
    tls = {"ECI_PROFILE_TLS_DIR": str(secret.directory)}
    for port, settings in ((8080, {}), (8443, tls)):
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # in use already, which is as good
                stack.enter_context(socket.create_server(("", port)))
            sentence = failed_start(PORT="", **settings)
            assert sentence == f"eci-profile: PORT {port} can't be had: Address already in use"


@pytest.mark.slow
def test_a_connection_may_be_idle_for_100_seconds(idle: _Idle) -> None:
    """Go's clients, as kube-apiserver, send the next request on one that was idle up to 90."""
    time.sleep(max(0.0, idle.since + 100 - time.monotonic()))
    for connection in idle.connections:
        assert send(connection).status == 200
