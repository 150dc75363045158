"""Formats a plan as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ..admission.warnings import KINDS
from ..messages.message import Language, Message, translated
from ..profiles.model import RECORD_ANNOTATION
from ..profiles.problems import show
from ..shorten import shorten
from .changes import Change, EffectChange, Outcome
from .comparison import Comparison, Counted, WorkloadChanges
from .explanation import PLACEMENTS
from .inventory import Key

__all__ = ["report", "to_json"]

_LONGEST_NAME = 253  # Kubernetes' limit for most kinds
_MOST_NAMES = 10  # namespaces or selectors in a line
_DRAWN = Message(
    "A selector with a percentage chooses at random when a pod is created. The plan chooses by"
    " the uid of the pod, in the same way for both profiles, so its numbers are estimates."
)


def report(comparison: Comparison) -> Iterator[str]:
    """Yield the plan as lines of text."""
    for workload in comparison.workloads:
        yield from _workload(workload)
        yield ""
    if comparison.unmatched:
        names = _listed(comparison.unmatched)
        yield Message("Selectors that match no pods here: {names}", names=names)
    if comparison.drawn:
        yield _DRAWN
    if comparison.unknown_namespaces:
        names = _listed(sorted(comparison.unknown_namespaces))
        yield Message(
            "Not decided: {pods}, because a selector requires labels of namespaces that are not"
            " in the input: {names}",
            pods=_pods(comparison.undecided),
            names=names,
        )
    yield _summary(comparison)
    if comparison.changes:
        yield Message("Running pods are not changed: this is what happens when they are recreated.")


def to_json(comparison: Comparison, language: Language) -> dict[str, Any]:
    """Return the plan as an object for JSON, with reasons in a language."""
    results = comparison.results
    return {
        "changes": comparison.changes,
        "summary": {
            "pods": comparison.pods,
            "placed": results["placed"],
            "unplaced": results["unplaced"],
            "changed": results["changed"],
            "recorded": results["recorded"],
            "unchanged": results["unchanged"],
            "undecided": comparison.undecided,
            "refused": comparison.refused,
            "unsupported": comparison.unsupported,
            "finished": comparison.finished,
        },
        "workloads": [
            {
                **workload.key._asdict(),
                "pods": workload.pods,
                "undecided": workload.undecided,
                "changes": [_change(*each, language) for each in _in_order(workload)],
                "differingLabels": [
                    {**asdict(difference), **asdict(counted)}
                    for difference, counted in workload.differing.items()
                ],
            }
            for workload in comparison.workloads
        ],
        "unmatchedSelectors": comparison.unmatched,
        "unknownNamespaces": sorted(comparison.unknown_namespaces),
    }


def _change(change: Change, counted: Counted, language: Language) -> dict[str, Any]:
    return {
        "result": change.result,
        **asdict(counted),
        "placement": {
            "before": asdict(change.before) if change.before.policy else None,
            "after": asdict(change.after) if change.after.policy else None,
        },
        "effects": [
            {
                "kind": each.kind,
                "key": each.key,
                "before": each.before,
                "after": each.after,
                "at": str(each.at) or "creation",
            }
            for each in change.effects
        ],
        "refused": {
            "selector": change.refused_of,
            "reason": translated(change.refused, language),
        }
        if change.refused
        else None,
        "unsupported": [translated(each, language) for each in change.unsupported],
    }


def _in_order(workload: WorkloadChanges) -> list[tuple[Change, Counted]]:
    """Return the changes of a workload by result, those of the most pods first."""
    return sorted(
        workload.changes.items(), key=lambda each: (each[0].result, -each[1].count, str(each[0]))
    )


def _workload(workload: WorkloadChanges) -> Iterator[str]:
    yield Message("{workload}, {pods}", workload=_named(workload.key), pods=_pods(workload.pods))
    for change, counted in _in_order(workload):
        which = _pods(counted.count) if workload.pods else Message("new pods")
        yield Message("  {result}: {pods}", result=_result(change), pods=_such(which, counted))
        for effect in change.effects:
            if effect.key != RECORD_ANNOTATION or change.result == "recorded":
                yield Message("    {effect}", effect=_effect(effect))
        if change.refused:
            yield Message(
                "    placement by {selector} is refused: {reason}",
                selector=show(change.refused_of),
                reason=change.refused,
            )
        if change.unsupported:
            yield Message("    ECI does not support {what}", what=change.unsupported)
    for difference, counted in workload.differing.items():
        yield Message(
            "  label {key} is {own} in pods and {given} in the template, which is used: {pods}",
            key=_plain(difference.key),
            own=_value(difference.pod),
            given=_value(difference.template),
            pods=_such(_pods(counted.count), counted),
        )
    if workload.undecided:
        yield Message(
            "  not decided, the labels of the namespace are unknown: {pods}",
            pods=_pods(workload.undecided),
        )


def _such(pods: Message, counted: Counted) -> Message:
    if not counted.examples:
        return pods
    examples = tuple(map(_plain, counted.examples))
    return Message("{pods}, such as {examples}", pods=pods, examples=examples)


def _named(key: Key) -> str:
    if not key.kind:
        return Message("Pods without a workload in {namespace}", namespace=_plain(key.namespace))
    return f"{_plain(key.kind)} {_plain(key.namespace)}/{_plain(key.name)}"


def _plain(name: str) -> str:
    """Return a name, quoted if it has spaces or unprintable characters. Names of owners may."""
    harmless = name.isprintable() and " " not in name
    return shorten(name if harmless else json.dumps(name), _LONGEST_NAME)


def _result(change: Change) -> Message:
    before, after = change.before, change.after
    match change.result:
        case "placed":
            where = PLACEMENTS[after.policy] if after.policy else ""
            return Message("now {where} ({outcome})", where=where, outcome=_outcome(after))
        case "unplaced":
            return Message("no longer on the virtual node ({outcome})", outcome=_outcome(before))
        case "changed" if before.policy or after.policy:
            return Message("{before} -> {after}", before=_outcome(before), after=_outcome(after))
        case "changed":
            return Message("other effects")
        case "recorded":
            return Message("only the decision record")
        case "unchanged":
            return Message("refused") if change.refused else Message("unchanged")


def _outcome(outcome: Outcome) -> Message:
    policy, selector = outcome.policy or "", show(outcome.selector)
    if not outcome.node:
        return Message("{policy} of {selector}", policy=policy, selector=selector)
    return Message(
        "{policy} of {selector} on {node}",
        policy=policy,
        selector=selector,
        node=show(outcome.node),
    )


def _effect(effect: EffectChange) -> Message:
    what = Message("{kind} {key}", kind=KINDS[effect.kind], key=effect.key)
    if effect.at:
        what = Message("{effect}, at {binding}", effect=what, binding=effect.at)
    return Message(
        "{effect}: {before} -> {after}",
        effect=what,
        before=_value(effect.before),
        after=_value(effect.after),
    )


def _value(value: str | None) -> str:
    return Message("absent") if value is None else show(value)


def _summary(comparison: Comparison) -> Message:
    results, count = comparison.results, _pods(comparison.pods)
    changed = sum(number for result, number in results.items() if result != "unchanged")
    without_pods = sum(
        not workload.pods and any(change.result != "unchanged" for change in workload.changes)
        for workload in comparison.workloads
    )
    if comparison.changes:
        sentence = Message("{changed} of {pods} would change", changed=changed, pods=count)
    elif comparison.undecided:
        sentence = Message("Nothing else changes for {pods}", pods=count)
    else:
        sentence = Message("Nothing changes for {pods}", pods=count)
    for note, number in (
        (Message("now on the virtual node"), results["placed"]),
        (Message("no longer on the virtual node"), results["unplaced"]),
        (Message("other effects or placement"), results["changed"]),
        (Message("only the decision record"), results["recorded"]),
        (Message("workloads without pods"), without_pods),
        (Message("refused"), comparison.refused),
        (Message("not supported by ECI"), comparison.unsupported),
        (Message("not decided"), comparison.undecided),
        (Message("ended, not counted"), comparison.finished),
    ):
        if number:
            sentence = Message(
                "{before}; {note}: {count}", before=sentence, note=note, count=number
            )
    return sentence


def _pods(count: int) -> Message:
    if count == 0:
        return Message("no pods")
    return Message("1 pod") if count == 1 else Message("{count} pods", count=count)


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(show, names[:_MOST_NAMES]))
    more = len(names) - _MOST_NAMES
    return Message("{names} and {count} more", names=shown, count=more) if more > 0 else shown
