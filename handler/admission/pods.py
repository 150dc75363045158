"""Reviews of pods: gather what has to be known, decide, and say what came of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..cluster.cache import LOAD_SECONDS, LoadError
from ..cluster.store import Store
from ..decision.decide import Decision, decide_pod, left_alone
from ..decision.pod import Pod
from ..profiles.model import Selector, VirtualNode
from ..telemetry.records import Outcome
from .review import Envelope, Response
from .verdict import Verdict, facts_of
from .warnings import warnings

__all__ = ["judge_pod"]


async def judge_pod(store: Store, request: Envelope, pod: Pod) -> Verdict:
    """Judge the creation of a pod. Raises LoadError if what it takes can't be known."""
    facts = facts_of(request, pod)
    if reason := left_alone(pod):
        return Verdict(Outcome.LEFT_ALONE, {**facts, "reason": reason})
    selectors, node = await _gather(store, request, pod)
    if not selectors:
        return Verdict(Outcome.NO_MATCH, facts)
    decision = decide_pod(pod, selectors, node)
    response = _respond(decision)
    facts["selectors"] = response.audit_annotations["selectors"]
    facts["placement"] = "refused" if decision.refusal else decision.placement
    facts["warnings"] = len(response.warnings)
    outcome = Outcome.PATCHED if decision.operations else Outcome.UNCHANGED
    return Verdict(outcome, facts, response)


async def _gather(
    store: Store, request: Envelope, pod: Pod
) -> tuple[Sequence[Selector], VirtualNode]:
    """The selectors that match, and the virtual node. The namespace is read if it can matter."""
    began = time.monotonic()
    state = await store.profile(report=not request.dry_run)
    if state.matcher is None:
        raise LoadError(f"the profile is invalid: {state.errors.splitlines()[0]}")
    labels = (pod.metadata and pod.metadata.labels) or {}
    selectors = state.matcher.match_by_pod(labels)
    if selectors is None:
        left = LOAD_SECONDS - (time.monotonic() - began)
        namespace_labels = await store.namespace_labels(request.namespace or "", left)
        selectors = state.matcher.match(labels, namespace_labels)
    return selectors, state.matcher.profile.virtual_node


def _respond(decision: Decision) -> Response:
    names = ",".join([selector.name for selector in decision.selectors])
    return Response(
        operations=decision.operations,
        warnings=warnings(decision),
        audit_annotations={"selectors": names, "placement": decision.placement or ""},
    )
