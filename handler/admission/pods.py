"""Reviews of pods: gather the inputs, decide, and describe the result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

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

__all__ = ["judge_pod", "matcher_of", "names_of"]


async def judge_pod(store: Store, request: Envelope, pod: Pod) -> Verdict:
    """Review the creation of a pod. Raises LoadError if a needed object cannot be read."""
    facts = facts_of(request, pod)
    if reason := left_alone(pod):
        return Verdict(Outcome.LEFT_ALONE, {**facts, "reason": reason})
    matching, matcher, namespace_labels = await _gather(store, request, pod)
    decision = decide_pod(pod, matching, matcher, request.uid)
    if not (decision.selectors or decision.audited or decision.drawn_out):
        wanted = matcher.profile.no_match_log
        if wanted is None or not is_logged(wanted, request):
            return Verdict(Outcome.NO_MATCH, facts)
        facts["failed"] = failures(matcher, pod, namespace_labels)
        return Verdict(Outcome.NO_MATCH_LOGGED, facts)
    applied = names_of(decision.selectors)
    others: dict[Match, list[str]] = {}
    if decision.audited or decision.drawn_out or decision.shadowed:
        others = _others(decision)
    response = _respond(decision, applied, others.get("audited", ()))
    placement = _placement(decision)
    facts["selectors"] = applied
    facts["placement"] = placement
    facts["warnings"] = len(response.warnings)
    if decision.unsupported:
        facts["unsupported"] = list(map(str, decision.unsupported))
    share = Share(applied, placement or "")
    if others:
        facts.update(others.items())
        lost = frozenset(others.get("shadowed", ()))
        counted = [name for name in applied if name not in lost] if lost else applied
        share = Share(counted, share.placement, tuple(others.items()))
    outcome = Outcome.PATCHED if decision.operations else Outcome.UNCHANGED
    # A dry run creates no pod.
    return Verdict(outcome, facts, response, None if request.dry_run else share)


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
