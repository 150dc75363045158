"""A real control plane, etcd and kube-apiserver, if both are on the machine.

They are looked for in the folder ``KUBEBUILDER_ASSETS``, which ``setup-envtest`` prints, and on
``PATH``. Without kubelets and controllers, pods are admitted and stored, and nothing runs.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from server import free_port, request

__all__ = ["ControlPlane", "missing", "running"]

_PROGRAMS = ("etcd", "kube-apiserver")
_START_SECONDS = 120
_TOKEN = "admin"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running API server. ``headers`` are those of an administrator."""

    port: int
    headers: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        """Send one request with JSON and return that of the response. Raises RuntimeError."""
        body = None if content is None else json.dumps(content).encode()
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it signs its certificate itself
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        reply = request(self.port, method, path, body, self.headers, unverified)
        if reply.status >= 400:
            raise RuntimeError(f"{method} {path}: {reply.status} {reply.body.decode()}")
        return reply.json


def missing() -> str:
    """Return which programs are not on the machine, or an empty string."""
    return " and ".join(name for name in _PROGRAMS if not _program(name))


@contextlib.contextmanager
def running(folder: Path) -> Iterator[ControlPlane]:
    """Run both in the folder, which gets their logs, too, until the end of the context."""
    folder.mkdir()
    accounts, tokens = folder / "accounts.key", folder / "tokens.csv"
    accounts.write_bytes(
        rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    tokens.write_text(f"{_TOKEN},admin,admin,system:masters\n")
    with contextlib.ExitStack() as stack:
        logs = {
            name: stack.enter_context((folder / f"{name}.log").open("wb")) for name in _PROGRAMS
        }
        storage, peers, port = free_port(), free_port(), free_port()
        stack.enter_context(_process(logs["etcd"], "etcd", *_etcd(folder, storage, peers)))
        arguments = {
            "etcd-servers": f"http://127.0.0.1:{storage}",
            "bind-address": "127.0.0.1",
            "secure-port": port,
            "cert-dir": folder / "certificates",
            "service-cluster-ip-range": "10.0.0.0/24",
            "token-auth-file": tokens,
            "authorization-mode": "RBAC",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": accounts,
            "service-account-signing-key-file": accounts,
            # It would wait for the account that a controller creates in each namespace.
            "disable-admission-plugins": "ServiceAccount",
        }
        options = [f"--{name}={value}" for name, value in arguments.items()]
        process = stack.enter_context(_process(logs["kube-apiserver"], "kube-apiserver", *options))
        yield _ready(process, port, folder)


def _etcd(folder: Path, storage: int, peers: int) -> list[str]:
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{storage}",
        f"--advertise-client-urls=http://127.0.0.1:{storage}",
        f"--listen-peer-urls=http://127.0.0.1:{peers}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peers}",
        f"--initial-cluster=default=http://127.0.0.1:{peers}",
    ]


def _ready(process: subprocess.Popen[bytes], port: int, folder: Path) -> ControlPlane:
    headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
    end = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException, RuntimeError):
            found = ControlPlane(port, headers)
            found.ask("GET", "/api/v1/namespaces/default")
            return found
        time.sleep(0.2)
    log = (folder / "kube-apiserver.log").read_text(errors="replace")
    raise RuntimeError(f"kube-apiserver does not respond: {log[-2000:]}")


@contextlib.contextmanager
def _process(log: IO[bytes], name: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([_program(name) or name, *options], stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _program(name: str) -> str | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return (assets and shutil.which(name, path=assets)) or shutil.which(name)
