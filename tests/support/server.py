"""The function as a real process: the server of a host, by default functions-framework's own."""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import jsonpatch

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
_SUPPORT = ROOT / "tests" / "support"
START_SECONDS = 60  # on a machine that does much else
REVIEW_PATH = "/mutate?timeout=5s"
REVIEW_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, */*"}


@dataclass
class Reply:
    """An HTTP response."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Service:
    """The function, wherever it runs, and the requests that one can send to it."""

    log: IO[bytes]

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        raise NotImplementedError

    def post(self, review: Any) -> Reply:
        """Send a review as kube-apiserver does."""
        return self.request("POST", REVIEW_PATH, json.dumps(review).encode(), REVIEW_HEADERS)

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric, 0 if it was never counted."""
        return self.metrics().get(series(name, labels), 0.0)

    def metrics(self) -> dict[str, float]:
        """The value of each series."""
        lines = self.request("GET", "/metrics").body.decode().split("\n")
        pairs = (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")
        return {name: float(value) for name, value in pairs}

    def log_lines(self) -> list[dict[str, Any]]:
        """What it has written to standard error, each line a JSON object."""
        with contextlib.suppress(OSError):  # it may have ended
            self.request("GET", "/metrics")  # which has it write what it still keeps
        self.log.seek(0)
        return [json.loads(line) for line in self.log.read().decode().splitlines()]


@dataclass
class Server(Service):
    """A running server process."""

    port: int
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    tls: ssl.SSLContext | None = None  # what its clients use, if it serves HTTPS

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        return request(self.port, method, path, body, headers, self.tls)

    def connect(self, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        """A connection to it, for several requests."""
        return connect(self.port, tls or self.tls)


def series(name: str, labels: Mapping[str, str]) -> str:
    """A metric of these labels, as Prometheus' text format names it."""
    written = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{written}}}" if labels else name


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Return once the condition holds; fail if it doesn't within the time.

    The longer it takes, the less often it is checked, from every 20 ms to every 100 ms.
    """
    began = time.monotonic()
    while not condition():
        passed = time.monotonic() - began
        assert passed < seconds, "did not happen in time"
        time.sleep(min(max(0.02, passed / 10), 0.1))


def serving_file(profile: Path, **settings: str) -> contextlib.AbstractContextManager[Server]:
    """Run the server with this file for a cluster, which it looks at for every review."""
    environment = {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(profile),
        "ECI_PROFILE_TTL": "0",
        **settings,
    }
    return serving(environment, profile.with_suffix(".log"))


@contextlib.contextmanager
def serving(
    environment: Mapping[str, str], log: Path, *options: str, entry: str = "handler/main.py"
) -> Iterator[Server]:
    """Run functions-framework with these settings. Its standard error goes to the file ``log``."""
    port = free_port()
    arguments = [*command(entry), "--port", str(port), *options]
    with running(arguments, port, environment, log) as server:
        yield server


@contextlib.contextmanager
def running(
    arguments: Sequence[str],
    port: int,
    environment: Mapping[str, str],
    log: Path,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Server]:
    """Run a server that listens on this port. Its standard error goes to the file ``log``."""
    log.write_bytes(b"")
    with log.open("a+b") as written:  # for the process appends while we read
        process = subprocess.Popen(
            arguments,
            env={**clean_environment(), **environment},
            stderr=written,
            cwd=ROOT,
        )
        server = Server(port, process, written, tls)
        try:
            _wait_until_alive(server)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def request(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Reply:
    """Send a request on a connection of its own."""
    with contextlib.closing(connect(port, tls)) as connection:
        return exchange(connection, method, path, body, headers)


def connect(port: int, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
    if tls:
        return http.client.HTTPSConnection("localhost", port, timeout=10, context=tls)
    return http.client.HTTPConnection("127.0.0.1", port, timeout=10)


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send a request on this connection."""
    connection.request(method, path, body, dict(headers or {}))
    response = connection.getresponse()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, response.read(), found)


def post(port: int, review: Any, tls: ssl.SSLContext | None = None) -> Reply:
    """Send a review as kube-apiserver does."""
    body = json.dumps(review).encode()
    return request(port, "POST", REVIEW_PATH, body, REVIEW_HEADERS, tls)


def command(entry: str = "handler/main.py") -> list[str]:
    program = Path(sys.executable).parent / "functions-framework"
    return [str(program), "--source", str(ROOT / entry), "--target", "admit"]


def clean_environment() -> dict[str, str]:
    """The environment without settings of the function or of a cluster, for a process of its own.

    That process has no packages that only tests need, and keeps compiled code for the next ones.
    """
    mine = ("ECI_PROFILE_", "KUBE", "FUNCTION_", "LISTEN_ADDRESS", "PORT")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(mine)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    paths = [_SUPPORT / "tests_only"]
    if "COVERAGE_PROCESS_CONFIG" in environment:
        paths.append(_SUPPORT / "coverage_hook")
    environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    return environment


def _ports() -> Iterator[int]:
    """Ports below those that Linux gives to clients, others in each of pytest-xdist's workers."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    size = (_LAST_PORT - _FIRST_PORT) // _WORKERS
    first = random.randrange(size)  # noqa: S311
    for number in itertools.count(first):
        yield _FIRST_PORT + worker * size + number % size


_FIRST_PORT, _LAST_PORT, _WORKERS = 10_000, 32_768, 16
_NUMBERS = _ports()


def free_port() -> int:
    """A port that nobody listens on, and that this gives out for the first time in long."""
    while True:
        port = next(_NUMBERS)
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            return port


def _wait_until_alive(server: Server) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.process.poll() is not None:
            server.log.seek(0)
            raise RuntimeError(f"the server ended: {server.log.read().decode()}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if server.request("GET", "/healthz").status == 200:
                return
        time.sleep(0.02)
    raise RuntimeError("the server does not answer")


def review_of(pod: Mapping[str, Any], **request: Any) -> dict[str, Any]:
    """A review of a pod's creation, with what kube-apiserver puts around the pod."""
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    resource = {"group": "", "version": "v1", "resource": "pods"}
    metadata = pod.get("metadata") or {}
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "1c92d0a6-3cdd-4720-9e91-2b55691c333b",
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            **({"name": metadata["name"]} if "name" in metadata else {}),
            "namespace": metadata.get("namespace", "default"),
            "operation": "CREATE",
            "userInfo": {"username": "admin", "groups": ["system:authenticated"]},
            "object": pod,
            "oldObject": None,
            "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
            **request,
        },
    }


def binding_of(
    namespace: str, name: str, node: str, uid: str | None = None, **metadata: Any
) -> dict[str, Any]:
    """A review of a pod's binding to a node, with what kube-apiserver puts around the Binding."""
    identity = {"name": name, "namespace": namespace, **({"uid": uid} if uid else {})}
    bound = {
        "kind": "Binding",
        "apiVersion": "v1",
        "metadata": {**identity, **metadata},
        "target": {"kind": "Node", "name": node},
    }
    kind = {"group": "", "version": "v1", "kind": "Binding"}
    review = review_of(bound, kind=kind, requestKind=kind)
    review["request"] |= {"subResource": "binding", "requestSubResource": "binding"}
    return review


def checked(reply: Reply, review: Mapping[str, Any]) -> dict[str, Any]:
    """The response in a reply, checked as kube-apiserver checks it (verifyAdmissionResponse)."""
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "application/json"
    answer = reply.json
    assert answer.keys() == {"kind", "apiVersion", "response"}
    assert answer["kind"] == "AdmissionReview"
    assert answer["apiVersion"] == review["apiVersion"]
    response: dict[str, Any] = answer["response"]
    assert response.keys() <= {
        *("uid", "allowed", "status", "patch", "patchType", "auditAnnotations", "warnings")
    }
    assert response["uid"] == review["request"]["uid"]
    assert isinstance(response["allowed"], bool)
    assert ("patch" in response) == ("patchType" in response)
    assert ("status" in response) == (not response["allowed"])
    for warning in response.get("warnings", []):
        assert warning.isascii()
        assert warning.isprintable()
        assert 0 < len(warning) <= 256
    return response


def patch_of(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The operations of a response's patch, each of them an add."""
    if "patch" not in response:
        return []
    assert response["patchType"] == "JSONPatch"
    patch: list[dict[str, Any]] = json.loads(base64.b64decode(response["patch"], validate=True))
    assert patch
    assert {operation["op"] for operation in patch} == {"add"}
    return patch


def patched(pod: Any, response: Mapping[str, Any]) -> Any:
    """The pod after the response's patch, as RFC 6902 has it."""
    return jsonpatch.apply_patch(pod, patch_of(response))
