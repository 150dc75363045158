"""A cluster on loopback for the real kubectl: an API server's generic part, and its admission.

It keeps any objects of the resources below and calls the mutating and validating webhooks that
are registered by URL. Workloads are ready at once; nothing runs, and nobody is refused.
"""

from __future__ import annotations

import base64
import copy
import json
import ssl
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonpatch
from registration import concerned, conditions_hold, selects

Object = dict[str, Any]

# Group and version: plural, kind, and whether it is namespaced.
RESOURCES: dict[str, list[tuple[str, str, bool]]] = {
    "v1": [
        ("namespaces", "Namespace", False),
        ("configmaps", "ConfigMap", True),
        ("events", "Event", True),
        ("pods", "Pod", True),
        ("secrets", "Secret", True),
        ("serviceaccounts", "ServiceAccount", True),
        ("services", "Service", True),
    ],
    "apps/v1": [("deployments", "Deployment", True)],
    "autoscaling/v1": [("horizontalpodautoscalers", "HorizontalPodAutoscaler", True)],
    "policy/v1": [("poddisruptionbudgets", "PodDisruptionBudget", True)],
    "rbac.authorization.k8s.io/v1": [
        ("clusterroles", "ClusterRole", False),
        ("clusterrolebindings", "ClusterRoleBinding", False),
        ("roles", "Role", True),
        ("rolebindings", "RoleBinding", True),
    ],
    "admissionregistration.k8s.io/v1": [
        ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False),
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False),
    ],
    "apiextensions.k8s.io/v1": [("customresourcedefinitions", "CustomResourceDefinition", False)],
    "cert-manager.io/v1": [("certificates", "Certificate", True), ("issuers", "Issuer", True)],
    "serving.knative.dev/v1": [("services", "Service", True)],
    "openfaas.com/v1": [("functions", "Function", True)],
}


