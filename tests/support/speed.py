"""How fast this machine is at the moment, for limits on CPU time."""

from __future__ import annotations

import time

__all__ = ["slowness"]

_USUAL = 0.0028  # seconds


def slowness() -> float:
    """How many times longer Python takes now than on the machine of the limits; at least 1.

    That machine runs nothing else. A core that two threads share takes twice as long.
    """
    return max(1.0, min(_counting() for _ in range(3)) / _USUAL)


def _counting() -> float:
    began = time.thread_time()
    found = {}
    for number in range(20_000):
        found[f"k{number % 1000}"] = [number]
    return time.thread_time() - began
