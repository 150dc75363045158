"""Log lines: one JSON object each, so that no name in them can forge another line."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pythonjsonlogger.json import JsonFormatter

__all__ = ["listed", "set_up"]

_LISTED = 20


def set_up(level: str) -> None:
    """Send the function's log lines to standard error, from this level on."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter(
            "{levelname}{message}", style="{", rename_fields={"levelname": "level"}, timestamp=True
        )
    )
    logger = logging.getLogger("eci-profile")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(level)


def listed(names: Sequence[str]) -> str:
    """The number of names, and as many of them as a log line may have."""
    more = ", ..." if len(names) > _LISTED else ""
    return f"{len(names)}: {', '.join(names[:_LISTED])}{more}" if names else "0"
