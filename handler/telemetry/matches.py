"""Which selectors match how many pods, and where pods go: counters with bounded labels."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

__all__ = ["Match", "Matches", "Share"]

Match = Literal["applied", "drawn_out", "audited", "shadowed"]
"""The result for a selector that matches a pod."""

_RESULTS: Mapping[str, tuple[Match, ...]] = {
    "enforce": ("applied", "drawn_out", "shadowed"),
    "audit": ("audited", "drawn_out"),
}
_MOST_SELECTORS = 200
_LONGEST_NAME = 128  # characters
_REST = ""  # never the name of a selector


class Share(Struct, frozen=True, gc=False):
    """What a review adds to the counters: the names of selectors that apply, and a placement.

    ``others``: the names of selectors with another result. ``placement`` is empty if no selector
    decided it.
    """

    applied: Sequence[str] = ()
    placement: str = ""
    others: Sequence[tuple[Match, Sequence[str]]] = ()


class Matches(Collector):
    """Counts matches by selector.

    Each of the first 200 selectors of the profile in force has its own series. The others, and
    those with a name longer than 128 characters, are counted together under the empty name. The
    series of a removed selector ends. Series start at 0.
    """

    def __init__(self, name: str, documentation: str) -> None:
        self._name = name
        self._documentation = documentation
        self._lock = threading.Lock()
        self._modes: Mapping[str, str] = {}
        self._shown: frozenset[str] = frozenset()
        self._counts: dict[tuple[str, str, Match], float] = {}

    def follow(self, selectors: Sequence[tuple[str, str]]) -> None:
        """Set the selectors to count: name and mode, in order of precedence."""
        modes = {name: mode for name, mode in selectors if mode in _RESULTS}
        # The parser of Prometheus stops at NUL; all other characters can be escaped.
        tellable = (name for name in modes if len(name) <= _LONGEST_NAME and "\0" not in name)
        shown = [name for name, _ in zip(tellable, range(_MOST_SELECTORS), strict=False)]
        series = [(name, modes[name]) for name in shown]
        if len(shown) < len(modes):
            series += [(_REST, mode) for mode in _RESULTS]
        with self._lock:
            before = self._counts
            self._modes, self._shown = modes, frozenset(shown)
            self._counts = {
                key: before.get(key, 0.0)
                for name, mode in series
                for key in ((name, mode, result) for result in _RESULTS[mode])
            }

    def add(self, result: Match, counts: Mapping[str, int]) -> None:
        """Add how many pods each selector matched, by name."""
        with self._lock:
            for name, count in counts.items():
                key = name if name in self._shown else _REST, self._modes.get(name, ""), result
                if key in self._counts:  # otherwise it has been removed from the profile
                    self._counts[key] += count

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Return the metric, for the Prometheus client."""
        family = CounterMetricFamily(
            self._name, self._documentation, labels=("selector", "mode", "result")
        )
        with self._lock:
            counts = list(self._counts.items())
        for key, count in counts:
            family.add_metric(key, count)
        yield family
