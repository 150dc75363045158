"""The function compared with a minimal and a naive one, all over HTTP with functions-framework."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import inputs, load, targets
from .results import Plan, Results

__all__ = ["measure"]

_SOURCES = {"floor": targets.FLOOR, "naive": targets.NAIVE, "function": targets.FUNCTION}
_SELECTORS = 10


@dataclass(frozen=True, slots=True)
class _Scenario:
    connections: int
    size: int
    matching: bool

    def __str__(self) -> str:
        return (
            f"HTTP, {self.connections} connections,"
            f" {self.size // 1000} KB, {'' if self.matching else 'not '}matching"
        )


_MAIN = _Scenario(connections=8, size=inputs.SMALL, matching=True)


def measure(plan: Plan, results: Results, folder: Path) -> None:
    """Add a row for each scenario and ratio."""
    scenarios = [
        _Scenario(8, size, matching)
        for size, matching in itertools.product((inputs.SMALL, inputs.LARGE), (True, False))
    ]
    if plan.quick:
        scenarios = [_MAIN, replace(_MAIN, size=inputs.LARGE)]
    file = inputs.config_map(folder / "profile.json", _SELECTORS)
    settings = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(file)}
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(targets.serving(source, settings, folder / f"{name}.log"))
            for name, source in _SOURCES.items()
        }
        for server in servers.values():
            server.first_answer(inputs.review(inputs.SMALL, "app-4"))
        for scenario in scenarios:
            _compare(scenario, plan, results, servers)
        for name in _SOURCES:
            rss = servers[name].resident()
            results.add(f"resident, {name}, {_SELECTORS} selectors", "MB", [rss])


def _compare(
    scenario: _Scenario,
    plan: Plan,
    results: Results,
    servers: dict[str, targets.Target],
) -> None:
    body = inputs.review(scenario.size, "app-4" if scenario.matching else "none")
    found: dict[str, list[load.Load]] = {name: [] for name in _SOURCES}
    for round_number in range(plan.rounds):
        for name in _SOURCES:
            done = load.run(
                servers[name],
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
