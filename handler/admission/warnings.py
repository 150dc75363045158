"""The warnings of a decision, which kubectl shows to those who create the pod."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from ..decision.decide import Decision, Refusal
from ..decision.effects import Effect, Kind
from ..messages.message import Message
from ..profiles.model import MAX_ANNOTATION_BYTES
from ..shorten import shorten

__all__ = ["KINDS", "effect_warnings", "refusal_reason", "warnings"]

_LONGEST_VALUE = 40  # characters

KINDS: Mapping[Kind, Message] = {"annotation": Message("annotation"), "label": Message("label")}
"""What an effect adds, as a part of a sentence."""


def warnings(decision: Decision) -> list[Message]:
    """A sentence for the refused placement first, then for each value that another one beat.

    An answer has room for a few only.
    """
    placement = [_placement(decision)] if decision.refusal or decision.unsupported else []
    return [*placement, *effect_warnings(decision.effects)]


def effect_warnings(effects: Iterable[Effect]) -> Iterator[Message]:
    """A sentence for each value that another one beat, and for each that had no room."""
    left_out: dict[str, None] = {}
    for effect in effects:
        if effect.result == "left-out":
            left_out[effect.key] = None
        elif effect.kept is not None and effect.kept != effect.value:
            yield _beaten(effect, effect.kept)
    for key in left_out:
        yield Message(
            "annotation {key}: not added, because the pod's annotations would exceed {most} bytes",
            key=key,
            most=MAX_ANNOTATION_BYTES,
        )


def _placement(decision: Decision) -> Message:
    name = _show(decision.placer.name) if decision.placer else ""
    if decision.refusal:
        return Message(
            "selector {name}: not placed on the virtual node, {reason}",
            name=name,
            reason=refusal_reason(decision.refusal),
        )
    return Message(
        "selector {name}: ECI does not support {what}", name=name, what=tuple(decision.unsupported)
    )


def refusal_reason(refusal: Refusal) -> Message:
    """Why a placement is refused, as a part of a sentence."""
    if refusal.unsupported:
        return Message("ECI does not support {what}", what=tuple(refusal.unsupported))
    if not refusal.key:
        return Message("the pod's required node affinity excludes it")
    return Message(
        "the pod's nodeSelector has {key} {actual} where the virtual node has {expected}",
        key=refusal.key,
        actual=_show(refusal.actual),
        expected=_show(refusal.expected),
    )


def _beaten(effect: Effect, kept: str) -> Message:
    if effect.keeper is not None:
        keeper = Message(
            "selector {name} set {value}", name=_show(effect.keeper), value=_show(kept)
        )
    else:
        keeper = Message("the pod's own {value} stays", value=_show(kept))
    return Message(
        "{kind} {key}: {keeper}, selector {name} would set {value}",
        kind=KINDS[effect.kind],
        key=effect.key,
        keeper=keeper,
        name=_show(effect.selector),
        value=_show(effect.value),
    )


def _show(value: str) -> str:
    return json.dumps(shorten(value, _LONGEST_VALUE))
