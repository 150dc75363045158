"""The version of the function, and the only place that has it."""

from __future__ import annotations

__all__ = ["VERSION"]

VERSION = "0.2.0.dev0"
