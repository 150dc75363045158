"""What a plan says: as text for people, and as JSON has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ..profiles.model import RECORD_ANNOTATION
from ..profiles.problems import show
from ..shorten import shorten
from .changes import Change, EffectChange, Outcome
from .comparison import Comparison, Counted, WorkloadChanges
from .explanation import PLACEMENTS
from .inventory import Key

__all__ = ["report", "to_json"]

_LONGEST_NAME = 253  # of most kinds
_MOST_NAMES = 10  # of namespaces or selectors, in a line
_DRAWN = (
    "A selector with a percentage draws for each pod anew when it is created. The plan draws by the"
    " pods' uids, the same under both profiles, so its numbers are those to expect."
)


def report(comparison: Comparison) -> Iterator[str]:
    """The plan as lines of text."""
    for workload in comparison.workloads:
        yield from _workload(workload)
        yield ""
    if comparison.unmatched:
        yield f"Selectors that match nothing here: {_listed(comparison.unmatched)}"
    if comparison.drawn:
        yield _DRAWN
    if comparison.unknown_namespaces:
        names = _listed(sorted(comparison.unknown_namespaces))
        yield (
            f"Not decided: {_pods(comparison.undecided)}, since a selector asks for labels of"
            f" namespaces that the input does not have: {names}"
        )
    yield _summary(comparison)
    if comparison.changes:
        yield "Pods that run stay as they are: this is what happens when they are created again."


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The plan as JSON has it."""
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
                "changes": [_change(*each) for each in _in_order(workload)],
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


def _change(change: Change, counted: Counted) -> dict[str, Any]:
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
                "at": each.at or "creation",
            }
            for each in change.effects
        ],
        "refused": {"selector": change.refused_of, "reason": change.refused}
        if change.refused
        else None,
        "unsupported": list(change.unsupported),
    }


def _in_order(workload: WorkloadChanges) -> list[tuple[Change, Counted]]:
    """Its changes, those of the most pods first."""
    return sorted(
        workload.changes.items(), key=lambda each: (each[0].result, -each[1].count, str(each[0]))
    )


def _workload(workload: WorkloadChanges) -> Iterator[str]:
    yield f"{_named(workload.key)}, {_pods(workload.pods)}"
    for change, counted in _in_order(workload):
        which = _pods(counted.count) if workload.pods else "new pods"
        yield f"  {_result(change)}: {which}{_such(counted)}"
        for effect in change.effects:
            if effect.key != RECORD_ANNOTATION or change.result == "recorded":
                yield f"    {_effect(effect)}"
        if change.refused:
            yield f"    placement by {show(change.refused_of)} is refused: {change.refused}"
        if change.unsupported:
            yield f"    ECI does not support {', '.join(change.unsupported)}"
    for difference, counted in workload.differing.items():
        key, own = _plain(difference.key), _value(difference.pod)
        yield (
            f"  label {key} is {own} in pods and {_value(difference.template)} in the template,"
            f" which counts: {_pods(counted.count)}{_such(counted)}"
        )
    if workload.undecided:
        yield f"  not decided, the namespace's labels are not known: {_pods(workload.undecided)}"


def _such(counted: Counted) -> str:
    names = ", ".join(map(_plain, counted.examples))
    return f", such as {names}" if names else ""


def _named(key: Key) -> str:
    if not key.kind:
        return f"Pods without a workload in {_plain(key.namespace)}"
    return f"{_plain(key.kind)} {_plain(key.namespace)}/{_plain(key.name)}"


def _plain(name: str) -> str:
    """A name as it is, if it can't be taken for something else: owners may have any."""
    harmless = name.isprintable() and " " not in name
    return shorten(name if harmless else json.dumps(name), _LONGEST_NAME)


def _result(change: Change) -> str:
    before, after = change.before, change.after
    match change.result:
        case "placed":
            where = PLACEMENTS[after.policy] if after.policy else ""
            return f"now {where} ({_outcome(after)})"
        case "unplaced":
            return f"no longer on the virtual node ({_outcome(before)})"
        case "changed":
            moved = before.policy or after.policy
            return f"{_outcome(before)} -> {_outcome(after)}" if moved else "other effects"
        case "recorded":
            return "the decision record alone"
        case "unchanged":
            return "refused" if change.refused else "unchanged"


def _outcome(outcome: Outcome) -> str:
    on = f" on {show(outcome.node)}" if outcome.node else ""
    return f"{outcome.policy} of {show(outcome.selector)}{on}"


def _effect(effect: EffectChange) -> str:
    at = f", at {effect.at}" if effect.at else ""
    return f"{effect.kind} {effect.key}{at}: {_value(effect.before)} -> {_value(effect.after)}"


def _value(value: str | None) -> str:
    return "absent" if value is None else show(value)


def _summary(comparison: Comparison) -> str:
    results, count = comparison.results, _pods(comparison.pods)
    changed = sum(number for result, number in results.items() if result != "unchanged")
    without_pods = sum(
        not workload.pods and any(change.result != "unchanged" for change in workload.changes)
        for workload in comparison.workloads
    )
    sentence = f"Nothing {'else ' if comparison.undecided else ''}changes for {count}"
    if comparison.changes:
        sentence = f"{changed} of {count} would change"
    notes = {
        "now on the virtual node": results["placed"],
        "no longer": results["unplaced"],
        "other effects or placement": results["changed"],
        "the decision record alone": results["recorded"],
        "workloads without pods": without_pods,
        "refused": comparison.refused,
        "not supported by ECI": comparison.unsupported,
        "not decided": comparison.undecided,
        "ended, not counted": comparison.finished,
    }
    return "; ".join((sentence, *(f"{note}: {number}" for note, number in notes.items() if number)))


def _pods(count: int) -> str:
    return {0: "no pods", 1: "1 pod"}.get(count, f"{count} pods")


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(show, names[:_MOST_NAMES]))
    more = len(names) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown
