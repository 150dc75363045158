"""Text of any length, cut to what a message or a log line may have."""

from __future__ import annotations

__all__ = ["shorten"]


def shorten(text: str, length: int) -> str:
    """The text if it has at most as many characters; else its beginning, and three dots."""
    return text if len(text) <= length else f"{text[: length - 3]}..."
