"""The objects of a cluster, as their controllers leave them: workloads are ready at once."""

from __future__ import annotations

import itertools
import json
import threading
import uuid
import zlib
from datetime import datetime, timezone
from typing import Any

from .status import Object, StatusError, not_found

_REVISION = "deployment.kubernetes.io/revision"

Key = tuple[str, str, str, str]  # version, resource, namespace and name


class Objects:
    """In memory. ``objects`` may be looked at; what is in it is replaced, never changed."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects: dict[Key, Object] = {}
        self._revision = itertools.count(1)

    def names(self) -> set[str]:
        """What there is, without what controllers make: resource/namespace/name."""
        made = "replicasets"
        return {"/".join(filter(None, key[1:])) for key in list(self.objects) if key[1] != made}

    def get(self, version: str, resource: str, namespace: str, name: str) -> Object:
        """Return an object. Raises StatusError."""
        try:
            return self.objects[version, resource, namespace, name]
        except KeyError:
            raise not_found(resource, name) from None

    def put(self, version: str, resource: str, namespace: str, written: Object) -> Object:
        """Store an object; if it isn't as it was, under a new resourceVersion."""
        key = (version, resource, namespace, written["metadata"]["name"])
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self.lock:
            before = self.objects.get(key)
            identity = {"uid": str(uuid.uuid4()), "creationTimestamp": now}
            if before:
                identity = {field: before["metadata"][field] for field in identity}
            metadata = {**written["metadata"], **identity}
            metadata |= {"namespace": namespace} if namespace else {}
            if resource == "namespaces":
                labels = metadata.get("labels") or {}
                metadata["labels"] = {**labels, "kubernetes.io/metadata.name": key[3]}
            found = {**written, "apiVersion": version, "metadata": metadata}
            if resource == "secrets":
                found.setdefault("type", "Opaque")
            if written["kind"] in ("Deployment", "Service"):
                metadata["generation"] = 1
                found["status"] = _ready(written["spec"].get("replicas", 1))
            if written["kind"] == "Job":
                found["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
            if before is None or _content(before) != _content(found):
                metadata["resourceVersion"] = str(next(self._revision))
                self.objects[key] = found
                if resource == "deployments" and "template" in found["spec"]:
                    self._keep_revision(found)
            return self.objects[key]

    def _keep_revision(self, deployment: Object) -> None:
        """Have a ReplicaSet for the pod template, by which kubectl rolls back."""
        name, namespace = (deployment["metadata"][field] for field in ("name", "namespace"))
        of_it = [
            found["metadata"]["annotations"][_REVISION]
            for key, found in self.objects.items()
            if key[1:3] == ("replicasets", namespace) and key[3].startswith(f"{name}-")
        ]
        template = deployment["spec"]["template"]
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "controller": True}
        metadata = {
            "name": f"{name}-{zlib.crc32(json.dumps(template, sort_keys=True).encode()):x}",
            "labels": template["metadata"]["labels"],
            "annotations": {_REVISION: str(max(map(int, of_it), default=0) + 1)},
            "ownerReferences": [{**owner, "uid": deployment["metadata"]["uid"]}],
        }
        spec = {"replicas": 1, "selector": deployment["spec"]["selector"], "template": template}
        written = {"kind": "ReplicaSet", "metadata": metadata, "spec": spec}
        self.put("apps/v1", "replicasets", namespace, written)

    def delete(self, version: str, resource: str, namespace: str, name: str) -> None:
        """Delete an object, with all that is in it. Raises StatusError if there is none."""
        with self.lock:
            self.get(version, resource, namespace, name)
            gone = [(version, resource, namespace, name)]
            if resource == "deployments":
                gone += [
                    key
                    for key in self.objects
                    if key[1:3] == ("replicasets", namespace) and key[3].startswith(f"{name}-")
                ]
            if resource == "namespaces":
                gone += [key for key in self.objects if key[2] == name]
            for key in gone:
                del self.objects[key]
            next(self._revision)


def _ready(replicas: int) -> Object:
    counts = ("replicas", "updatedReplicas", "availableReplicas")
    return {
        "observedGeneration": 1,
        **dict.fromkeys(counts, replicas),
        "conditions": [{"type": "Ready", "status": "True"}],
    }


def _content(found: Object) -> Object:
    metadata = {k: v for k, v in found["metadata"].items() if k != "resourceVersion"}
    return {**found, "metadata": metadata}


def stored(registration: Object) -> Object:
    """As the API server stores it: the lists of a selector that are empty are left out.

    Raises StatusError if two webhooks have one name.
    """
    if "webhooks" not in registration:
        return registration
    names = [webhook["name"] for webhook in registration["webhooks"]]
    if len(set(names)) < len(names):
        raise StatusError(422, "Invalid", f"Duplicate value: {names}")
    webhooks = [
        {
            field: {key: entry for key, entry in value.items() if entry}
            if field in ("namespaceSelector", "objectSelector")
            else value
            for field, value in webhook.items()
        }
        for webhook in registration["webhooks"]
    ]
    return {**registration, "webhooks": webhooks}


def merged(before: Any, change: Any, *, strategic: bool = True) -> Any:
    """What a merge patch makes of it; a strategic one also merges lists of named objects."""
    if isinstance(change, dict):
        before = before if isinstance(before, dict) else {}
        both = {
            **before,
            **{
                key: merged(before.get(key), value, strategic=strategic)
                for key, value in change.items()
                if value is not None and not (strategic and key.startswith("$"))
            },
        }
        return {key: value for key, value in both.items() if change.get(key, 0) is not None}
    if (
        strategic
        and isinstance(change, list)
        and all(isinstance(x, dict) and "name" in x for x in change)
    ):
        found = {entry["name"]: entry for entry in before or []}
        for entry in change:
            if entry.get("$patch") == "delete":
                del found[entry["name"]]
            else:
                found[entry["name"]] = merged(found.get(entry["name"]), entry)
        return list(found.values())
    return change


def selected(found: Object, selector: str) -> bool:
    """Whether an object has labels as in `kubectl get -l`: of keys, and of keys with values."""
    labels = found["metadata"].get("labels") or {}
    terms = (term.partition("=") for term in filter(None, selector.split(",")))
    return all(key in labels and (not equal or labels[key] == v) for key, equal, v in terms)
