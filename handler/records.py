"""What is kept of each review: a log line, and its share in the metrics."""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from . import log, metrics

__all__ = ["Records"]

_LEVELS = {
    **dict.fromkeys(("patched", "unchanged"), logging.INFO),
    **dict.fromkeys(("ignored", "left_alone", "no_match"), logging.DEBUG),
    **dict.fromkeys(("profile_accepted", "profile_refused"), logging.INFO),
    "unavailable": logging.DEBUG,  # the cache says it once
    **dict.fromkeys(("bad_request", "too_large", "error"), logging.WARNING),
}
_COUNTS = {outcome: metrics.REVIEWS.labels(outcome) for outcome in _LEVELS}
_WITHIN = 0.01  # seconds

_log = logging.getLogger("eci-profile")

_Record = tuple[datetime, str, float, Mapping[str, Any]]


class Records:
    """Counts and logs reviews, within 10 ms and all that are new together.

    So each costs a third, and no answer waits for it.
    """

    def __init__(self) -> None:
        self._new: list[_Record] = []
        atexit.register(self.write)

    def add(self, outcome: str, seconds: float, facts: Mapping[str, Any]) -> None:
        """Keep what came of a review, on the event loop, and how many seconds it took."""
        if not self._new:
            asyncio.get_running_loop().call_later(_WITHIN, self.write)
        self._new.append((datetime.now(timezone.utc), outcome, seconds, facts))

    def write(self) -> None:
        """Count and log what is new, at once."""
        new, self._new = self._new, []
        lines: list[log.Line] = []
        for now, outcome, seconds, facts in new:
            _COUNTS[outcome].inc()
            metrics.SECONDS.observe(seconds)
            level = _LEVELS[outcome]
            if _log.isEnabledFor(level):
                lines.append(
                    {
                        "timestamp": now,
                        "level": logging.getLevelName(level),
                        "message": "review",
                        "outcome": outcome,
                        **facts,
                        "ms": round(seconds * 1000, 3),
                    }
                )
        log.write(lines)
