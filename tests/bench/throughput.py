"""The function beside the floor and beside a naive one: throughput, latency and CPU time."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import trustme

from . import inputs, load, targets, wrk
from .results import Plan, Results

__all__ = ["measure"]

_SOURCES = {"floor": targets.FLOOR, "naive": targets.NAIVE, "function": targets.FUNCTION}
_SELECTORS = 10


@dataclass(frozen=True, slots=True)
class _Scenario:
    tls: bool
    connections: int
    size: int
    matching: bool

    def __str__(self) -> str:
        return (
            f"{'TLS' if self.tls else 'HTTP'}, {self.connections} connections,"
            f" {self.size // 1000} KB, {'' if self.matching else 'not '}matching"
        )


_MAIN = _Scenario(tls=False, connections=8, size=inputs.SMALL, matching=True)


def measure(plan: Plan, results: Results, folder: Path) -> None:
    """Add a row for each scenario and ratio."""
    both = (False, True)
    scenarios = [
        _Scenario(tls, connections, size, matching)
        for tls, size, connections, matching in itertools.product(
            both, (inputs.SMALL, inputs.LARGE), (1, 8, 64), (True, False)
        )
    ]
    if plan.quick:
        scenarios = [_MAIN, replace(_MAIN, tls=True, size=inputs.LARGE)]
    certificate = _certificate(folder)
    file = inputs.config_map(folder / "profile.json", _SELECTORS)
    settings = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(file)}
    with contextlib.ExitStack() as stack:
        servers = {
            (name, tls): stack.enter_context(
                targets.serving(
                    source, settings, folder / f"{name}.log", certificate if tls else None
                )
            )
            for name, source in _SOURCES.items()
            for tls in both
        }
        body = inputs.review(inputs.SMALL, "app-4")
        for server in servers.values():
            server.first_answer(body)
        for scenario in scenarios:
            _compare(scenario, plan, results, servers)
        if wrk.present():
            ports = {name: servers[name, False].port for name in ("floor", "function")}
            rates = [
                {
                    name: wrk.rate(port, body, 8, plan.seconds, folder)
                    for name, port in ports.items()
                }
                for _ in range(plan.rounds)
            ]
            ratios = [rate["function"] / rate["floor"] for rate in rates]
            results.add(f"throughput by wrk / floor: {_MAIN}", "", ratios)
        for name in _SOURCES:
            rss = servers[name, False].resident()
            results.add(f"resident, {name}, {_SELECTORS} selectors", "MB", [rss])


def _compare(
    scenario: _Scenario,
    plan: Plan,
    results: Results,
    servers: dict[tuple[str, bool], targets.Target],
) -> None:
    body = inputs.review(scenario.size, "app-4" if scenario.matching else "none")
    found: dict[str, list[load.Load]] = {name: [] for name in _SOURCES}
    for round_number in range(plan.rounds):
        for name in _SOURCES:
            done = load.run(
                servers[name, scenario.tls],
                [body],
                connections=scenario.connections,
                seconds=plan.seconds,
            )
            found[name].append(done)
            results.loads.append(
                {"scenario": str(scenario), "target": name, "round": round_number, **asdict(done)}
            )
    floor, naive, function = found["floor"], found["naive"], found["function"]
    pairs = list(zip(floor, naive, function, strict=True))
    is_main = scenario == _MAIN
    is_large = scenario == replace(_MAIN, size=inputs.LARGE)
    results.add(
        f"throughput / floor: {scenario}",
        "",
        [own.rate / least.rate for least, _, own in pairs],
        at_least=0.75 if is_main else None,
    )
    results.add(
        f"floor's CPU / CPU: {scenario}", "", [least.cpu / own.cpu for least, _, own in pairs]
    )
    results.add(
        f"p99 / floor: {scenario}",
        "",
        [own.p99 / least.p99 for least, _, own in pairs],
        at_most=1.5 if is_main else None,
    )
    results.add(
        f"throughput / naive: {scenario}",
        "",
        [own.rate / plain.rate for _, plain, own in pairs],
        at_least=3.0 if is_large else None,
    )
    if is_main:
        for name, loads in found.items():
            results.add(f"throughput, {name}: {scenario}", "1/s", [each.rate for each in loads])
            results.add(f"CPU, {name}: {scenario}", "s/1000", [1000 * each.cpu for each in loads])
            results.add(f"p99, {name}: {scenario}", "ms", [1000 * each.p99 for each in loads])
        ceilings = [each.ceiling for loads in found.values() for each in loads]
        results.add(f"ceiling of the load generator: {scenario}", "1/s", ceilings)


def _certificate(folder: Path) -> tuple[Path, Path]:
    issued = trustme.CA().issue_cert("127.0.0.1", "localhost")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return certificate, key
