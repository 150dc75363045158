"""Cold starts: from exec to the first patched answer, beside the bare framework's first answer."""

from __future__ import annotations

import json
from pathlib import Path

from apiserver import APIServer

from . import inputs, targets
from .results import Plan, Results

__all__ = ["measure"]


def measure(plan: Plan, results: Results, folder: Path) -> None:
    """Add rows for both providers, by time and by CPU time."""
    body = inputs.review(inputs.SMALL, "app-4")
    file = inputs.config_map(folder / "cold.json", 10)
    with APIServer() as api:
        data = {"selectors": json.dumps(inputs.profile(10))}
        api.put_config_map("kube-system", "eci-profile", data)
        kubeconfig = api.write_kubeconfig(folder / "cold-kubeconfig")
        starts = {
            "bare": (targets.FLOOR, {}),
            "file": (
                targets.FUNCTION,
                {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(file)},
            ),
            "cm": (
                targets.FUNCTION,
                {"ECI_PROFILE_PROVIDER": "cm", "KUBECONFIG": str(kubeconfig)},
            ),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in starts}
        for _ in range(plan.rounds):
            for name, (source, settings) in starts.items():
                with targets.serving(source, settings, folder / "cold.log") as server:
                    found[name].append((server.first_answer(body), server.cpu()))
    results.add("cold start, bare framework", "s", [seconds for seconds, _ in found["bare"]])
    for name in ("file", "cm"):
        pairs = list(zip(found["bare"], found[name], strict=True))
        results.add(
            f"cold start / bare, provider {name}",
            "",
            [own / bare for (bare, _), (own, _) in pairs],
            at_most=2.5,
        )
        results.add(
            f"CPU of a cold start / bare, provider {name}",
            "",
            [own / bare for (_, bare), (_, own) in pairs],
        )
