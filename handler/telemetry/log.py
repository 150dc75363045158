"""Log lines: one JSON object each, so that no name in them can forge another line."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec

__all__ = ["Line", "listed", "set_up", "write"]

Line = dict[str, Any]
"""The fields of a line: timestamp, level, message, and others."""

_LISTED = 20
_handler = logging.StreamHandler()
_OF_EACH_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


class _JSONFormatter(logging.Formatter):
    """Formats a record as time (UTC), level, message, its extra fields, and its exception."""

    def format(self, record: logging.LogRecord) -> str:
        line: Line = {
            "timestamp": datetime.fromtimestamp(record.created, timezone.utc),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        more = vars(record).items()
        line.update({name: value for name, value in more if name not in _OF_EACH_RECORD})
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        return _encode(line)


def set_up(level: str) -> None:
    """Send the function's log lines to standard error, from this level on."""
    _handler.setFormatter(_JSONFormatter())
    _handler.setStream(sys.stderr)
    logger = logging.getLogger("eci-profile")
    logger.handlers = [_handler]
    logger.propagate = False
    logger.setLevel(level)


def write(lines: Sequence[Line]) -> None:
    """Write lines in the format of the logger, together, at a fraction of the cost."""
    if not lines:
        return
    text = "".join([f"{_encode(line)}\n" for line in lines])
    _handler.acquire()
    try:
        _handler.stream.write(text)
        _handler.stream.flush()
    except (OSError, ValueError):  # standard error is closed
        pass
    finally:
        _handler.release()


def listed(names: Sequence[str]) -> str:
    """Return the number of names, and the first of them."""
    more = ", ..." if len(names) > _LISTED else ""
    return f"{len(names)}: {', '.join(names[:_LISTED])}{more}" if names else "0"


def _encode(line: Line) -> str:
    """Encode the line as JSON in ASCII, which every log reader shows alike."""
    try:
        text = msgspec.json.encode(line).decode()
    except (TypeError, ValueError):  # an unknown class, or an unpaired surrogate
        text = ""
    return text if text and text.isascii() else json.dumps(line, default=str)