class _RefusedError(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
        self.status |= {"code": code, "reason": reason, "message": message}  # type: ignore[dict-item]
        self.code = code


class Cluster:
    """The server, for the length of a `with` block. ``ca``: whom it trusts as webhooks."""

    def __init__(self, ca: Path | None = None) -> None:
        self.ca = ca
        self.objects: dict[tuple[str, str, str, str], Object] = {}
        self._lock = threading.RLock()
        self._revision = 0
        for name in ("default", "kube-system", "openfaas-fn"):
            self.put("v1", "namespaces", "", {"kind": "Namespace", "metadata": {"name": name}})
        handler = type("Handler", (_Handler,), {"cluster": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True

    def __enter__(self) -> Cluster:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def write_kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig file for this cluster."""
        server = f"http://127.0.0.1:{self._server.server_port}"
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": server}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(kubeconfig))
        return path

    def names(self) -> set[str]:
        """What there is, but for what was there from the start: resource/namespace/name."""
        return {
            "/".join(filter(None, key[1:]))
            for key in self.objects
            if key[1:] not in {("namespaces", "", n) for n in ("default", "kube-system")}
            and key[1:] != ("namespaces", "", "openfaas-fn")
        }

    def get(self, version: str, resource: str, namespace: str, name: str) -> Object:
        """Return an object."""
        try:
            return self.objects[version, resource, namespace, name]
        except KeyError:
            raise _RefusedError(404, "NotFound", f'{resource} "{name}" not found') from None

    def put(self, version: str, resource: str, namespace: str, written: Object) -> Object:
        """Store an object, as its controllers would leave it."""
        with self._lock:
            self._revision += 1
            name = written["metadata"]["name"]
            key = (version, resource, namespace, name)
            before = self.objects.get(key, {"metadata": {"uid": str(uuid.uuid4())}})
            metadata = {**written["metadata"], "uid": before["metadata"]["uid"], "generation": 1}
            metadata |= {"namespace": namespace} if namespace else {}
            if resource == "namespaces":
                labels = metadata.get("labels") or {}
                metadata["labels"] = {**labels, "kubernetes.io/metadata.name": name}
            found = {**written, "apiVersion": version, "metadata": metadata}
            if written["kind"] in ("Deployment", "Service"):
                replicas = written["spec"].get("replicas", 1)
                found["status"] = {
                    "observedGeneration": 1,
                    **dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), replicas),
                    "conditions": [{"type": "Ready", "status": "True"}],
                }
            if before != {**found, "metadata": {**metadata, **_revision_of(before)}}:
                metadata["resourceVersion"] = str(self._revision)
                self.objects[key] = found
            return self.objects[key]

    def delete(self, version: str, resource: str, namespace: str, name: str) -> None:
        """Delete an object, with all that is in it."""
        self.get(version, resource, namespace, name)
        with self._lock:
            del self.objects[version, resource, namespace, name]
            if resource == "namespaces":
                for key in [key for key in self.objects if key[2] == name]:
                    del self.objects[key]

    def admit(self, operation: str, resource: str, written: Object, dry_run: bool) -> Object:
        """What becomes of an object by the webhooks. Raises what one of them refuses."""
        metadata = written["metadata"]
        namespace = self.get("v1", "namespaces", "", metadata["namespace"])
        request = {
            "uid": str(uuid.uuid4()),
            "resource": {"group": "", "version": "v1", "resource": resource},
            "name": metadata.get("name", ""),
            "namespace": metadata["namespace"],
            "operation": operation,
            "dryRun": dry_run,
            "object": written,
        }
        for webhook in self._webhooks():
            request["object"] = written
            if (
                concerned(webhook, request)
                and selects(webhook, written, namespace["metadata"]["labels"])
                and conditions_hold(webhook, request)
            ):
                response = self._call(webhook["clientConfig"]["url"], request)
                if not response["allowed"]:
                    status = response["status"]
                    raise _RefusedError(status["code"], status["reason"], status["message"])
                if "patch" in response:
                    patch = json.loads(base64.b64decode(response["patch"]))
                    written = jsonpatch.apply_patch(written, patch)
        return written

    def _webhooks(self) -> Iterator[Object]:
        for resource in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
            for key, registration in list(self.objects.items()):
                if key[1] == resource:
                    yield from registration["webhooks"]

    def _call(self, url: str, request: Object) -> Object:
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        body = json.dumps({**review, "request": request}).encode()
        sent = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        context = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(sent, timeout=5, context=context) as answer:
            response: Object = json.load(answer)["response"]
            return response


def _revision_of(found: Object) -> Object:
    return {k: v for k, v in found["metadata"].items() if k == "resourceVersion"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def log_message(self, *_: object) -> None:
        pass

    def serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            code, answer = self._answer(body)
        except _RefusedError as refused:
            code, answer = refused.code, refused.status
        # A watch that has nothing to tell, and ends.
        watched = "watch" in parse_qs(urlsplit(self.path).query)
        payload = b"" if watched else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _answer(self, body: bytes) -> tuple[int, Object]:
        parts = urlsplit(self.path)
        path = parts.path.strip("/").split("/")
        if path[0] == "openapi" or path in (["api"], ["apis"], ["version"]):
            return 200, _discovery(path)
        version, rest = ("v1", path[2:]) if path[0] == "api" else ("/".join(path[1:3]), path[3:])
        if version not in RESOURCES:
            raise _RefusedError(404, "NotFound", "the server could not find this")
        if not rest:
            return 200, _resource_list(version)
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        return self._act(version, rest[0], namespace, rest[1] if rest[1:] else "", query, body)

    def _act(
        self,
        version: str,
        resource: str,
        namespace: str,
        name: str,
        query: dict[str, str],
        body: bytes,
    ) -> tuple[int, Object]:
        cluster = self.cluster
        kind = next(kind for plural, kind, _ in RESOURCES[version] if plural == resource)
        match self.command:
            case "GET" if name:
                return 200, cluster.get(version, resource, namespace, name)
            case "GET":
                wanted = query.get("fieldSelector", "").removeprefix("metadata.name=")
                items = [
                    found
                    for key, found in list(cluster.objects.items())
                    if key[:3] == (version, resource, namespace) and wanted in ("", key[3])
                ]
                head = {"kind": f"{kind}List", "apiVersion": version}
                return 200, {**head, "metadata": {"resourceVersion": "1"}, "items": items}
            case "DELETE":
                cluster.delete(version, resource, namespace, name)
                return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
            case "POST":
                written = json.loads(body)
                key = (version, resource, namespace, written["metadata"]["name"])
                if key in cluster.objects:
                    raise _RefusedError(409, "AlreadyExists", f'"{key[3]}" already exists')
            case "PUT":
                written = json.loads(body)
            case _:
                before = copy.deepcopy(cluster.get(version, resource, namespace, name))
                change = json.loads(body)
                written = (
                    jsonpatch.apply_patch(before, change)
                    if "json-patch" in self.headers["Content-Type"]
                    else _merged(before, change)
                )
        dry_run = query.get("dryRun") == "All"
        if resource in ("pods", "configmaps"):
            written["metadata"].setdefault("namespace", namespace)
            operation = "CREATE" if self.command == "POST" else "UPDATE"
            written = cluster.admit(operation, resource, written, dry_run)
        if dry_run:
            return 200, written
        return 200, cluster.put(version, resource, namespace, written)


for _method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler.serve)


def _merged(before: Any, change: Any) -> Any:
    """A merge patch, which in lists of named objects is a strategic one."""
    if isinstance(before, dict) and isinstance(change, dict):
        merged = {
            **before,
            **{
                key: _merged(before.get(key), value)
                for key, value in change.items()
                if value is not None and not key.startswith("$")
            },
        }
        return {key: value for key, value in merged.items() if change.get(key, 0) is not None}
    if isinstance(change, list) and all(isinstance(x, dict) and "name" in x for x in change):
        found = {entry["name"]: entry for entry in before or []}
        for entry in change:
            if entry.get("$patch") == "delete":
                del found[entry["name"]]
            else:
                found[entry["name"]] = _merged(found.get(entry["name"]), entry)
        return list(found.values())
    return change


def _discovery(path: list[str]) -> Object:
    match path:
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            groups = []
            for version in RESOURCES:
                if "/" in version:
                    name, short = version.split("/")
                    entry = {"groupVersion": version, "version": short}
                    groups.append({"name": name, "versions": [entry], "preferredVersion": entry})
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["version"]:
            return {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
        case ["openapi", "v3"]:
            roots = {v: f"apis/{v}" if "/" in v else f"api/{v}" for v in RESOURCES}
            urls = {r: {"serverRelativeURL": f"/openapi/v3/{r}"} for r in roots.values()}
            return {"paths": urls}
        case ["openapi", "v3", _, *rest]:
            # Enough for kubectl to leave the validation of fields to the server.
            group, _, short = "/".join(rest).rpartition("/")
            paths = {
                f"/{plural}": {
                    "patch": {
                        "x-kubernetes-group-version-kind": {
                            "group": group,
                            "version": short,
                            "kind": kind,
                        },
                        "parameters": [{"name": "fieldValidation", "in": "query"}],
                        "responses": {},
                    }
                }
                for plural, kind, _ in RESOURCES["/".join(rest)]
            }
            info = {"title": "Kubernetes", "version": "v1.36.0"}
            return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {}}
    raise _RefusedError(404, "NotFound", "the server could not find this")


def _resource_list(version: str) -> Object:
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": [
            {
                "name": plural,
                "singularName": kind.lower(),
                "kind": kind,
                "namespaced": namespaced,
                "verbs": verbs,
                "shortNames": ["crd"] if plural == "customresourcedefinitions" else [],
            }
            for plural, kind, namespaced in RESOURCES[version]
        ],
    }
