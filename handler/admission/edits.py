"""Reviews of the profile's ConfigMap: an invalid profile is not saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..messages.message import Language, Message, translated
from ..profiles.parse import ProfileError, parse
from ..shorten import shorten
from ..telemetry.records import Outcome
from .changes import changes
from .executor import BoundedExecutor
from .review import Edit, Envelope, Response
from .verdict import LONGEST_FACT, Verdict, facts_of

__all__ = ["judge_edit"]

_BINDINGS_OFF = (
    "effects at binding are not enabled, so they are not added; install the component"
    " effects-at-binding"
)
_MOST_PROBLEMS = 20  # shown when a profile is refused: a screen of them
_LONGEST_PROBLEM = 500  # characters in the log


@dataclass(frozen=True, slots=True)
class _Judgement:
    """``error``: why the profile is refused. ``changes``: as the log has them."""

    warnings: Sequence[str] = ()
    error: ProfileError | None = None
    changes: Mapping[str, list[str]] | None = None


async def judge_edit(
    executor: BoundedExecutor,
    request: Envelope,
    edit: Edit,
    *,
    bindings: bool,
    language: Language,
) -> Verdict:
    """Judge the edit of a ConfigMap that is to be the profile. Raises BusyError.

    ``bindings``: whether effects at binding are switched on. ``language`` is that of a refusal;
    warnings are English, since they are sent in a header.
    """
    # A large profile takes a while; pods don't wait for it.
    judged = await executor.run(_judge, edit, bindings)
    facts = {**facts_of(request), "user": shorten(edit.user, LONGEST_FACT)}
    if judged.changes is not None:
        facts["changes"] = judged.changes
    if judged.error:
        lines = judged.error.lines(_MOST_PROBLEMS)
        facts["problems"] = [shorten(line, _LONGEST_PROBLEM) for line in lines]
        refusal = Response(allowed=False, refusal=_refusal(judged.error, language))
        return Verdict(Outcome.PROFILE_REFUSED, facts, refusal.encoded())
    facts["warnings"] = len(judged.warnings)
    response = Response(warnings=judged.warnings)
    return Verdict(Outcome.PROFILE_ACCEPTED, facts, response.encoded())


def _judge(edit: Edit, bindings: bool) -> _Judgement:
    # Imported here: profiles are rarely edited, and a start does without.
    from ..lint.lint import lint

    changed = None if edit.before is None else changes(edit.before, edit.data)
    try:
        profile = parse(edit.data)
    except ProfileError as error:
        return _Judgement(error=error, changes=changed)
    found = list(map(str, lint(profile)))
    if not bindings and profile.waits_for_binding:
        found.insert(0, _BINDINGS_OFF)
    return _Judgement(found, changes=changed)


def _refusal(error: ProfileError, language: Language) -> str:
    """A problem a line: kubectl shows it as it is, and kubectl edit above the text edited."""
    count = error.count
    problems = Message("1 problem") if count == 1 else Message("{count} problems", count=count)
    message = Message("the profile was not saved because it has {problems}:", problems=problems)
    shown = [f"  {line}" for line in error.lines(_MOST_PROBLEMS, language)]
    return "\n".join((translated(message, language), *shown))
