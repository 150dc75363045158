"""What an edit changes in the profile as it is written, for the log: also where it is invalid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..profiles.parse import KEYS
from ..profiles.text import TextError, read
from ..shorten import shorten

__all__ = ["changes"]

_MOST = 20  # names of a kind in a log line
_LONGEST_NAME = 100  # characters
_MOST_CHARACTERS = 2**20
"""Of both texts of selectors: reading them again takes as long as judging the edit."""


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of the selectors that are added, removed and changed, and of other keys changed.

    The first 20 of each. Selectors are not compared if a text is invalid, or both together have
    more than a million characters.
    """
    found: dict[str, list[str]] = {}
    if before.get(KEYS[0]) != after.get(KEYS[0]):
        old, new = _both_selectors(before.get(KEYS[0]), after.get(KEYS[0]))
        if old is not None and new is not None:
            found["added"] = [name for name in new if name not in old]
            found["removed"] = [name for name in old if name not in new]
            found["changed"] = [name for name in new if name in old and new[name] != old[name]]
            kept = [name for name in new if name in old]
            if kept != [name for name in old if name in new]:
                found["moved"] = _moved(kept, old)
    found["keys"] = [key for key in KEYS[1:] if before.get(key) != after.get(key)]
    return {kind: _bounded(names) for kind, names in found.items() if names}


def _both_selectors(before: Any, after: Any) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if sum(len(text) for text in (before, after) if isinstance(text, str)) > _MOST_CHARACTERS:
        return None, None
    return _selectors(before), _selectors(after)


def _selectors(text: Any) -> dict[str, Any] | None:
    """The selectors of a text by name; None if it is not a list of selectors."""
    if text is None:
        return {}
    if not isinstance(text, str):
        return None
    try:
        value = read(text).value
    except TextError:
        return None
    if value in (None, ""):
        return {}
    if not isinstance(value, list):
        return None
    found: dict[str, Any] = {}
    for selector in value:
        name = selector.get("name") if isinstance(selector, dict) else None
        if isinstance(name, str):
            found.setdefault(name, selector)
    return found


def _moved(names: Sequence[str], old: Iterable[str]) -> list[str]:
    """The names that follow one which they came before."""
    place = {name: index for index, name in enumerate(old)}
    return [name for before, name in pairwise(names) if place[name] < place[before]]


def _bounded(names: Sequence[str]) -> list[str]:
    more = len(names) - _MOST
    shown = [shorten(name, _LONGEST_NAME) for name in names[:_MOST]]
    return [*shown, f"and {more} more"] if more > 0 else shown
