"""Large profiles and many namespaces: time per review, loading, memory and API server reads.

Measured with the image's server.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from apiserver import APIServer
from server import ROOT

from . import inputs, load, targets
from .results import Plan, Results

__all__ = ["measure"]


def measure(plan: Plan, results: Results, folder: Path) -> None:
    """Add the rows of all measurements."""
    sizes = [10, 100] if plan.quick else [10, 100, 1000, 10_000]
    namespaces = 50 if plan.quick else 10_000
    _reviews(plan, results, folder, sizes)
    _loading(plan, results, folder, sizes[-1])
    _cluster(plan, results, folder, sizes[-1], namespaces)


def _reviews(plan: Plan, results: Results, folder: Path, sizes: list[int]) -> None:
    body = inputs.review(inputs.SMALL, "app-4")
    with contextlib.ExitStack() as stack:
        servers = {}
        for size in sizes:
            file = inputs.config_map(folder / f"{size}.json", size)
            settings = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(file)}
            serving = targets.running(targets.DEPLOYED, settings, folder / "scale.log")
            servers[size] = stack.enter_context(serving)
            servers[size].first_answer(body)
        rounds = [
            {
                size: load.run(server, [body], connections=8, seconds=plan.seconds)
                for size, server in servers.items()
            }
            for _ in range(plan.rounds)
        ]
        least, most = sizes[0], sizes[-1]
        for size in sizes[1:]:
            results.add(
                f"time per review, {size} selectors / {least}",
                "",
                [found[least].rate / found[size].rate for found in rounds],
                at_most=1.5 if size == most else None,
            )
            results.add(
                f"CPU per review, {size} selectors / {least}",
                "",
                [found[size].cpu / found[least].cpu for found in rounds],
            )
        for size, server in servers.items():
            results.add(f"resident, provider file, {size} selectors", "MB", [server.resident()])


def _loading(plan: Plan, results: Results, folder: Path, size: int) -> None:
    file = inputs.config_map(folder / "loading.json", size)
    rounds = []
    for _ in range(plan.rounds):
        done = subprocess.run(
            [sys.executable, "-m", "bench.profile_cost", str(file)],
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
            capture_output=True,
            check=True,
        )
        rounds.append(json.loads(done.stdout))
    seconds = [found["seconds"] for found in rounds]
    results.add(f"loading {size} selectors", "s", seconds, at_most=1.0)
    results.add(
        f"memory of {size} selectors, with the peak", "MB", [f["megabytes"] for f in rounds]
    )


def _cluster(plan: Plan, results: Results, folder: Path, selectors: int, namespaces: int) -> None:
    ttl = 0.2 if plan.quick else 5.0
    with _cluster_of(selectors, namespaces) as api:
        settings = {
            "ECI_PROFILE_PROVIDER": "cm",
            "ECI_PROFILE_TTL": str(ttl),
            "KUBECONFIG": str(api.write_kubeconfig(folder / "kubeconfig")),
        }
        with targets.running(targets.DEPLOYED, settings, folder / "cluster.log") as server:
            # Odd-numbered selectors have a namespaceSelector.
            steady = inputs.review(inputs.SMALL, "app-5", "namespace-5")
            server.first_answer(steady)
            load.run(server, [steady], connections=8, requests=100)
            reads, before, began = len(api.requests), _uses(server), time.monotonic()
            done = load.run(server, [steady], connections=8, seconds=max(3 * ttl, plan.seconds))
            took = time.monotonic() - began
            reads, after = len(api.requests) - reads, _uses(server)
            keys = 2  # the profile and one namespace
            results.add("reads of the API server per key and TTL", "", [reads / keys / took * ttl])
            results.add(
                "reads of the API server per 1 000 reviews", "", [1000 * reads / done.requests]
            )
            waited = sum(after[use] - before[use] for use in ("loaded", "stale", "failed"))
            results.add("reviews that waited for the API server", "", [waited], at_most=0)
            results.add(f"resident, provider cm, {selectors} selectors", "MB", [server.resident()])
            many = [
                inputs.review(inputs.SMALL, "app-5", f"namespace-{number}")
                for number in range(namespaces)
            ]
            load.run(server, many, connections=8, requests=namespaces)
            if len({request.path for request in api.requests}) < namespaces:
                raise RuntimeError("not every namespace was read")
            results.add(
                f"resident, provider cm, {selectors} selectors, {namespaces} namespaces",
                "MB",
                [server.resident()],
                at_most=100,
            )


@contextlib.contextmanager
def _cluster_of(selectors: int, namespaces: int) -> Iterator[APIServer]:
    with APIServer() as api:
        data = {"selectors": inputs.profile(selectors)}
        api.put_config_map("kube-system", "eci-profile", data)
        for number in range(namespaces):
            api.put_namespace(f"namespace-{number}", inputs.namespace_labels(number))
        yield api


def _uses(server: targets.Target) -> Mapping[str, float]:
    """Return the number of cache lookups by outcome."""
    counts = dict.fromkeys(("fresh", "loaded", "stale", "failed"), 0.0)
    for line in server.ask("GET", "/metrics")[1].decode().splitlines():
        for result in counts:
            if line.startswith("eci_profile_cache_uses_total") and f'result="{result}"' in line:
                counts[result] += float(line.split()[-1])
    return counts
