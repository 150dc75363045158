"""Reviews of bindings: effects for pods that are bound to a virtual node."""

from __future__ import annotations

import time

from ..cluster.cache import LOAD_SECONDS
from ..cluster.store import Store
from ..decision.binding import (
    Binding,
    BindingDecision,
    decide_binding,
    labels_to_match,
    nodes_of,
)
from ..decision.decide import left_alone
from ..decision.matching import Matcher
from ..decision.pod import Pod
from ..profiles.model import Selector
from ..telemetry.matches import Share
from ..telemetry.records import Outcome
from .pods import matcher_of, names_of
from .review import BindingObject, Envelope, Response
from .verdict import Verdict, facts_of
from .warnings import effect_warnings

__all__ = ["judge_binding"]


async def judge_binding(store: Store, request: Envelope, bound: BindingObject) -> Verdict:
    """Review the binding of a pod. Raises LoadError if a needed object cannot be read."""
    node = bound.target.name
    facts = {**facts_of(request), "object": bound.metadata.name, "node": node}
    end = time.monotonic() + LOAD_SECONDS
    matcher = matcher_of(await store.profile(report=not request.dry_run))
    if not matcher.waits_for_binding:
        return Verdict(Outcome.NO_MATCH, facts)
    labels = await store.node_labels(node, end - time.monotonic())
    nodes = nodes_of(labels, matcher)
    if not nodes:
        return Verdict(Outcome.NO_MATCH, facts)
    namespace, name = request.namespace or "", bound.metadata.name or ""
    uid, pod = await store.pod(namespace, name, end - time.monotonic())
    if bound.metadata.uid not in ("", uid):
        # Another pod with this name. The API server will refuse the binding.
        return Verdict(Outcome.NO_MATCH, facts)
    if reason := left_alone(pod):
        return Verdict(Outcome.LEFT_ALONE, {**facts, "reason": reason})
    matching = await _matching(store, namespace, pod, matcher, end)
    binding = Binding(bound.metadata, node, request.uid)
    decision = decide_binding(pod, binding, nodes, matching, matcher)
    if not (decision.selectors or decision.audited):
        return Verdict(Outcome.NO_MATCH, facts)
    facts["selectors"] = names_of(decision.selectors)
    if decision.audited:
        facts["audited"] = names_of(decision.audited)
    response = _respond(decision)
    facts["warnings"] = len(response.warnings)
    outcome = Outcome.PATCHED if decision.operations else Outcome.UNCHANGED
    share = None if request.dry_run else _share(decision)
    return Verdict(outcome, facts, response.encoded(), share)


def _share(decision: BindingDecision) -> Share:
    """The selectors that are counted at binding; all others were counted at creation."""
    applied = names_of([each for each in decision.selectors if each.effect_only])
    audited = names_of([each for each in decision.audited if each.effect_only])
    return Share(applied, others=(("audited", audited),))


async def _matching(
    store: Store, namespace: str, pod: Pod, matcher: Matcher, end: float
) -> list[Selector]:
    """Return the selectors that match the pod. The namespace is read if its labels matter."""
    found: dict[int, Selector] = {}
    for labels in labels_to_match(pod, matcher):
        matching = matcher.match_by_pod(labels)
        if matching is None:
            of_namespace = await store.namespace_labels(namespace, end - time.monotonic())
            matching = matcher.match(labels, of_namespace)
        found.update((each.rank, each) for each in matching)
    return list(found.values())


def _respond(decision: BindingDecision) -> Response:
    audit = {
        "selectors": ",".join(names_of(decision.selectors)),
        "audited-selectors": ",".join(names_of(decision.audited)),
    }
    return Response(
        operations=decision.operations,
        warnings=list(effect_warnings(decision.effects)),
        audit_annotations={key: value for key, value in audit.items() if value},
    )
