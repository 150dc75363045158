"""Log lines: one JSON object each, so that no name in them can forge another line."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec

__all__ = ["line", "listed", "set_up"]

_LISTED = 20
_handler = logging.StreamHandler()
_OF_EACH_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


class _JSONFormatter(logging.Formatter):
    """A record's time (UTC), level and message, what else it was given, and its exception."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, timezone.utc),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        more = vars(record).items()
        fields.update({name: value for name, value in more if name not in _OF_EACH_RECORD})
        if record.exc_info:
            fields["exc_info"] = self.formatException(record.exc_info)
        return _encode(fields)


def set_up(level: str) -> None:
    """Send the function's log lines to standard error, from this level on."""
    _handler.setFormatter(_JSONFormatter())
    _handler.setStream(sys.stderr)
    logger = logging.getLogger("eci-profile")
    logger.handlers = [_handler]
    logger.propagate = False
    logger.setLevel(level)


def line(level: int, message: str, facts: Mapping[str, Any]) -> None:
    """Write a line as ``logger.log`` does with ``extra``, at a third of the cost.

    For lines that each review writes; the caller asks ``logger.isEnabledFor`` first.
    """
    fields = {
        "timestamp": datetime.now(timezone.utc),
        "level": logging.getLevelName(level),
        "message": message,
        **facts,
    }
    _handler.acquire()
    try:
        _handler.stream.write(_encode(fields) + "\n")
        _handler.stream.flush()
    except (OSError, ValueError):  # nobody reads standard error any more
        pass
    finally:
        _handler.release()


def listed(names: Sequence[str]) -> str:
    """The number of names, and as many of them as a log line may have."""
    more = ", ..." if len(names) > _LISTED else ""
    return f"{len(names)}: {', '.join(names[:_LISTED])}{more}" if names else "0"


def _encode(fields: Mapping[str, Any]) -> str:
    """The fields as JSON in ASCII, so that every reader sees the same lines."""
    try:
        text = msgspec.json.encode(fields).decode()
    except (TypeError, ValueError):  # some other class, or half a surrogate pair
        text = ""
    return text if text and text.isascii() else json.dumps(fields, default=str)
