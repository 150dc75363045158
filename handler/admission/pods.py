"""Reviews of pods: gather the inputs, decide, and describe the result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.json import encode

from ..cluster.cache import LOAD_SECONDS, LoadError
from ..cluster.current import State
from ..cluster.store import Store
from ..decision.decide import Decision, decide_pod, left_alone
from ..decision.matching import Matcher
from ..decision.pod import Pod
from ..profiles.model import Selector
from ..telemetry.matches import Match, Share
from ..telemetry.records import Outcome
from .no_match import failures, is_logged
from .review import Envelope, Response
from .verdict import Verdict, facts_of
from .warnings import warnings

__all__ = ["PodJudge", "matcher_of", "names_of"]

_MOST_KEPT = 32
_LARGEST_KEPT = 8 * 1024
"""The most results that are kept, and the most bytes of one with its key: 256 KiB in all."""


class _Result(Struct, frozen=True):
    """The result for a pod that selectors match, but for what depends on its request."""

    outcome: Outcome
    facts: Mapping[str, Any]
    response: bytes
    share: Share


class PodJudge:
    """Reviews creations of pods, for one event loop.

    The pods of a workload are alike, so results are kept: by the profile, all that is read of a
    pod, and the selectors that match it. Nothing else counts, unless a percentage is drawn.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._matcher: Matcher | None = None  # that of the results
        self._results: dict[tuple[object, ...], _Result | None] = {}

    async def judge(self, request: Envelope, pod: Pod) -> Verdict:
        """Review the creation of a pod. Raises LoadError if a needed object cannot be read."""
        facts = facts_of(request, pod)
        if reason := left_alone(pod):
            return Verdict(Outcome.LEFT_ALONE, {**facts, "reason": reason})
        matching, matcher, namespace_labels = await _gather(self._store, request, pod)
        result = self._result(pod, matching, matcher, request.uid)
        if result is None:
            wanted = matcher.profile.no_match_log
            if wanted is None or not is_logged(wanted, request):
                return Verdict(Outcome.NO_MATCH, facts)
            facts["failed"] = failures(matcher, pod, namespace_labels)
            return Verdict(Outcome.NO_MATCH_LOGGED, facts)
        facts.update(result.facts)
        # A dry run creates no pod.
        share = None if request.dry_run else result.share
        return Verdict(result.outcome, facts, result.response, share)

    def _result(
        self, pod: Pod, matching: Sequence[Selector], matcher: Matcher, uid: str
    ) -> _Result | None:
        """Return the result, or None if no selector matches."""
        if not matching and not matcher.effect_only:
            return None
        if matcher.draws:
            return _result_of(decide_pod(pod, matching, matcher, uid))
        if matcher is not self._matcher:
            self._matcher, self._results = matcher, {}
        read = encode(pod)
        key = read, *[selector.rank for selector in matching]
        if key in self._results:
            return self._results[key]
        result = _result_of(decide_pod(pod, matching, matcher))
        size = len(read) + 8 * len(matching) + (len(result.response) if result else 0)
        if size <= _LARGEST_KEPT:
            if len(self._results) == _MOST_KEPT:
                self._results.clear()
            self._results[key] = result
        return result


def _result_of(decision: Decision) -> _Result | None:
    """Describe the result; None if no selector matches."""
    if not (decision.selectors or decision.audited or decision.drawn_out):
        return None
    applied = names_of(decision.selectors)
    others: dict[Match, list[str]] = {}
    if decision.audited or decision.drawn_out or decision.shadowed:
        others = _others(decision)
    response = _respond(decision, applied, others.get("audited", ()))
    placement = _placement(decision)
    facts: dict[str, Any] = {
        "selectors": applied,
        "placement": placement,
        "warnings": len(response.warnings),
    }
    if decision.unsupported:
        facts["unsupported"] = list(map(str, decision.unsupported))
    share = Share(applied, placement or "")
    if others:
        facts.update(others.items())
        lost = frozenset(others.get("shadowed", ()))
        counted = [name for name in applied if name not in lost] if lost else applied
        share = Share(counted, share.placement, tuple(others.items()))
    outcome = Outcome.PATCHED if decision.operations else Outcome.UNCHANGED
    return _Result(outcome, facts, response.encoded(), share)


def _others(decision: Decision) -> dict[Match, list[str]]:
    """The names of the selectors that match without any effect."""
    found: dict[Match, Sequence[Selector]] = {
        "audited": decision.audited,
        "drawn_out": decision.drawn_out,
        "shadowed": decision.shadowed,
    }
    return {result: names_of(selectors) for result, selectors in found.items() if selectors}


async def _gather(
    store: Store, request: Envelope, pod: Pod
) -> tuple[Sequence[Selector], Matcher, Mapping[str, str]]:
    """Return the matching selectors, the matcher, and the namespace's labels if they matter."""
    began = time.monotonic()
    matcher = matcher_of(await store.profile(report=not request.dry_run))
    labels = (pod.metadata and pod.metadata.labels) or {}
    matching = matcher.match_by_pod(labels)
    namespace_labels: Mapping[str, str] = {}
    if matching is None:
        left = LOAD_SECONDS - (time.monotonic() - began)
        namespace_labels = await store.namespace_labels(request.namespace or "", left)
        matching = matcher.match(labels, namespace_labels)
    return matching, matcher, namespace_labels


def matcher_of(state: State) -> Matcher:
    """Return the matcher of the profile in force. Raises LoadError if there is none."""
    if state.matcher is None:
        raise LoadError(f"the profile is invalid: {state.errors.splitlines()[0]}")
    return state.matcher


def _placement(decision: Decision) -> str | None:
    """The result of the placement; None if no selector decided it."""
    if decision.refusal:
        return "unsupported" if decision.refusal.unsupported else "refused"
    return decision.placement


def _respond(decision: Decision, applied: Sequence[str], audited: Sequence[str]) -> Response:
    audit: dict[str, str] = {}
    if applied:
        audit["selectors"] = ",".join(applied)
    if decision.placement:
        audit["placement"] = decision.placement
    if audited:
        audit["audited-selectors"] = ",".join(audited)
    return Response(
        operations=decision.operations,
        warnings=warnings(decision),
        audit_annotations=audit,
    )


def names_of(selectors: Sequence[Selector]) -> list[str]:
    """The names of the selectors."""
    return [selector.name for selector in selectors]
