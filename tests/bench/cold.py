"""Cold starts: time from exec to the first patched response, compared with the bare framework.

All bytecode is compiled beforehand, as in the image.
"""

from __future__ import annotations

import compileall
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from apiserver import APIServer
from server import ROOT

from . import inputs, targets
from .results import Plan, Results

__all__ = ["measure"]

_GOALS = {"provider file": 1.3, "provider cm": 1.8}


def measure(plan: Plan, results: Results, folder: Path) -> None:
    """Add rows for both providers: wall time and CPU time."""
    for directory in ("handler", "tests/bench"):
        compileall.compile_dir(ROOT / directory, quiet=1)
    body = inputs.review(inputs.SMALL, "app-4")
    path = inputs.config_map(folder / "cold.json", 10)
    file = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(path)}
    log = folder / "cold.log"
    with APIServer() as api:
        data = {"selectors": inputs.profile(10)}
        api.put_config_map("kube-system", "eci-profile", data)
        kubeconfig = api.write_kubeconfig(folder / "cold-kubeconfig")
        cm = {"ECI_PROFILE_PROVIDER": "cm", "KUBECONFIG": str(kubeconfig)}
        starts: dict[str, Callable[[], AbstractContextManager[targets.Target]]] = {
            "bare": lambda: targets.serving(targets.FLOOR, {}, log),
            "provider file": lambda: targets.running(targets.DEPLOYED, file, log),
            "provider cm": lambda: targets.running(targets.DEPLOYED, cm, log),
            "functions-framework, provider file": lambda: targets.serving(
                targets.FUNCTION, file, log
            ),
            "functions-framework, provider cm": lambda: targets.serving(targets.FUNCTION, cm, log),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in starts}
        for _ in range(plan.rounds):
            for name, start in starts.items():
                with start() as server:
                    found[name].append((server.first_answer(body), server.cpu()))
    bare = found.pop("bare")
    results.add("cold start, bare framework", "s", [seconds for seconds, _ in bare])
    for name, own in found.items():
        pairs = list(zip(bare, own, strict=True))
        results.add(
            f"cold start / bare, {name}",
            "",
            [seconds / least for (least, _), (seconds, _) in pairs],
            at_most=_GOALS.get(name),
        )
        results.add(
            f"CPU of a cold start / bare, {name}",
            "",
            [cpu / least for (_, least), (_, cpu) in pairs],
        )
