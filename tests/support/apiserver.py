"""A kube-apiserver on loopback, as far as this project talks to one.

It speaks HTTPS to the real client, keeps its objects in memory, lets the client get ConfigMaps
and namespaces and create Events, refuses all else as RBAC would, and can be told to misbehave.
Anonymous users are off, as in many managed clusters: without a good token it answers 401.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import socket
import ssl
import struct
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import formatdate
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any, Literal, get_args
from urllib.parse import parse_qs, unquote, urlsplit

import trustme

Object = dict[str, Any]
FaultKind = Literal[
    "status", "silent", "slow", "drip", "trickle", "cut", "reset", "garbage", "wrong_kind"
]

USER = "system:serviceaccount:kube-system:eci-profile"

_VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.0", "gitCommit": "0" * 40}
_VERSION |= {"gitTreeState": "clean", "buildDate": "2026-04-22T00:00:00Z", "compiler": "gc"}
_VERSION |= {"goVersion": "go1.26.0", "platform": "linux/amd64"}
_BODIES = {
    "garbage": b"<html>not json</html>",
    "wrong_kind": b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}',
}
_REASONS = {
    404: ("NotFound", "the server could not find the requested resource"),
    429: ("TooManyRequests", "Too many requests, please try again later."),
    500: ("InternalError", "Internal error occurred: etcdserver: request timed out"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "Timeout: request did not complete within the allotted duration"),
}
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_RESOURCE = re.compile(
    r"/(?:api|apis/([^/]+))/[^/]+(?:/namespaces/([^/]+))?(?:/([^/]+)(?:/([^/]+))?)?.*"
)
_SECONDS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
_TIME = re.compile(_SECONDS + r"(\.\d+)?(Z|[+-]\d\d:\d\d)")
_MICRO_TIME = re.compile(_SECONDS + r"\.\d{6}(Z|[+-]\d\d:\d\d)")


@dataclass
class Request:
    """A request that came in; its status is None until, and unless, it is answered."""

    method: str
    path: str
    auth_ok: bool
    time: float
    status: int | None = None


@dataclass(eq=False)
class Fault:
    """Something wrong with every answer under a path prefix, until it is removed."""

    kind: FaultKind
    path_prefix: str
    code: int
    retry_after: int | None
    delay: float
    body: bytes
    removed: threading.Event = field(default_factory=threading.Event)

    def remove(self) -> None:
        """Behave again, and let the requests that this holds up have their answers at once."""
        self.removed.set()

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class _StatusError(Exception):
    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}}
        self.status |= {"status": "Failure", "message": message, "reason": reason}
        self.status |= {"code": code} if details is None else {"details": details, "code": code}


def _forbidden(method: str, url: str) -> _StatusError:
    """What the RBAC authorizer says to a user who may not do this."""
    path, query = urlsplit(url).path.rstrip("/") or "/", parse_qs(urlsplit(url).query)
    group, namespace, resource, name = (
        match.groups("") if (match := _RESOURCE.fullmatch(path)) else [""] * 4
    )
    if namespace and not resource:
        resource, name = "namespaces", namespace
    if not resource:
        message = f'forbidden: User "{USER}" cannot {method.lower()} path "{path}"'
        return _StatusError(403, "Forbidden", message, {})
    reading = "get" if name else "watch" if query.get("watch") in (["1"], ["true"]) else "list"
    verb = _VERBS.get(method, reading)
    message = (
        (f"{resource}.{group}" if group else resource)
        + (f' "{name}"' if name else "")
        + f' is forbidden: User "{USER}" cannot {verb} resource "{resource}" in API group "{group}"'
        + (f' in the namespace "{namespace}"' if namespace else " at the cluster scope")
    )
    details = {"name": name, "group": group, "kind": resource}
    return _StatusError(403, "Forbidden", message, {k: v for k, v in details.items() if v})


def _event_errors(event: Object, namespace: str) -> list[Object]:
    """The causes for which an Event is invalid."""
    errors: list[tuple[str, str, str]] = []
    about = (event.get("involvedObject") or {}).get("namespace") or ""
    if about != namespace and (about or namespace != "default"):
        why = f'Invalid value: "{about}": does not match event.namespace'
        errors.append(("involvedObject.namespace", "FieldValueInvalid", why))
    if event.get("eventTime"):  # more is asked of those Events than of the old ones
        required = ("reportingComponent", "reportingInstance", "action", "reason")
        missing = [key for key in required if not event.get(key)]
        errors += [(key, "FieldValueRequired", "Required value") for key in missing]
        if len((event.get("message") or "").encode()) > 1024:
            why = 'Invalid value: "": can have at most 1024 characters'
            errors.append(("message", "FieldValueInvalid", why))
    if not event["metadata"].get("name"):
        why = "Required value: name or generateName is required"
        errors.append(("metadata.name", "FieldValueRequired", why))
    return [{"reason": reason, "message": why, "field": key} for key, reason, why in errors]


class _Listener(ThreadingHTTPServer):
    """One spell of listening; bound from the start, so that the port stays ours until then."""

    request_queue_size = 1024

    def __init__(self, api: APIServer, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler, bind_and_activate=False)
        self.api = api
        self.connections: set[socket.socket] = set()
        self.thread: threading.Thread | None = None
        self.server_bind()

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's looks the address up in the DNS as well

    def open(self) -> None:
        self.server_activate()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        if self.thread:
            self.shutdown()
            self.thread.join()
        self.server_close()
        for connection in list(self.connections):
            # SSLSocket.shutdown would pull the TLS state from under the thread that reads.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def get_request(self) -> tuple[socket.socket, Any]:
        plain, address = super().get_request()
        # The handshake waits for the connection's own thread: here a slow client stops them all.
        connection = self.api.tls.wrap_socket(
            plain, server_side=True, do_handshake_on_connect=False
        )
        self.connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        request.close()  # without the usual shutdown, whose FIN would come before a reset

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients may leave, or not like our certificate. All else is a bug in this file, and
        # ends its thread for pytest to tell of.
        with suppress(OSError):
            raise


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        self.request.do_handshake()
        super().setup()

    def log_message(self, *_: object) -> None:
        pass

    def serve(self) -> None:
        api, received = self.server.api, time.monotonic()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        auth_ok = scheme.lower() == "bearer" and token in api.tokens
        request = Request(self.command, self.path, auth_ok, received)
        fault = api.record(request)
        kind = fault.kind if fault else None
        if fault and kind in ("silent", "slow"):
            fault.removed.wait(fault.delay if kind == "slow" else None)
        elif kind == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            return
        request.status, head, payload = api.respond(request, body, fault)
        if kind == "cut":
            payload = payload[: len(payload) // 2]
            self.close_connection = True
        if kind == "trickle":
            self.wfile.write(head)
            head = b""
        if fault and kind in ("drip", "trickle"):
            for byte in head + payload:
                self.wfile.write(bytes([byte]))
                fault.removed.wait(fault.delay)
        else:
            self.wfile.write(head + payload)


for _method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler.serve)


class APIServer:
    """The server; it listens from `start` to `stop`, or for the length of a `with` block."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._ca = trustme.CA()
        self._lock = threading.RLock()
        self._revision = itertools.count(1)
        self._faults: list[Fault] = []
        self._requests: list[Request] = []
        self.ca_file = Path(self._directory.name, "ca.crt")
        self._ca.cert_pem.write_to_path(self.ca_file)
        self.rotate_certificate(other_ca=False)
        self.token = uuid.uuid4().hex
        self.version = dict(_VERSION)
        self.objects: dict[tuple[str, str, str], Object] = {}  # by resource, namespace and name
        self.events: list[Object] = []
        for namespace in ("default", "kube-node-lease", "kube-public", "kube-system"):
            self.put_namespace(namespace)
        self._listener = _Listener(self, 0)
        self.port: int = self._listener.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"

    def __enter__(self) -> APIServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen."""
        self.accept()

    def stop(self) -> None:
        """Cut every connection, also those that wait for an answer, and give up the port."""
        self._listener.close()
        for fault in self._faults:
            fault.remove()
        self._directory.cleanup()

    def refuse(self) -> None:
        """Stop listening, so that connections are refused, and cut those there are."""
        if self._listener.thread:
            self._listener.close()
            self._listener = _Listener(self, self.port)

    def accept(self) -> None:
        """Listen again, on the same port."""
        if not self._listener.thread:
            self._listener.open()

    def rotate_certificate(self, *, other_ca: bool = True) -> None:
        """Show new connections another certificate, by default of a CA not in the CA file."""
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca = trustme.CA() if other_ca else self._ca
        ca.issue_cert("127.0.0.1", "localhost").configure_cert(self.tls)

    @property
    def token(self) -> str:
        """The bearer token; setting it makes it the only one of the accepted `tokens`."""
        return self._token

    @token.setter
    def token(self, token: str) -> None:
        self._token = token
        self.tokens = {token}

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in order of arrival."""
        with self._lock:
            return list(self._requests)

    def count(self, method: str, path_prefix: str = "/") -> int:
        """How many requests of this method came in under this path."""
        return sum(r.method == method and r.path.startswith(path_prefix) for r in self.requests)

    def clear_requests(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._requests.clear()

    def fault(
        self,
        kind: FaultKind,
        path_prefix: str = "/",
        *,
        code: int = 500,
        retry_after: int | None = None,
        delay: float = 1.0,
        body: bytes | None = None,
    ) -> Fault:
        """Misbehave under a path until the fault is removed; of several, the latest counts.

        status: answer with a Status of this code, and perhaps a Retry-After;
        silent: take the request and do not answer;
        slow: answer rightly after a delay, in seconds;
        drip: answer rightly, headers and all, one byte per delay;
        trickle: answer rightly, the body one byte per delay;
        cut: answer rightly, but close half way through the body;
        reset: reset the connection instead of answering;
        garbage: answer 200 with this body, which is no JSON;
        wrong_kind: answer 200 with a JSON object of another kind.
        """
        if kind not in get_args(FaultKind):
            raise ValueError(f"no such fault: {kind}")
        body = _BODIES.get(kind, b"") if body is None else body
        self._faults.append(Fault(kind, path_prefix, code, retry_after, delay, body))
        return self._faults[-1]

    def put_config_map(
        self,
        namespace: str,
        name: str,
        data: Mapping[str, str] | None,
        *,
        binary_data: Mapping[str, bytes] | None = None,
    ) -> Object:
        """Create a ConfigMap or replace its data, under a new resourceVersion."""
        self._get("namespaces", "", namespace)
        encoded = {key: base64.b64encode(v).decode() for key, v in (binary_data or {}).items()}
        content = {"data": dict(data or {}), "binaryData": encoded}
        metadata = {"name": name, "namespace": namespace}
        return self._put(
            "configmaps", "ConfigMap", metadata, {k: v for k, v in content.items() if v}
        )

    def delete_config_map(self, namespace: str, name: str) -> None:
        """Delete a ConfigMap."""
        self._delete("configmaps", namespace, name)

    def put_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> Object:
        """Create a namespace or replace its labels."""
        metadata = {"name": name, "labels": {**(labels or {}), "kubernetes.io/metadata.name": name}}
        content = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        return self._put("namespaces", "Namespace", metadata, content)

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace and all that is in it."""
        with self._lock:
            for key in [("namespaces", "", name), *(k for k in self.objects if k[1] == name)]:
                self._delete(*key)

    def write_kubeconfig(
        self,
        path: Path,
        *,
        token: str | None = None,
        server: str | None = None,
        ca_file: Path | None = None,
    ) -> Path:
        """Write a kubeconfig file for this server, or one that is wrong as told."""
        cluster = {
            "server": server or self.url,
            "certificate-authority": str(ca_file or self.ca_file),
        }
        user = {"token": self.token if token is None else token}
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(kubeconfig))
        return path

    def service_account(self, directory: Path) -> Path:
        """Write the files that a pod finds in /var/run/secrets/kubernetes.io/serviceaccount."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "token").write_text(self.token)
        (directory / "ca.crt").write_bytes(self.ca_file.read_bytes())
        (directory / "namespace").write_text("kube-system")
        return directory

    def record(self, request: Request) -> Fault | None:
        """Note a request that has arrived, and say what shall go wrong with it."""
        with self._lock:
            self._requests.append(request)
        standing = (fault for fault in reversed(self._faults) if not fault.removed.is_set())
        return next((f for f in standing if request.path.startswith(f.path_prefix)), None)

    def respond(
        self, request: Request, body: bytes, fault: Fault | None
    ) -> tuple[int, bytes, bytes]:
        """The status, the head and the body of the answer to a request."""
        extra: dict[str, str] = {}
        code = 201 if request.method == "POST" else 200
        if fault and fault.kind in _BODIES:
            code, payload = 200, fault.body
        else:
            try:
                answer = self._act(request, body, fault)
            except _StatusError as failure:
                answer = failure.status
                code = answer["code"]
            if "retryAfterSeconds" in answer.get("details", {}):
                extra["Retry-After"] = str(answer["details"]["retryAfterSeconds"])
            payload = json.dumps(answer, separators=(",", ":")).encode() + b"\n"
        headers = {
            "Audit-Id": str(uuid.uuid4()),
            "Cache-Control": "no-cache, private",
            "Content-Type": "application/json",
            "Date": formatdate(usegmt=True),
            "Content-Length": str(len(payload)),
        }
        lines = [f"HTTP/1.1 {code} {responses.get(code, '')}"]
        lines += [f"{key}: {value}" for key, value in {**headers, **extra}.items()]
        return code, "\r\n".join([*lines, "", ""]).encode(), payload

    def _act(self, request: Request, body: bytes, fault: Fault | None) -> Object:
        code = fault.code if fault and fault.kind == "status" else None
        if code == 401 or (code is None and not request.auth_ok):
            raise _StatusError(401, "Unauthorized", "Unauthorized")
        if code == 403:
            raise _forbidden(request.method, request.path)
        if fault and code is not None:
            phrase = responses.get(code, "Unknown")
            reason, message = _REASONS.get(code, (phrase.replace(" ", ""), phrase))
            later = fault.retry_after
            details = None if later is None else {"retryAfterSeconds": later}
            raise _StatusError(code, reason, message, details)
        parts = [unquote(part) for part in urlsplit(request.path).path.strip("/").split("/")]
        match request.method, parts:
            case "GET", ["version"]:
                return self.version
            case "GET", ["api", "v1", "namespaces", name]:
                return self._get("namespaces", "", name)
            case "GET", ["api", "v1", "namespaces", namespace, "configmaps", name]:
                return self._get("configmaps", namespace, name)
            case "POST", ["api", "v1", "namespaces", namespace, "events"]:
                return self._create_event(namespace, body)
        raise _forbidden(request.method, request.path)

    def _create_event(self, namespace: str, body: bytes) -> Object:
        try:
            event: Object = json.loads(body)
        except ValueError as error:
            why = f"couldn't get version/kind; json parse error: {error}"
            raise _StatusError(400, "BadRequest", why) from error
        for key, form in (
            ("firstTimestamp", _TIME),
            ("lastTimestamp", _TIME),
            # A MicroTime without exactly six decimals does not parse, and that is what
            # datetime.isoformat gives once in a million times.
            ("eventTime", _MICRO_TIME),
        ):
            if (value := event.get(key)) is not None and not form.fullmatch(value):
                why = f'Event in version "v1" cannot be handled as a Event: parsing time "{value}"'
                raise _StatusError(400, "BadRequest", why)
        metadata = event["metadata"] = dict(event.get("metadata") or {})
        if metadata.setdefault("namespace", namespace) != namespace:
            why = "the namespace of the provided object does not match the namespace sent on the"
            why += " request"
            raise _StatusError(400, "BadRequest", why)
        if metadata.get("generateName") and not metadata.get("name"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        name = metadata.get("name") or ""
        with self._lock:
            self._get("namespaces", "", namespace)
            if causes := _event_errors(event, namespace):
                errors = ", ".join(f"{cause['field']}: {cause['message']}" for cause in causes)
                why = f'Event "{name}" is invalid: ' + (f"[{errors}]" if causes[1:] else errors)
                details = {"name": name, "kind": "Event", "causes": causes}
                raise _StatusError(422, "Invalid", why, details)
            if ("events", namespace, name) in self.objects:
                details = {"name": name, "kind": "events"}
                raise _StatusError(409, "AlreadyExists", f'events "{name}" already exists', details)
            self.events.append(self._put("events", "Event", metadata, event))
            return self.events[-1]

    def _get(self, resource: str, namespace: str, name: str) -> Object:
        try:
            return self.objects[resource, namespace, name]
        except KeyError as error:
            details = {"name": name, "kind": resource}
            why = f'{resource} "{name}" not found'
            raise _StatusError(404, "NotFound", why, details) from error

    def _put(self, resource: str, kind: str, metadata: Object, content: Object) -> Object:
        key = (resource, metadata.get("namespace", ""), metadata["name"])
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._lock:
            identity = {"uid": str(uuid.uuid4()), "creationTimestamp": now}
            if key in self.objects:
                identity = {k: self.objects[key]["metadata"][k] for k in identity}
            metadata = {**metadata, **identity, "resourceVersion": str(next(self._revision))}
            # A new object each time: requests may be sending the one before.
            self.objects[key] = {**content, "kind": kind, "apiVersion": "v1", "metadata": metadata}
            return self.objects[key]

    def _delete(self, resource: str, namespace: str, name: str) -> None:
        with self._lock:
            del self.objects[resource, namespace, name]
            next(self._revision)
