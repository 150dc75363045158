"""Makes the plan that the page shows: like ``plan``, for the objects in a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import StrictStr, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from ..author.command import UsageError
from ..author.comparison import compare_on
from ..author.inventory import Inventory, Relevant
from ..author.objects import objects_of_json
from ..author.plan_report import to_json
from ..messages.message import Language, Message, message_of, translated
from ..profiles.model import Profile
from ..profiles.parse import ProfileError, parse

__all__ = ["planned"]

# With these limits, a request takes at most 2 s and 64 MB.
_MOST_BYTES = 8 * 2**20
_MOST_VALUES = 300_000  # of JSON; each takes up to 160 bytes in memory
_MOST_OBJECTS = 20_000
_MOST_WORK = 400_000  # distinct pods, times the requirements and entries of both profiles
# Limits of the answer, so that a browser can display it.
_MOST_WORKLOADS = 100
_MOST_CHANGES = 10  # for each workload
_MOST_EFFECTS = 10  # for each change


@validated(frozen=True, slots=True)
class _Head:
    """The first line of a body: the data of a profile, and the language of messages."""

    profile: dict[StrictStr, StrictStr]
    language: Language = "en"


_HEAD = TypeAdapter(_Head)


def planned(body: bytes, current: Profile) -> Mapping[str, Any]:
    """Return the plan as in ``plan --output json``, limited to the workloads with the most pods.

    ``more`` is the number of workloads, changes or effects that are left out of a list. If the
    profile or the objects cannot be read or are too large, the answer is an ``error``. Raises
    ValueError if the first line of the body does not have the page's format.
    """
    first, _, text = body.partition(b"\n")
    try:
        head = _HEAD.validate_json(first)
    except ValidationError:
        raise ValueError("the first line of the body must have profile") from None
    try:
        return _plan(head, text, current)
    except UsageError as error:
        return {"error": error.told(head.language)}
    except ValueError as error:
        return {"error": translated(message_of(error), head.language)}


def _plan(head: _Head, text: bytes, current: Profile) -> Mapping[str, Any]:
    _check_size(text)
    try:
        new = parse(head.profile) if head.profile else Profile()
    except ProfileError:
        raise ValueError(Message("the profile has errors; fix them first")) from None
    inventory = Inventory(Relevant(current, new))
    for number, value in enumerate(objects_of_json(text, "JSON")):
        if number == _MOST_OBJECTS:
            raise _too_large(Message("more than {most} objects", most=_MOST_OBJECTS))
        inventory.add(value)
    if not inventory:
        raise ValueError(Message("there are no pods and no workloads in it"))
    _check_work(inventory, current, new)
    return _shortened(to_json(compare_on(inventory, current, new), head.language))


def _check_size(text: bytes) -> None:
    if len(text) > _MOST_BYTES:
        raise _too_large(Message("more than {most} bytes", most=_MOST_BYTES))
    # An upper bound, since these characters also occur in strings.
    if sum(map(text.count, (b"{", b"[", b","))) > _MOST_VALUES:
        raise _too_large(Message("more than {most} values", most=_MOST_VALUES))
    try:
        msgspec.json.decode(text, type=msgspec.Raw)  # limits the nesting
    except (msgspec.DecodeError, RecursionError) as error:
        reason = message_of(error)
        raise ValueError(
            Message("this is not the output of kubectl get -o json: {reason}", reason=reason)
        ) from None


def _too_large(problem: Message) -> ValueError:
    return ValueError(
        Message("{problem}; use python -m handler plan, which has no limit", problem=problem)
    )


def _check_work(inventory: Inventory, *profiles: Profile) -> None:
    drawn = inventory.relevant.drawn
    pods = sum(
        1 + sum(each.count if drawn else 1 for each, _ in group.alike)
        for group in inventory.groups()
    )
    size = sum(
        1
        + len(each.namespace or ())
        + len(each.object or ())
        + len(each.annotations)
        + len(each.labels)
        for profile in profiles
        for each in profile.selectors
    )
    if pods * size > _MOST_WORK:
        raise _too_large(Message("too many pods for a profile of this size"))


def _shortened(plan: dict[str, Any]) -> Mapping[str, Any]:
    workloads = sorted(plan["workloads"], key=lambda each: -each["pods"])
    for workload in workloads[:_MOST_WORKLOADS]:
        _shorten(workload, "changes", _MOST_CHANGES)
        for change in workload["changes"]:
            _shorten(change, "effects", _MOST_EFFECTS)
    plan["workloads"] = workloads
    _shorten(plan, "workloads", _MOST_WORKLOADS)
    return plan


def _shorten(found: dict[str, Any], key: str, most: int) -> None:
    every = found[key]
    found[key] = every[:most]
    found["more"] = len(every) - len(found[key])
