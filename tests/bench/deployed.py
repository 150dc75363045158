"""The image's server over TLS, called as by an API server, compared with others in the same run.

The others are the image's previous server (before granian), a server of the same stack that does
nothing and, if Go is installed, a Go server that returns a constant patch.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from math import inf
from pathlib import Path

import go
import trustme

from . import inputs, load, targets, wrk
from .results import Plan, Results, shuffled

__all__ = ["GO", "measure", "servers"]

GO = "Go, constant"
"""The name of the Go server that returns a constant patch."""

_SELECTORS = 10
_KEPT = 25  # idle connections that an API server keeps per webhook
_CPU_GOALS = {"8 kept": 0.5, "64 kept": 0.45, "64, a handshake each": 0.42}
_P99_GOALS = {"bursts of 64": 0.75}

_Measure = Callable[[targets.Target], load.Load]


def measure(plan: Plan, results: Results, folder: Path) -> None:
    """Add rows for kept connections and for bursts."""
    body = inputs.review(inputs.SMALL, "app-4")
    folder = folder / "deployed"
    with servers(folder, body) as found:
        for scenario, one in _scenarios(plan, folder, body).items():
            _compare(scenario, one, plan, results, found)
        for name, server in found.items():
            results.add(f"resident, {name}", "MB", [server.resident()])


@contextlib.contextmanager
def servers(folder: Path, body: bytes) -> Iterator[Mapping[str, targets.Target]]:
    """Run all servers, with a certificate in ``tls`` of the folder, once they answer the review."""
    folder.mkdir()
    settings = {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(inputs.config_map(folder / "profile.json", _SELECTORS)),
        "ECI_PROFILE_TLS_DIR": str(_certificate(folder / "tls")),
    }
    found: dict[str, targets.Target] = {}
    with contextlib.ExitStack() as stack:

        def run(name: str, program: tuple[str, ...], more: Mapping[str, str]) -> targets.Target:
            log = folder / f"{name.split(',')[0]}.log"
            server = stack.enter_context(targets.running(program, {**settings, **more}, log))
            server.first_answer(body)
            return server

        found["deployed"] = deployed = run("deployed", targets.DEPLOYED, {})
        for name in ("before", "nothing"):
            found[name] = run(name, (sys.executable, "-m", f"bench.{name}"), {})
        if go.present():
            # The same patch: applying it takes an API server time, too.
            review = json.loads(deployed.ask("POST", "/mutate", body)[1])
            patch = {"PATCH": review["response"]["patch"]}
            program = go.build(Path(__file__).with_name("constant.go"), folder)
            found[GO] = run(GO, (program,), patch)
        else:
            print("Go is not installed: skipping the Go server and bursts")
        yield found


def _scenarios(plan: Plan, folder: Path, body: bytes) -> Mapping[str, _Measure]:
    def kept(connections: int, *, close: bool = False) -> _Measure:
        if wrk.present():
            return lambda server: wrk.run(
                server,
                body,
                connections=connections,
                seconds=plan.seconds,
                folder=folder,
                close=close,
            )
        return lambda server: load.run(
            server, [body], connections=connections, seconds=plan.seconds
        )

    scenarios = {f"{number} kept": kept(number) for number in (1, 8, 64)}
    if wrk.present():
        scenarios["64, a resumed session each"] = kept(64, close=True)
    if go.present():
        client = go.build(go.CLIENT, folder)
        review = folder / "burst.json"
        review.write_bytes(body)

        def burst(number: int, keep: int) -> _Measure:
            return lambda server: _burst(server, client, review, number, keep, plan.seconds)

        scenarios["64, a handshake each"] = burst(64, 0)
        for number in (64, 150):
            scenarios[f"bursts of {number}"] = burst(number, _KEPT)
    if plan.quick:
        return {name: scenarios[name] for name in (list(scenarios)[1], list(scenarios)[-1])}
    return scenarios


def _burst(
    server: targets.Target, client: str, review: Path, number: int, keep: int, seconds: float
) -> load.Load:
    cpu = server.cpu()
    done = subprocess.run(
        [
            *(client, "-url", f"https://localhost:{server.port}/mutate", "-review", str(review)),
            *("-ca", str(review.parent / "tls" / "ca.crt"), "-for", f"{seconds}s"),
            *("-burst", str(number), "-keep", str(keep)),
        ],
        capture_output=True,
        check=True,
    )
    cpu = max(server.cpu() - cpu, load.TICK)
    found = json.loads(done.stdout)
    if found["failures"]:
        raise RuntimeError(found["failures"][0])
    count = found["answered"]
    times = {name: found[name] for name in ("seconds", "p50", "p99")}
    return load.Load(requests=count, ceiling=inf, cpu=cpu / count, sent=count, **times)


def _compare(
    scenario: str,
    one: _Measure,
    plan: Plan,
    results: Results,
    servers: Mapping[str, targets.Target],
) -> None:
    found: dict[str, list[load.Load]] = {name: [] for name in servers}
    for number in range(plan.rounds):
        for name, server in shuffled(servers.items(), number):
            done = one(server)
            found[name].append(done)
            results.loads.append(
                {"scenario": scenario, "target": name, "round": number, **asdict(done)}
            )
    title = f"TLS, {scenario}"
    deployed, before = found["deployed"], found["before"]
    limit = GO if GO in found else "nothing"
    results.add(
        f"CPU / before: {title}",
        "",
        [own.cpu / other.cpu for own, other in zip(deployed, before, strict=True)],
        at_most=_CPU_GOALS.get(scenario),
    )
    results.add(
        f"throughput / {limit}: {title}",
        "",
        [own.rate / other.rate for own, other in zip(deployed, found[limit], strict=True)],
        at_least=0.9,
    )
    results.add(
        f"p99 / before: {title}",
        "",
        [own.p99 / other.p99 for own, other in zip(deployed, before, strict=True)],
        at_most=_P99_GOALS.get(scenario),
    )
    for name, loads in found.items():
        results.add(f"CPU, {name}: {title}", "s/1000", [1000 * each.cpu for each in loads])
        results.add(f"throughput, {name}: {title}", "1/s", [each.rate for each in loads])
        results.add(f"p99, {name}: {title}", "ms", [1000 * each.p99 for each in loads])


def _certificate(folder: Path) -> Path:
    folder.mkdir()
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1", "localhost")
    ca.cert_pem.write_to_path(str(folder / "ca.crt"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
    issued.private_key_pem.write_to_path(str(folder / "tls.key"))
    return folder
