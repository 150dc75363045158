"""Shortens texts for messages and log lines."""

from __future__ import annotations

__all__ = ["shorten"]


def shorten(text: str, length: int) -> str:
    """Return the text, cut to at most so many characters with three dots at the end."""
    return text if len(text) <= length else f"{text[: length - 3]}..."
