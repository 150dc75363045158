"""Reviews that the benchmark sends, and the profiles that it uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from server import DATA

__all__ = ["LARGE", "SMALL", "config_map", "namespace_labels", "profile", "review"]

SMALL = 3_000
"""Size in bytes of a review of a small pod without managedFields."""
LARGE = 75_000
"""Size in bytes of a review of a pod with many containers."""


def profile(selectors: int) -> str:
    """Return this many selectors in JSON; every second one has a namespaceSelector.

    Only the first ten, of which reviews match one, add annotations: 10 000 selectors have to fit
    into a ConfigMap.
    """
    found: list[dict[str, Any]] = [
        {
            "name": f"selector-{number}",
            "objectSelector": {"matchLabels": {"app": f"app-{number}"}},
            **(
                {"namespaceSelector": {"matchLabels": {"team": f"team-{number % 100}"}}}
                if number % 2
                else {}
            ),
            "effect": {
                **(
                    {
                        "annotations": {
                            "k8s.aliyun.com/eci-use-specs": f"{2 + number % 8}-4Gi",
                            "k8s.aliyun.com/eci-ram-role-name": f"role-{number}",
                        }
                    }
                    if number < 10
                    else {}
                ),
                "labels": {"cost-center": f"center-{number % 50}"},
            },
        }
        for number in range(selectors)
    ]
    return json.dumps(found, separators=(",", ":"))


def config_map(path: Path, selectors: int) -> Path:
    """Write a profile with this many selectors as a file for the ``file`` provider."""
    data = {"selectors": profile(selectors)}
    metadata = {"name": "eci-profile", "namespace": "kube-system"}
    path.write_text(json.dumps({"kind": "ConfigMap", "metadata": metadata, "data": data}))
    return path


def namespace_labels(number: int) -> dict[str, str]:
    """Return the labels of a namespace."""
    return {"team": f"team-{number % 100}", "environment": "production", "owner": f"owner-{number}"}


def review(size: int, app: str, namespace: str = "team-a") -> bytes:
    """Return a review of about ``size`` bytes for a pod with this ``app`` label."""
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
