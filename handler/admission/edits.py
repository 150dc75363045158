"""Reviews of the profile's ConfigMap: an invalid profile is not saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..profiles.parse import ProfileError, parse
from ..telemetry.records import Outcome
from .executor import BoundedExecutor
from .review import Envelope, Response
from .verdict import Verdict, facts_of

__all__ = ["judge_edit"]

_BINDINGS_OFF = (
    "effects at binding are not switched on here, so they are not added; install the component"
    " effects-at-binding"
)
_MOST_PROBLEMS = 20  # shown when a profile is refused: a screen of them


async def judge_edit(
    executor: BoundedExecutor, request: Envelope, data: Mapping[str, Any], *, bindings: bool
) -> Verdict:
    """Judge the data of a ConfigMap that is to be the profile. Raises BusyError.

    ``bindings``: whether effects at binding are switched on.
    """
    facts = facts_of(request)
    try:
        # A large profile takes a while; pods don't wait for it.
        found = await executor.run(_warnings, data, bindings)
    except ProfileError as error:
        refusal = Response(allowed=False, refusal=_refusal(error))
        return Verdict(Outcome.PROFILE_REFUSED, {**facts, "problems": error.count}, refusal)
    return Verdict(Outcome.PROFILE_ACCEPTED, facts, Response(warnings=found))


def _warnings(data: Mapping[str, Any], bindings: bool) -> list[str]:
    # Imported here: profiles are rarely edited, and a start does without.
    from ..lint.lint import lint

    profile = parse(data)
    found = list(map(str, lint(profile)))
    if not bindings and profile.waits_for_binding:
        found.insert(0, _BINDINGS_OFF)
    return found


def _refusal(error: ProfileError) -> str:
    """A problem a line: kubectl shows it as it is, and kubectl edit above the text edited."""
    problems = "1 problem" if error.count == 1 else f"{error.count} problems"
    shown = [f"  {line}" for line in error.lines(_MOST_PROBLEMS)]
    return "\n".join((f"the profile was not saved, it has {problems}:", *shown))
