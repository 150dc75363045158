"""The text output of ``explain``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..admission.warnings import KINDS, warnings
from ..decision.decide import Decision
from ..decision.effects import Effect
from ..messages.message import Language, Message, translated
from ..profiles.labels import NAME_LABEL
from ..profiles.model import Requirement
from ..profiles.problems import show
from .explanation import PLACEMENTS, Explanation, Verdict, at_binding, diff
from .workloads import PlannedPod

__all__ = ["report"]

_LEFT_ALONE = {
    "not-asked": Message(
        "the registration excludes its namespace, so the function is not called for it"
    ),
    "bound": Message("it has a nodeName, so its node is already chosen"),
    "mirror": Message("it is a mirror pod, which the kubelet already runs"),
    "daemonset": Message("its controller is a DaemonSet, so its node is already chosen"),
    "opt-out": Message('it has the label alibabacloud.com/eci: "false"'),
}
_NONE = Message("none")

_COLOURS = {"+": "\033[32m", "-": "\033[31m", "@": "\033[36m"}
_GREEN, _DIM, _END = "\033[32m", "\033[2m", "\033[0m"


def report(
    pod: PlannedPod,
    namespace: str,
    labels: Mapping[str, str] | None,
    explanation: Explanation,
    coloured: bool,
    language: Language,
) -> Iterator[str]:
    """Yield the explanation of a pod as lines of text, with ANSI colours if ``coloured``.

    ``labels`` are those of the namespace, None if they are not known.
    """

    def told(message: str) -> str:
        return translated(message, language)

    yield from map(told, _heading(pod, namespace, labels))
    decision = explanation.decision
    yield ""
    if decision.untouched:
        yield told(Message("Left alone: {reason}", reason=_LEFT_ALONE[decision.untouched]))
        return
    yield told(Message("Selectors, in order of precedence:"))
    for line, colour in _verdicts(explanation):
        yield f"  {colour}{told(line)}{_END}" if coloured and colour else f"  {told(line)}"
    if decision.effects:
        yield ""
        yield told(Message("Effects:"))
        for effect in decision.effects:
            yield f"  {told(_effect(effect))}"
    if waiting := at_binding(explanation):
        yield ""
        yield told(
            Message("Effects if it is bound to a virtual node, unless it already has them by then:")
        )
        for entry in waiting:
            yield f"  {told(_waiting(entry))}"
    yield ""
    yield told(Message("Placement: {placement}", placement=_placement(decision)))
    for warning in warnings(decision):
        yield told(Message("Warning: {warning}", warning=warning))
    yield ""
    lines = _diff(pod.value, explanation.patched(pod.value), coloured)
    yield from map(told, lines)


def _heading(pod: PlannedPod, namespace: str, labels: Mapping[str, str] | None) -> Iterator[str]:
    at = f" ({pod.template})" if pod.template else ""
    name = pod.name or Message("(without a name)")
    yield Message(
        "{kind} {name}{at}, namespace {namespace}",
        kind=pod.kind,
        name=name,
        at=at,
        namespace=namespace,
    )
    own = _listed((pod.pod.metadata and pod.pod.metadata.labels) or {})
    yield Message("  labels: {labels}", labels=own)
    if pod.unknown:
        unknown = ", ".join(sorted(pod.unknown))
        yield Message("  labels whose values are not known yet: {labels}", labels=unknown)
    if not pod.labels_complete:
        yield Message("  labels that the controller of a {kind} adds: unknown", kind=pod.kind)
    if labels is None:
        yield Message(
            "  namespace labels: {known}, others unknown: specify --namespace-labels",
            known=f"{NAME_LABEL}={namespace}",
        )
    else:
        yield Message("  namespace labels: {labels}", labels=_listed(labels))


def _listed(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items()) or _NONE


def _verdicts(explanation: Explanation) -> Iterator[tuple[Message, str]]:
    """Yield a line for each selector, with its colour."""
    for verdict in explanation.verdicts:
        yield _verdict(verdict), _GREEN if verdict.matches else _DIM
    if not explanation.verdicts:
        yield _NONE, ""
    if any(verdict.matches is None for verdict in explanation.verdicts):
        yield Message("The result below assumes that the unknown ones do not match."), ""


def _verdict(verdict: Verdict) -> Message:
    selector = verdict.selector
    if verdict.matches:
        notes = []
        if selector.mode == "audit":
            notes.append(Message("audit: changes nothing"))
        if selector.percentage < 100:
            notes.append(Message("takes {share} % of matching pods", share=selector.percentage))
        if notes:
            return Message("match     {name} ({notes})", name=selector.name, notes=tuple(notes))
        return Message("match     {name}", name=selector.name)
    if verdict.failed is None:
        off = (
            Message("mode is off")
            if selector.mode == "off"
            else Message("it applies only to pods that go to a virtual node")
        )
        return Message("no match  {name}: {reason}", name=selector.name, reason=off)
    wanted = Message(
        "{name}: {side} requires {requirement}",
        name=selector.name,
        side=verdict.side or "",
        requirement=_requirement(verdict.failed),
    )
    if verdict.matches is None:
        why = (
            Message("which is not known before the pod is created")
            if verdict.side == "objectSelector"
            else Message("which is unknown: specify --namespace-labels")
        )
        return Message("unknown   {wanted}, {why}", wanted=wanted, why=why)
    if verdict.actual is None:
        return Message("no match  {wanted}, but it is absent", wanted=wanted)
    return Message(
        "no match  {wanted}, but it is {value}", wanted=wanted, value=show(verdict.actual)
    )


def _requirement(requirement: Requirement) -> str:
    values = ", ".join(map(show, sorted(requirement.values)))
    return f"{requirement.key} {requirement.operator}{f' [{values}]' if values else ''}"


def _effect(effect: Effect) -> Message:
    name, kept = effect.selector, show(effect.kept)
    match effect.result:
        case "added":
            what = Message("added by {name}", name=name)
        case "same":
            what = Message("from {name}, the pod already has it", name=name)
        case "own":
            what = Message(
                "from {name} is not added, the pod has its own {kept}", name=name, kept=kept
            )
        case "other" if effect.kept == effect.value:
            what = Message(
                "from {name}, already added by {keeper}", name=name, keeper=effect.keeper or ""
            )
        case "other":
            what = Message(
                "from {name} is not added, {kept} from {keeper} has precedence",
                name=name,
                kept=kept,
                keeper=effect.keeper or "",
            )
        case "left-out":
            what = Message(
                "from {name} is not added, the pod's annotations would be too large", name=name
            )
    return Message(
        "{kind} {key}: {value} {what}",
        kind=KINDS[effect.kind],
        key=effect.key,
        value=show(effect.value),
        what=what,
    )


def _waiting(entry: Mapping[str, str]) -> Message:
    kind = KINDS["annotation" if entry["kind"] == "annotation" else "label"]
    return Message(
        "{kind} {key}: {value} from {name}",
        kind=kind,
        key=entry["key"],
        value=show(entry["value"]),
        name=entry["selector"],
    )


def _placement(decision: Decision) -> Message:
    if decision.placer is None or decision.placement is None:
        return (
            Message("unchanged, no selector places it")
            if decision.selectors
            else Message("unchanged, no selector matches")
        )
    return Message(
        "{policy} of {name}: {where}",
        policy=decision.placement,
        name=decision.placer.name,
        where=Message("refused, see the warning")
        if decision.refusal
        else PLACEMENTS[decision.placement],
    )


def _diff(before: Any, after: Any, coloured: bool) -> Iterator[str]:
    lines = diff(before, after)
    for number, line in enumerate(lines):
        colour = _COLOURS["@" if number < 2 else line[0]] if coloured and line[0] != " " else ""
        yield f"{colour}{line}{_END}" if colour else line
    if not lines:
        yield Message("The pod is not changed.")
