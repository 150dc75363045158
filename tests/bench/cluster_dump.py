"""Generates what ``kubectl get pods,deployments,... -A -o json`` prints for a large cluster.

``python -m bench.cluster_dump PODS NAMESPACES`` writes it to standard output. The pods are those of
Deployments, StatefulSets, CronJobs and DaemonSets; with kubectl's indentation each takes 14 kB.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, TextIO

__all__ = ["dump", "objects"]

_REPLICAS = 10
_NOW = "2026-11-24T10:00:00Z"
Object = dict[str, Any]


def objects(pods: int, namespaces: int) -> Iterator[Object]:
    """Yield the objects, pods first: kubectl prints kinds in the order of its arguments."""
    workloads = pods // _REPLICAS
    for number in range(workloads):
        for replica in range(_REPLICAS):
            yield _pod(number, replica, namespaces)
    for number in range(workloads):
        yield from _workload(number, namespaces)
    for number in range(namespaces):
        labels = {"kubernetes.io/metadata.name": f"team-{number}", "tier": f"tier-{number % 10}"}
        yield _object("v1", "Namespace", None, f"team-{number}", {"labels": labels})


def dump(pods: int, namespaces: int, stream: TextIO) -> None:
    """Write the objects as kubectl does, indented by four spaces."""
    stream.write('{\n    "apiVersion": "v1",\n    "items": [')
    separator = "\n"
    for each in objects(pods, namespaces):
        text = json.dumps(each, indent=4, sort_keys=True).replace("\n", "\n        ")
        stream.write(f"{separator}        {text}")
        separator = ",\n"
    stream.write('\n    ],\n    "kind": "List",\n    "metadata": {"resourceVersion": ""}\n}\n')


def _object(version: str, kind: str, namespace: str | None, name: str, metadata: Object) -> Object:
    head = {"name": name, "uid": _uid(f"{kind}{namespace}{name}"), "creationTimestamp": _NOW}
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {**head, **place, **metadata}}


def _uid(text: str) -> str:
    digits = f"{abs(hash(text)):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _kind(number: int) -> str:
    return ("Deployment", "Deployment", "Deployment", "StatefulSet", "DaemonSet", "CronJob")[
        number % 6
    ]


def _labels(number: int) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": f"app-{number}",
        "app.kubernetes.io/part-of": f"part-{number % 100}",
        "app.kubernetes.io/managed-by": "Helm",
        "tier": ("front", "back", "batch")[number % 3],
    }


def _template(number: int) -> Object:
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10}
    containers = [
        {
            "name": name,
            "image": f"registry.example.com/team/app-{number}/{name}:1.{number}",
            "imagePullPolicy": "IfNotPresent",
            "args": ["--listen=:8080", "--log-format=json", f"--shard={number}"],
            "env": [{"name": f"SETTING_{each}", "value": f"value-{each}"} for each in range(12)],
            "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
            "resources": {
                "limits": {"cpu": "1", "memory": "1Gi"},
                "requests": {"cpu": "100m", "memory": "256Mi"},
            },
            "livenessProbe": probe,
            "readinessProbe": probe,
            "terminationMessagePath": "/dev/termination-log",
            "volumeMounts": [{"mountPath": "/etc/config", "name": "config", "readOnly": True}],
        }
        for name in ("main", "sidecar")
    ]
    spec = {
        "containers": containers,
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {"runAsNonRoot": True},
        "serviceAccountName": f"app-{number}",
        "terminationGracePeriodSeconds": 30,
        "volumes": [{"name": "config", "configMap": {"name": f"app-{number}"}}],
    }
    annotations = {"prometheus.io/scrape": "true", "checksum/config": f"{number:064x}"}
    return {"metadata": {"labels": _labels(number), "annotations": annotations}, "spec": spec}


def _workload(number: int, namespaces: int) -> Iterator[Object]:
    kind, namespace, name = _kind(number), f"team-{number % namespaces}", f"app-{number}"
    template = _template(number)
    if kind == "CronJob":
        spec: Object = {"schedule": "0 * * * *", "jobTemplate": {"spec": {"template": template}}}
        yield {**_object("batch/v1", kind, namespace, name, {}), "spec": spec}
        job = {"ownerReferences": [{"kind": kind, "name": name, "controller": True}]}
        yield {
            **_object("batch/v1", "Job", namespace, f"{name}-29398000", job),
            "spec": {"template": template},
        }
        return
    spec = {"selector": {"matchLabels": _labels(number)}, "template": template}
    yield {**_object("apps/v1", kind, namespace, name, {}), "spec": spec}


def _pod(number: int, replica: int, namespaces: int) -> Object:
    kind, namespace, name = _kind(number), f"team-{number % namespaces}", f"app-{number}"
    owner, labels = name, _labels(number)
    if kind == "Deployment":
        owner, labels["pod-template-hash"] = f"{name}-6d4cf56db6", "6d4cf56db6"
    elif kind == "StatefulSet":
        labels["statefulset.kubernetes.io/pod-name"] = f"{name}-{replica}"
    elif kind == "CronJob":
        owner = labels["batch.kubernetes.io/job-name"] = f"{name}-29398000"
    controller = {"Deployment": "ReplicaSet", "CronJob": "Job"}.get(kind, kind)
    reference = {"apiVersion": "apps/v1", "kind": controller, "name": owner, "controller": True}
    template = _template(number)
    annotations = {**template["metadata"]["annotations"], "cni.example.com/ip": f"10.0.{replica}.1"}
    metadata = {"labels": labels, "annotations": annotations, "ownerReferences": [reference]}
    conditions = [
        {"type": each, "status": "True", "lastProbeTime": None, "lastTransitionTime": _NOW}
        for each in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    statuses = [
        {
            "name": each["name"],
            "image": each["image"],
            "containerID": f"containerd://{number:032x}{replica:032x}",
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": _NOW}},
        }
        for each in template["spec"]["containers"]
    ]
    tolerations = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute"}
        for key in ("not-ready", "unreachable")
    ]
    return {
        **_object("v1", "Pod", namespace, f"{owner}-{replica:05d}", metadata),
        "spec": {**template["spec"], "nodeName": f"node-{replica}", "tolerations": tolerations},
        "status": {"phase": "Running", "conditions": conditions, "containerStatuses": statuses},
    }


if __name__ == "__main__":
    dump(int(sys.argv[1]), int(sys.argv[2]), sys.stdout)
