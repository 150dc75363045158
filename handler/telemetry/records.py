"""Records reviews: a log line for each, and metrics."""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from . import log, metrics
from .matches import Match, Share

__all__ = ["Outcome", "Records"]

_WITHIN = 0.01  # seconds

_log = logging.getLogger("eci-profile")


class Outcome(Enum):
    """The outcome of a request, with the label of its metric and the level of its log line."""

    PATCHED = "patched", logging.INFO
    UNCHANGED = "unchanged", logging.INFO
    NO_MATCH = "no_match", logging.DEBUG
    NO_MATCH_LOGGED = "no_match", logging.INFO  # only if the profile asks for it
    LEFT_ALONE = "left_alone", logging.DEBUG
    IGNORED = "ignored", logging.DEBUG
    PROFILE_ACCEPTED = "profile_accepted", logging.INFO
    PROFILE_REFUSED = "profile_refused", logging.INFO
    UNAVAILABLE = "unavailable", logging.DEBUG  # the cache logs it once
    BAD_REQUEST = "bad_request", logging.WARNING
    TOO_LARGE = "too_large", logging.WARNING
    ERROR = "error", logging.WARNING

    def __init__(self, label: str, level: int) -> None:
        self.label = label
        self.level = level
        self.level_name = logging.getLevelName(level)
        self.count = metrics.REVIEWS.labels(label)


_Record = tuple[datetime, Outcome, float, Mapping[str, Any], Share | None]


class Records:
    """Counts and logs reviews in batches, within 10 ms.

    A batch costs a third of single records, and no response waits for it.
    """

    def __init__(self) -> None:
        self._new: list[_Record] = []
        atexit.register(self.write)

    def add(
        self,
        outcome: Outcome,
        seconds: float,
        facts: Mapping[str, Any],
        share: Share | None = None,
    ) -> None:
        """Add the outcome of a review and its duration in seconds. Call it on the event loop."""
        if not self._new:
            asyncio.get_running_loop().call_later(_WITHIN, self.write)
        self._new.append((datetime.now(timezone.utc), outcome, seconds, facts, share))

    def write(self) -> None:
        """Count and log the batch now."""
        new, self._new = self._new, []
        lines: list[log.Line] = []
        applied: list[str] = []
        others: dict[Match, list[str]] = {}
        placements: list[str] = []
        for now, outcome, seconds, facts, share in new:
            outcome.count.value += 1
            metrics.SECONDS.observe(seconds)
            if share:
                applied += share.applied
                placements.append(share.placement)
                for result, names in share.others:
                    others.setdefault(result, []).extend(names)
            if _log.isEnabledFor(outcome.level):
                lines.append(
                    {
                        "timestamp": now,
                        "level": outcome.level_name,
                        "message": "review",
                        "outcome": outcome.label,
                        **facts,
                        "ms": round(seconds * 1000, 3),
                    }
                )
        for result, names in (("applied", applied), *others.items()):
            metrics.MATCHES.add(result, Counter(names))
        for placement, count in Counter(placements).items():
            if placement:
                metrics.PLACEMENTS.labels(placement).inc(count)
        log.write(lines)
