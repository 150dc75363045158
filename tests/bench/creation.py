"""Pods a second that a real API server creates with each webhook, if there is one on the machine.

The pods are server-side dry runs: the API server does everything but store them.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from control_plane import ControlPlane, missing, running

from . import deployed, inputs, load, wrk
from .results import Plan, Results, shuffled

__all__ = ["measure"]

_NO_WEBHOOK = "no webhook"
_AT_A_TIME = (8, 64, 150)
_REGISTRATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
_REGISTERED_SECONDS = 30


def measure(plan: Plan, results: Results, folder: Path) -> None:
    """Add rows for pods that are created 8, 64 and 150 at a time."""
    absent = missing() or ("" if wrk.present() else "wrk")
    if absent:
        print(f"{absent} not found: skipping a real API server")
        return
    folder = folder / "creation"
    review = inputs.review(inputs.SMALL, "app-4")
    pod = json.loads(review)["request"]["object"]
    del pod["metadata"]["namespace"]
    with deployed.servers(folder, review) as servers, running(folder / "control-plane") as plane:
        version = plane.ask("GET", "/version")["gitVersion"]
        print(f"kube-apiserver {version}, pods of {len(json.dumps(pod))} bytes")
        # The server that does nothing returns no uid, which an API server rejects.
        answering = [name for name in servers if name != "nothing"]
        names = {f"target-{number}": name for number, name in enumerate(answering)}
        _create_namespaces(plane, [*names, "target-none"])
        bundle = (folder / "tls" / "ca.crt").read_bytes()
        for namespace, name in names.items():
            _register(plane, namespace, servers[name].port, bundle)
        for namespace in names:
            _wait_for_patch(plane, namespace, pod)
        asked = {**names, "target-none": _NO_WEBHOOK}
        for number in _AT_A_TIME[:1] if plan.quick else _AT_A_TIME:
            title = f"pods, {number} at a time"
            found: dict[str, list[load.Load]] = {name: [] for name in asked.values()}
            for round_number in range(plan.rounds):
                for namespace, name in shuffled(asked.items(), round_number):
                    done = wrk.run(
                        servers.get(name, servers["deployed"]),
                        json.dumps(pod).encode(),
                        connections=number,
                        seconds=plan.seconds,
                        folder=folder,
                        to=wrk.To(plane.url + _pods(namespace), plane.headers),
                    )
                    found[name].append(done)
                    where = {"scenario": title, "target": name, "round": round_number}
                    results.loads.append({**where, **asdict(done)})
            _add(results, title, found)


def _add(results: Results, title: str, found: Mapping[str, list[load.Load]]) -> None:
    deployed_loads = found["deployed"]
    for other, goal in ((deployed.GO, 0.9), ("before", None), (_NO_WEBHOOK, None)):
        if other not in found:
            continue
        pairs = zip(deployed_loads, found[other], strict=True)
        ratios = [own.rate / least.rate for own, least in pairs]
        results.add(f"throughput / {other}: {title}", "", ratios, at_least=goal)
    for name, loads in found.items():
        results.add(f"throughput, {name}: {title}", "1/s", [each.rate for each in loads])
        if name != _NO_WEBHOOK:
            results.add(f"CPU, {name}: {title}", "s/1000", [1000 * each.cpu for each in loads])


def _create_namespaces(plane: ControlPlane, names: list[str]) -> None:
    for name in names:
        metadata = {"name": name, "labels": {"webhook": name}}
        plane.ask("POST", "/api/v1/namespaces", {"metadata": metadata})


def _register(plane: ControlPlane, namespace: str, port: int, bundle: bytes) -> None:
    webhook: dict[str, Any] = {
        "name": f"{namespace}.example.com",
        "clientConfig": {
            "url": f"https://127.0.0.1:{port}/mutate",
            "caBundle": base64.b64encode(bundle).decode(),
        },
        "namespaceSelector": {"matchLabels": {"webhook": namespace}},
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "resources": ["pods"],
                "operations": ["CREATE"],
            }
        ],
        "failurePolicy": "Fail",
        "timeoutSeconds": 5,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    registration = {"metadata": {"name": namespace}, "webhooks": [webhook]}
    plane.ask("POST", _REGISTRATIONS, registration)


def _wait_for_patch(plane: ControlPlane, namespace: str, pod: Mapping[str, Any]) -> None:
    labels = pod["metadata"]["labels"]
    end = time.monotonic() + _REGISTERED_SECONDS
    while plane.ask("POST", _pods(namespace), pod)["metadata"]["labels"] == labels:
        if time.monotonic() > end:
            raise RuntimeError(f"pods in {namespace} are not changed")
        time.sleep(0.1)


def _pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
