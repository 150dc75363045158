"""Which share of the pods a selector takes, and the record that keeps a pod's draws."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from ..profiles.model import RECORD_ANNOTATION, Selector

__all__ = ["drawn", "read_record", "write_record"]

_LONGEST_RECORD = 64 * 1024  # characters; 250 names of the longest that labels have


def drawn(selector: Selector, uid: str | None, record: frozenset[str] | None) -> bool:
    """Whether a selector takes a pod that it matches.

    By the record of the pod, if it has one; else drawn from the uid of the review and the name of
    the selector, so independently of other selectors. Without a uid, as for a pod that is not
    reviewed, every selector with a percentage above 0 takes it.
    """
    if selector.percentage == 100:
        return True
    if record is not None:
        return selector.name in record
    if uid is None:
        return selector.percentage > 0
    digest = hashlib.blake2b(f"{uid}/{selector.name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") * 100 < selector.percentage << 64


def read_record(annotations: Mapping[str, str]) -> frozenset[str] | None:
    """The names in a pod's decision record; None if it has none, or one that can't be read."""
    text = annotations.get(RECORD_ANNOTATION)
    if text is None or len(text) > _LONGEST_RECORD:
        return None
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return frozenset(names)
    return None


def write_record(selectors: Iterable[Selector]) -> str:
    """The decision record of a pod to which these selectors applied."""
    return json.dumps([each.name for each in selectors], separators=(",", ":"))
