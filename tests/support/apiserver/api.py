"""The server itself: who may do what, and what comes of it."""

from __future__ import annotations

import base64
import copy
import json
import re
import ssl
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from email.utils import formatdate
from http.client import responses
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, unquote, urlsplit

import jsonpatch
import trustme

from .admission import ADMITTED, admit
from .discovery import RESOURCES, discovery, resource_list
from .events import read_event, validate_event
from .grants import Grant, allows
from .objects import Key, Objects, merged, selected, stored
from .status import (
    Object,
    StatusError,
    already_exists,
    conflict,
    forbidden,
    immutable,
    unknown_resource,
)
from .wire import Fault, FaultKind, Listener, Request

_VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.0", "gitCommit": "0" * 40}
_VERSION |= {"gitTreeState": "clean", "buildDate": "2026-04-22T00:00:00Z", "compiler": "gc"}
_VERSION |= {"goVersion": "go1.26.0", "platform": "linux/amd64"}
_REGISTRATIONS = "mutatingwebhookconfigurations"
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


class APIServer(Objects):
    """The server; it listens from `start` to `stop`, or for the length of a `with` block.

    ``webhook_ca``: whom it trusts as webhooks; without, the system's CAs. ``effects_at_binding``:
    whether the service account has the rights of that component, and ``narrow_registration`` of
    that one. ``grants``: the rights of further service accounts, by their token.
    ``registration_versions``: those it serves.
    """

    def __init__(self, webhook_ca: Path | None = None) -> None:
        super().__init__()
        self.effects_at_binding = False
        self.narrow_registration = False
        self.registration_versions = ["v1"]
        self._webhook_ca = webhook_ca
        self._directory = tempfile.TemporaryDirectory()
        self._ca = trustme.CA()
        self._faults: list[Fault] = []
        self._requests: list[Request] = []
        self.ca_file = Path(self._directory.name, "ca.crt")
        self._ca.cert_pem.write_to_path(self.ca_file)
        self.rotate_certificate(other_ca=False)
        self.token = uuid.uuid4().hex
        self.admin_token = uuid.uuid4().hex
        self.grants: dict[str, set[Grant]] = {}
        self.version = dict(_VERSION)
        self.events: list[Object] = []
        for namespace in ("default", "kube-node-lease", "kube-public", "kube-system"):
            self.put_namespace(namespace)
        self._listener = Listener(self, 0)
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
            self._listener = Listener(self, self.port)

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
        with self.lock:
            return list(self._requests)

    def count(self, method: str, path_prefix: str = "/") -> int:
        """How many requests of this method came in under this path."""
        return sum(r.method == method and r.path.startswith(path_prefix) for r in self.requests)

    def clear_requests(self) -> None:
        """Forget the requests so far."""
        with self.lock:
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
        self.get("v1", "namespaces", "", namespace)
        encoded = {key: base64.b64encode(v).decode() for key, v in (binary_data or {}).items()}
        content = {"data": dict(data or {}), "binaryData": encoded}
        written = {"kind": "ConfigMap", "metadata": {"name": name}}
        written |= {key: value for key, value in content.items() if value}
        return self.put("v1", "configmaps", namespace, written)

    def delete_config_map(self, namespace: str, name: str) -> None:
        """Delete a ConfigMap."""
        self.delete("v1", "configmaps", namespace, name)

    def put_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> Object:
        """Create a namespace or replace its labels."""
        written: Object = {"kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}
        written |= {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        return self.put("v1", "namespaces", "", written)

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace and all that is in it."""
        self.delete("v1", "namespaces", "", name)

    def put_node(
        self, name: str, labels: Mapping[str, str] | None = None, taints: Sequence[str] = ()
    ) -> Object:
        """Create a node or replace its labels and taints, each of them `key=value:effect`."""
        written: Object = {"kind": "Node", "metadata": {"name": name, "labels": dict(labels or {})}}
        for key, value, effect in (re.split("[=:]", taint) for taint in taints):
            taint = {"key": key, **({"value": value} if value else {}), "effect": effect}
            written.setdefault("spec", {}).setdefault("taints", []).append(taint)
        return self.put("v1", "nodes", "", written)

    def delete_node(self, name: str) -> None:
        """Delete a node."""
        self.delete("v1", "nodes", "", name)

    def put_pod(self, namespace: str, pod: Mapping[str, Any]) -> Object:
        """Create a pod or replace it, as it is after admission."""
        self.get("v1", "namespaces", "", namespace)
        return self.put("v1", "pods", namespace, {"kind": "Pod", **pod})

    def delete_pod(self, namespace: str, name: str) -> None:
        """Delete a pod."""
        self.delete("v1", "pods", namespace, name)

    def put_registration(self, registration: Mapping[str, Any]) -> Object:
        """Create a MutatingWebhookConfiguration or replace it."""
        return self.put(registration["apiVersion"], _REGISTRATIONS, "", dict(registration))

    def registration(self, name: str = "eci-profile", version: str = "v1") -> Object:
        """The MutatingWebhookConfiguration as it is."""
        return self.get(f"admissionregistration.k8s.io/{version}", _REGISTRATIONS, "", name)

    def write_kubeconfig(
        self,
        path: Path,
        *,
        token: str | None = None,
        server: str | None = None,
        ca_file: Path | None = None,
        admin: bool = False,
    ) -> Path:
        """Write a kubeconfig file for this server, or one that is wrong as told.

        It is the function's, who may do little, or that of an admin, who may do all.
        """
        cluster = {
            "server": server or self.url,
            "certificate-authority": str(ca_file or self.ca_file),
        }
        own = self.admin_token if admin else self.token
        user = {"token": own if token is None else token}
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

    @contextmanager
    def meanwhile(self, change: Callable[[], object], path_prefix: str = "/") -> Iterator[None]:
        """Have something change once, when a PATCH arrives under a path, before it is looked at."""
        once, record = threading.Event(), self.record

        def recorded(request: Request) -> Fault | None:
            matches = request.method == "PATCH" and request.path.startswith(path_prefix)
            if matches and not once.is_set():
                once.set()
                change()
            return record(request)

        self.record = recorded  # type: ignore[method-assign]
        yield
        assert once.is_set()
        self.record = record  # type: ignore[method-assign]

    def record(self, request: Request) -> Fault | None:
        """Note a request that has arrived, and say what shall go wrong with it."""
        with self.lock:
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
            except StatusError as failure:
                answer = failure.status
                code = answer["code"]
            if "retryAfterSeconds" in answer.get("details", {}):
                extra["Retry-After"] = str(answer["details"]["retryAfterSeconds"])
            payload = json.dumps(answer, separators=(",", ":")).encode() + b"\n"
            if "watch" in parse_qs(urlsplit(request.path).query) and code == 200:
                payload = b""  # a watch that has nothing to tell, and ends
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
            raise StatusError(401, "Unauthorized", "Unauthorized")
        if code == 403:
            raise forbidden(request.method, request.path)
        if fault and code is not None:
            phrase = responses.get(code, "Unknown")
            reason, message = _REASONS.get(code, (phrase.replace(" ", ""), phrase))
            later = fault.retry_after
            details = None if later is None else {"retryAfterSeconds": later}
            raise StatusError(code, reason, message, details)
        parts = [unquote(part) for part in urlsplit(request.path).path.strip("/").split("/")]
        return self._act_on(request, parts, body)

    def _act_on(self, request: Request, parts: list[str], body: bytes) -> Object:
        if not allows(self.grants.get(request.token), request.method, parts):
            raise forbidden(request.method, request.path)
        match request.method, parts:
            case "GET", ["version"]:
                return self.version
            case "POST", ["api", "v1", "namespaces", namespace, "events"]:
                return self._create_event(namespace, body)
            case _ if request.admin or request.token in self.grants:
                return self._act_for_admin(request, parts, body)
            case "GET", ["api", "v1", "namespaces", name]:
                return self.get("v1", "namespaces", "", name)
            case "GET", ["api", "v1", "namespaces", namespace, "configmaps", name]:
                return self.get("v1", "configmaps", namespace, name)
        return self._act_by_component(request, parts, body)

    def _act_by_component(self, request: Request, parts: list[str], body: bytes) -> Object:
        if self.effects_at_binding:
            match request.method, parts:
                case "GET", ["api", "v1", "nodes", name]:
                    return self.get("v1", "nodes", "", name)
                case "GET", ["api", "v1", "namespaces", namespace, "pods", name]:
                    return self.get("v1", "pods", namespace, name)
        if self.narrow_registration:
            match request.method, parts:
                case (
                    "GET" | "PATCH",
                    ["apis", "admissionregistration.k8s.io", version, resource, "eci-profile"],
                ) if resource == _REGISTRATIONS:
                    if version not in self.registration_versions:
                        raise unknown_resource()
                    return self._act_for_admin(request, parts, body)
        raise forbidden(request.method, request.path)

    def _act_for_admin(self, request: Request, path: list[str], body: bytes) -> Object:
        if path[0] == "openapi" or path in (["api"], ["apis"]):
            return discovery(path)
        version, rest = ("v1", path[2:]) if path[0] == "api" else ("/".join(path[1:3]), path[3:])
        if version not in RESOURCES:
            raise unknown_resource()
        if not rest:
            return resource_list(version)
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        resource, name = rest[0], rest[1] if rest[1:] else ""
        query = {key: values[0] for key, values in parse_qs(urlsplit(request.path).query).items()}
        match request.method:
            case "GET" if name:
                return self.get(version, resource, namespace, name)
            case "GET":
                return self._list(version, resource, namespace, query)
            case "DELETE":
                self.delete(version, resource, namespace, name)
                return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        # Not while webhooks are asked, which ask this server.
        with nullcontext() if resource in ADMITTED else self.lock:
            return self._write(request, (version, resource, namespace, name), query, body)

    def _write(self, request: Request, key: Key, query: dict[str, str], body: bytes) -> Object:
        version, resource, namespace, _ = key
        written = self._written(request, key, body)
        dry_run = query.get("dryRun") == "All"
        if resource in ADMITTED:
            written["metadata"].setdefault("namespace", namespace)
            operation = "CREATE" if request.method == "POST" else "UPDATE"
            written = admit(self, self._webhook_ca, operation, resource, written, dry_run)
        if version.startswith("admissionregistration.k8s.io/"):
            written = stored(written)
        return written if dry_run else self.put(version, resource, namespace, written)

    def _written(self, request: Request, key: Key, body: bytes) -> Object:
        """What a request writes, before admission."""
        given = json.loads(body)
        if request.method == "PATCH":
            before = copy.deepcopy(self.get(*key))
            found: Object
            match request.content_type:
                case "application/json-patch+json":
                    found = jsonpatch.apply_patch(before, given)
                case "application/merge-patch+json":
                    found = merged(before, given, strategic=False)
                case "application/strategic-merge-patch+json":
                    found = merged(before, given)
                case _:
                    why = "the body of the request was in an unknown format"
                    raise StatusError(415, "UnsupportedMediaType", why)
            self._check_version(key, found)
            return found
        name, version = given["metadata"]["name"], given["metadata"].get("resourceVersion")
        if request.method == "POST" and (*key[:3], name) in self.objects:
            raise already_exists(key[1], name)
        if request.method == "POST" and version:
            message = "resourceVersion should not be set on objects to be created"
            raise StatusError(500, "InternalError", message)
        written: Object = given
        if request.method == "PUT":
            self._check_version(key, written)
            if written.get("type") != self.get(*key).get("type"):
                raise immutable(key[1], key[3], "type")
        return written

    def _check_version(self, key: Key, written: Object) -> None:
        """Refuse what somebody has read before somebody else changed it."""
        current = self.get(*key)["metadata"]["resourceVersion"]
        if written["metadata"].get("resourceVersion") not in (None, "", current):
            raise conflict(key[0], key[1], key[3])

    def _list(
        self, version: str, resource: str, namespace: str, query: Mapping[str, str]
    ) -> Object:
        """A list, or a page of it: ``continue`` is where it begins. Items have no kind."""
        kind = next(kind for plural, kind, _ in RESOURCES[version] if plural == resource)
        wanted = query.get("fieldSelector", "").removeprefix("metadata.name=")
        labels = query.get("labelSelector", "")
        items = [
            {field: value for field, value in found.items() if field not in ("kind", "apiVersion")}
            for key, found in list(self.objects.items())
            if key[:2] == (version, resource)
            and namespace in ("", key[2])
            and wanted in ("", key[3])
            and selected(found, labels)
        ]
        metadata: Object = {"resourceVersion": "1"}
        start = int(query.get("continue", "0"))
        end = start + int(query.get("limit", "0")) or len(items)
        if end < len(items):
            metadata |= {"continue": str(end), "remainingItemCount": len(items) - end}
        head = {"kind": f"{kind}List", "apiVersion": version}
        return {**head, "metadata": metadata, "items": items[start:end]}

    def _create_event(self, namespace: str, body: bytes) -> Object:
        event = read_event(body, namespace)
        with self.lock:
            self.get("v1", "namespaces", "", namespace)
            validate_event(event, namespace)
            name = event["metadata"]["name"]
            if ("v1", "events", namespace, name) in self.objects:
                raise already_exists("events", name)
            event["kind"] = "Event"
            self.events.append(self.put("v1", "events", namespace, event))
            return self.events[-1]
