"""Plots the results: ratios to the floor, with the goals as lines."""

from __future__ import annotations

from pathlib import Path

from .results import Results

__all__ = ["write"]


def write(results: Results, path: Path) -> None:
    """Write the plot; the file extension selects the format."""
    import matplotlib as mpl  # optional dependency, only for the plot

    mpl.use("Agg")
    mpl.rcParams["svg.fonttype"] = "none"  # text instead of paths: a sixth of the size
    from matplotlib import pyplot as plt

    rows = [row for row in results.rows if "/" in row.name and not row.unit][::-1]
    figure, axes = plt.subplots(figsize=(10, 1 + 0.22 * len(rows)), layout="constrained")
    lows = [row.value - min(row.rounds) for row in rows]
    highs = [max(row.rounds) - row.value for row in rows]
    colors = [
        "#7a869a" if not row.goal else "#2e7d32" if row.goal.met(row.value) else "#c62828"
        for row in rows
    ]
    places = range(len(rows))
    axes.barh(places, [row.value for row in rows], xerr=[lows, highs], color=colors)
    for place, row in zip(places, rows, strict=True):
        if row.goal:
            axes.plot([row.goal.limit] * 2, [place - 0.45, place + 0.45], color="black")
    axes.set_yticks(places, [row.name for row in rows], fontsize=7)
    axes.set_xscale("log")
    axes.set_xlabel("ratio: median, lowest and highest of the rounds; black: the goal")
    figure.savefig(path)
    plt.close(figure)
