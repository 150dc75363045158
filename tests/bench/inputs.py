"""What the benchmark sends, and the profiles in force meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from server import DATA

__all__ = ["LARGE", "SMALL", "config_map", "namespace_labels", "profile", "review"]

SMALL = 3_000
"""Bytes of a review of a small pod without its managedFields."""
LARGE = 75_000
"""Bytes of a review of a pod with many containers."""


def profile(selectors: int) -> list[dict[str, Any]]:
    """A profile of this many selectors, each second of which asks for the namespace as well."""
    return [
        {
            "name": f"selector-{number}",
            "objectSelector": {"matchLabels": {"app": f"app-{number}"}},
            **(
                {"namespaceSelector": {"matchLabels": {"team": f"team-{number % 100}"}}}
                if number % 2
                else {}
            ),
            "effect": {
                "annotations": {
                    "k8s.aliyun.com/eci-use-specs": f"{2 + number % 8}-4Gi",
                    "k8s.aliyun.com/eci-ram-role-name": f"role-{number}",
                },
                "labels": {"cost-center": f"center-{number % 50}"},
            },
        }
        for number in range(selectors)
    ]


def config_map(path: Path, selectors: int) -> Path:
    """Write a file for the provider ``file`` with a profile of this many selectors."""
    data = {"selectors": json.dumps(profile(selectors))}
    metadata = {"name": "eci-profile", "namespace": "kube-system"}
    path.write_text(json.dumps({"kind": "ConfigMap", "metadata": metadata, "data": data}))
    return path


def namespace_labels(number: int) -> dict[str, str]:
    """The labels of a namespace."""
    return {"team": f"team-{number % 100}", "environment": "production", "owner": f"owner-{number}"}


def review(size: int, app: str, namespace: str = "team-a") -> bytes:
    """A review of about this many bytes, of a pod with this value of the label ``app``."""
    found = json.loads((DATA / "reviews" / "pod-of-deployment.json").read_text())
    found["request"]["namespace"] = namespace
    pod = found["request"]["object"]
    pod["metadata"]["labels"] = {"app": app, "pod-template-hash": "7475ff9b96", "tier": "web"}
    del pod["metadata"]["managedFields"]
    container = pod["spec"]["containers"][0]
    number = 0
    while len(body := json.dumps(found, separators=(",", ":")).encode()) < size:
        if size > SMALL and number % 20 == 0:
            container = {**container, "name": f"container-{number}", "env": []}
            pod["spec"]["containers"].append(container)
        variable = {
            "name": f"VARIABLE_{number}",
            "value": f"http://backend-{number}.example.com/v1",
        }
        container.setdefault("env", []).append(variable)
        number += 1
    return body
