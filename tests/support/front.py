"""The TLS front as in its pod: real nginx, with certificates from the scripts in k8s/."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from manifests import K8S
from server import free_port, wait_until

NAME = "eci-profile.eci-profile.svc"
FRONT = K8S / "front"
MAKE = K8S / "certs" / "self-signed" / "make.sh"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
INTERVAL = 0.2

needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def make(directory: Path, days: int = 365, name: str = NAME) -> None:
    subprocess.run([MAKE, directory, str(days), name], check=True)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def strict(trusted: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=trusted)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.hostname_checks_common_name = False  # as in Go
    return context


@dataclass
class Front:
    port: int
    tls: Path
    log: Path
    name: str

    def connect(self) -> http.client.HTTPConnection:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection = http.client.HTTPConnection(self.name)
        connection.sock = strict(self.tls / "bundle.crt").wrap_socket(
            plain, server_hostname=self.name
        )
        return connection

    def serial(self) -> int:
        with contextlib.closing(self.connect()) as connection:
            assert isinstance(connection.sock, ssl.SSLSocket)
            found = connection.sock.getpeercert(binary_form=True)
            assert found
            return x509.load_der_x509_certificate(found).serial_number


def send(
    connection: http.client.HTTPConnection, body: bytes, path: str = "/mutate?timeout=5s"
) -> tuple[int, bytes]:
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()


@contextlib.contextmanager
def front(
    upstream: int, tls: Path, host: str = "knative", server_name: str = NAME
) -> Iterator[Front]:
    """Run the front as in its pod, except for ports and paths."""
    # nginx's workers drop root privileges and can't read pytest's temporary directory.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        port = free_port()
        here = {"8443": str(port), "/etc/nginx/front": name, "/tls/": f"{tls}/", "/tmp": name}  # noqa: S108
        for source in (FRONT / "nginx.conf", K8S / host / "upstream.conf"):
            text = re.sub("|".join(here), lambda found: here[found[0]], source.read_text())
            text = re.sub(r"(?<=server )\S+:\d+", f"127.0.0.1:{upstream}", text)
            (directory / source.name).write_text(text)
        log = directory / "front.log"
        environment = {
            **os.environ,
            "TLS_DIR": str(tls),
            "NGINX_CONF": str(directory / "nginx.conf"),
            "INTERVAL": str(INTERVAL),
            "PATH": f"{Path(NGINX or '').parent}:{os.environ['PATH']}",
        }
        with log.open("wb") as written:
            process = subprocess.Popen([FRONT / "run.sh"], env=environment, stderr=written)
        try:
            running = Front(port, tls, log, server_name)
            wait_until(lambda: answers(running) or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield running
        finally:
            process.terminate()
            process.wait(20)


def answers(running: Front, path: str = "/front/healthz") -> bool:
    try:
        with contextlib.closing(running.connect()) as connection:
            connection.request("GET", path)
            return connection.getresponse().status == 200
    except OSError:
        return False
