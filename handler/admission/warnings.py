"""The warnings of a decision, which kubectl shows to those who create the pod."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from ..decision.decide import Decision, Refusal
from ..decision.effects import Effect
from ..profiles.model import MAX_ANNOTATION_BYTES
from ..shorten import shorten

__all__ = ["effect_warnings", "refusal_reason", "warnings"]

_LONGEST_VALUE = 40  # characters


def warnings(decision: Decision) -> list[str]:
    """A sentence for the refused placement first, then for each value that another one beat.

    An answer has room for a few only.
    """
    placement = [_placement(decision)] if decision.refusal or decision.unsupported else []
    return [*placement, *effect_warnings(decision.effects)]


def effect_warnings(effects: Iterable[Effect]) -> Iterator[str]:
    """A sentence for each value that another one beat, and for each that had no room."""
    left_out: dict[str, None] = {}
    for effect in effects:
        if effect.result == "left-out":
            left_out[effect.key] = None
        elif effect.kept is not None and effect.kept != effect.value:
            yield _beaten(effect, effect.kept)
    for key in left_out:
        yield (
            f"annotation {key}: left out, or the pod's annotations would exceed"
            f" {MAX_ANNOTATION_BYTES} bytes"
        )


def _placement(decision: Decision) -> str:
    name = _show(decision.placer.name) if decision.placer else ""
    if decision.refusal:
        reason = refusal_reason(decision.refusal)
        return f"selector {name}: not placed on the virtual node, {reason}"
    return f"selector {name}: ECI does not support {', '.join(decision.unsupported)}"


def refusal_reason(refusal: Refusal) -> str:
    """Why a placement is refused, as a part of a sentence."""
    if refusal.unsupported:
        return f"ECI does not support {', '.join(refusal.unsupported)}"
    if not refusal.key:
        return "the pod's required node affinity excludes it"
    return (
        f"the pod's nodeSelector has {refusal.key} {_show(refusal.actual)}"
        f" where the virtual node has {_show(refusal.expected)}"
    )


def _beaten(effect: Effect, kept: str) -> str:
    keeper = (
        f"selector {_show(effect.keeper)} set {_show(kept)}"
        if effect.keeper is not None
        else f"the pod's own {_show(kept)} stays"
    )
    loser = f"selector {_show(effect.selector)} would set {_show(effect.value)}"
    return f"{effect.kind} {effect.key}: {keeper}, {loser}"


def _show(value: str) -> str:
    return json.dumps(shorten(value, _LONGEST_VALUE))
