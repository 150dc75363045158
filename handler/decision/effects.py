"""Applies effects: their entries are added and never overwrite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from ..profiles.model import MAX_ANNOTATION_BYTES, Selector

__all__ = ["Effect", "Kind", "Result", "added", "effects_of", "leave_out", "size_of"]

Kind = Literal["annotation", "label"]
Result = Literal["added", "same", "own", "other", "left-out"]


@dataclass(slots=True)
class Effect:
    """The result for one entry of an effect. ``kept`` is the value that the pod ends up with.

    added: the pod gets it. same: the pod had it. own: the pod keeps its own value. other: the pod
    gets that of an earlier selector, ``keeper``. left-out: the annotations would be too large.
    """

    kind: Kind
    key: str
    value: str
    selector: str
    result: Result
    kept: str | None = None
    keeper: str | None = None


def effects_of(
    kind: Kind,
    own: Mapping[str, str],
    selectors: Iterable[Selector],
) -> list[Effect]:
    """The result for each entry: the pod's own value > the first selector's > later ones'."""
    effects: list[Effect] = []
    winners: dict[str, Effect] = {}
    for selector in selectors:
        name = selector.name
        entries = selector.annotations if kind == "annotation" else selector.labels
        for key, value in entries.items():
            if key in own:
                kept = own[key]
                result: Result = "same" if kept == value else "own"
                effect = Effect(kind, key, value, name, result, kept)
            elif key in winners:
                winner = winners[key]
                effect = Effect(kind, key, value, name, "other", winner.value, winner.selector)
            else:
                effect = winners[key] = Effect(kind, key, value, name, "added", value)
            effects.append(effect)
    return effects


def leave_out(effects: Sequence[Effect], own: Mapping[str, str]) -> None:
    """Leave out the last annotations if the API server would refuse all of them for their size."""
    wanted = [effect for effect in effects if effect.result == "added"]
    if not wanted:
        return
    characters = sum(map(len, chain(own, own.values())))
    characters += sum(len(effect.key) + len(effect.value) for effect in wanted)
    if 4 * characters <= MAX_ANNOTATION_BYTES:  # in UTF-8, each takes at most 4
        return
    total = size_of(own)
    left_out = set()
    for effect in wanted:
        size = _size((effect.key, effect.value))
        if total + size <= MAX_ANNOTATION_BYTES:
            total += size
        else:
            left_out.add(effect.key)
    for effect in effects:
        if effect.key in left_out:
            effect.result, effect.kept, effect.keeper = "left-out", None, None


def _size(entry: tuple[str, str]) -> int:
    return sum(len(text.encode()) for text in entry)


def added(effects: Iterable[Effect]) -> dict[str, str]:
    """Return the entries to add, sorted by key."""
    return dict(sorted([(each.key, each.value) for each in effects if each.result == "added"]))


def size_of(annotations: Mapping[str, str]) -> int:
    """The bytes of annotations, as the API server counts them."""
    return sum(map(_size, annotations.items()))
