"""Reviews of pods: gather what has to be known, decide, and say what came of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..cluster.cache import LOAD_SECONDS, LoadError
from ..cluster.store import Store
from ..decision.decide import Decision, decide_pod, left_alone
from ..decision.matching import Matcher
from ..decision.pod import Pod
from ..profiles.model import Selector
from ..telemetry.records import Outcome
from .review import Envelope, Response
from .verdict import Verdict, facts_of
from .warnings import warnings

__all__ = ["judge_pod", "names_of", "profile_in_force"]


async def judge_pod(store: Store, request: Envelope, pod: Pod) -> Verdict:
    """Judge the creation of a pod. Raises LoadError if what it takes can't be known."""
    facts = facts_of(request, pod)
    if reason := left_alone(pod):
        return Verdict(Outcome.LEFT_ALONE, {**facts, "reason": reason})
    matching, matcher = await _gather(store, request, pod)
    decision = decide_pod(pod, matching, matcher, request.uid)
    if not (decision.selectors or decision.audited or decision.drawn_out):
        return Verdict(Outcome.NO_MATCH, facts)
    response = _respond(decision)
    facts["selectors"] = names_of(decision.selectors)
    facts["placement"] = "refused" if decision.refusal else decision.placement
    facts["warnings"] = len(response.warnings)
    if decision.audited:
        facts["audited"] = names_of(decision.audited)
    if decision.drawn_out:
        facts["drawn_out"] = names_of(decision.drawn_out)
    outcome = Outcome.PATCHED if decision.operations else Outcome.UNCHANGED
    return Verdict(outcome, facts, response)


async def _gather(store: Store, request: Envelope, pod: Pod) -> tuple[Sequence[Selector], Matcher]:
    """The selectors that match, and the profile's. The namespace is read if it can matter."""
    began = time.monotonic()
    matcher = await profile_in_force(store, report=not request.dry_run)
    labels = (pod.metadata and pod.metadata.labels) or {}
    matching = matcher.match_by_pod(labels)
    if matching is None:
        left = LOAD_SECONDS - (time.monotonic() - began)
        namespace_labels = await store.namespace_labels(request.namespace or "", left)
        matching = matcher.match(labels, namespace_labels)
    return matching, matcher


async def profile_in_force(store: Store, *, report: bool) -> Matcher:
    """The profile in force. Raises LoadError if there is none."""
    state = await store.profile(report=report)
    if state.matcher is None:
        raise LoadError(f"the profile is invalid: {state.errors.splitlines()[0]}")
    return state.matcher


def _respond(decision: Decision) -> Response:
    audit = {
        "selectors": names_of(decision.selectors),
        "placement": decision.placement or "",
        "audited-selectors": names_of(decision.audited),
    }
    return Response(
        operations=decision.operations,
        warnings=warnings(decision),
        audit_annotations={key: value for key, value in audit.items() if value},
    )


def names_of(selectors: Sequence[Selector]) -> str:
    """Their names, as the log and the audit annotations have them."""
    return ",".join([selector.name for selector in selectors])
