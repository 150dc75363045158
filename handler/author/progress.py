"""Shows the progress of a long read on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TextIO

__all__ = ["Progress"]

_SECONDS = 0.1  # between two updates
_WIDTH = 30


class Progress:
    """A progress line on standard error if it is a terminal, cleared at the end.

    ``total``: the expected count, 0 if unknown. ``scale``: the count that makes one ``unit``, such
    as 10**6 bytes for MB.
    """

    def __init__(self, title: str, total: int, unit: str, scale: int = 1) -> None:
        self._title = title
        self._total = total
        self._unit = unit
        self._scale = scale
        self._done = 0
        self._shown = 0.0
        self._stream: TextIO | None = sys.stderr if sys.stderr.isatty() else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream and self._shown:
            self._stream.write("\r\033[K")
            self._stream.flush()

    def add(self, count: int, remaining: int | None = None) -> None:
        """Add to the count. ``remaining``: what is left to read, if known."""
        self._done += count
        if remaining is not None:
            self._total = self._done + remaining
        if self._stream and self._done and time.monotonic() - self._shown >= _SECONDS:
            self._shown = time.monotonic()
            self._stream.write(f"\r\033[K{self._line()}")
            self._stream.flush()

    def _line(self) -> str:
        done = f"{self._done // self._scale}"
        if not self._total:
            return f"{self._title}: {done} {self._unit}"
        full = min(_WIDTH, _WIDTH * self._done // self._total)
        bar = "#" * full + "." * (_WIDTH - full)
        return f"{self._title}: [{bar}] {done} of {self._total // self._scale} {self._unit}"
