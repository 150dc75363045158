"""``explain``: what the function does to the pods in a file, and why."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Protocol

from ..admission.warnings import KINDS, warnings
from ..cluster.file import Objects, read_objects
from ..cluster.source import ConfigMap, NotFoundError, SourceError
from ..decision.decide import Decision
from ..decision.effects import Effect
from ..decision.matching import Matcher
from ..messages.message import Language, Message, message_of, translated
from ..profiles.labels import NAME_LABEL, parse_labels
from ..profiles.model import Requirement
from ..profiles.parse import ProfileError, parse
from ..profiles.problems import show
from ..profiles.text import TextError
from ..settings import Settings
from .command import CLUSTER, UsageError, cluster, complain, read_text, settings
from .explanation import (
    PLACEMENTS,
    Explanation,
    Verdict,
    at_binding,
    diff,
    document,
    explain,
    to_yaml,
)
from .profile_file import is_list
from .workloads import PlannedPod, PodError, read_pods

__all__ = ["add_to"]

_DESCRIPTION = Message("""
Say what the function does to a pod, selector by selector, and show the pod before and after.
Any object with a pod template will do: a Deployment or a CronJob, an Argo Rollout, a Knative
Service, Lists and streams of them; others are passed over.
""")
_LEFT_ALONE = {
    "not-asked": Message(
        "the registration leaves its namespace out, so the function isn't asked about it"
    ),
    "bound": Message("it has a nodeName: its node is chosen already"),
    "mirror": Message("it is a mirror pod: the kubelet runs it already"),
    "daemonset": Message("its controller is a DaemonSet: its node is chosen already"),
    "opt-out": Message('it is labelled alibabacloud.com/eci: "false"'),
}
_NONE = Message("none")
_Answer = tuple[PlannedPod, str, Mapping[str, str] | None, Explanation]

_COLOURS = {"+": "\033[32m", "-": "\033[31m", "@": "\033[36m"}
_GREEN, _DIM, _END = "\033[32m", "\033[2m", "\033[0m"


def add_to(commands: Any) -> None:
    """Add the command to those of the command line."""
    parser = commands.add_parser(
        "explain",
        help=Message("say what the function does to a pod, and why"),
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pods = parser.add_mutually_exclusive_group(required=True)
    pods.add_argument(
        "pods", metavar="FILE", nargs="?", help=Message("a YAML file, or - for standard input")
    )
    pods.add_argument("-f", "--filename", dest="file", metavar="FILE", help=Message("the same"))
    parser.add_argument(
        "--profile",
        metavar="FILE",
        help=Message(
            "a YAML file with the ConfigMap and any Namespaces, or with the list of selectors"
            " alone; - for standard input, cluster for the one in the cluster; by default that of"
            " the settings, ECI_PROFILE_PROVIDER and ECI_PROFILE_FILE"
        ),
    )
    parser.add_argument(
        "-n",
        "--namespace",
        metavar="NAME",
        help=Message("the pods' namespace; by default the one in the file"),
    )
    parser.add_argument(
        "--namespace-labels",
        metavar="k=v,...",
        type=_labels,
        help=Message("the labels of the pods' namespace, instead of those it has"),
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "yaml", "patch"),
        default="text",
        help=Message("text; all of it as json or yaml; or the JSON patch, a line for each pod"),
    )
    parser.set_defaults(run=_run)


def _labels(text: str) -> Mapping[str, str]:
    try:
        return parse_labels(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(arguments: argparse.Namespace) -> int:
    chosen = settings()
    path = arguments.pods or arguments.file
    profile = arguments.profile or (chosen.file if chosen.provider == "file" else CLUSTER)
    if path == profile == "-":
        raise UsageError(Message("only one of the pods and the profile can be standard input"))
    source: _Source = _Cluster() if profile == CLUSTER else _File(profile)
    shown = "<stdin>" if path == "-" else path
    try:
        pods = list(read_pods(read_text(path)))
    except PodError as error:
        raise UsageError(error.message, shown, *error.position) from None
    if not pods:
        raise UsageError(Message("{file} has no pod, and nothing that makes one", file=shown))
    matcher = _matcher(source, chosen)
    given: Mapping[str, str] | None = arguments.namespace_labels

    @cache
    def labels_of(namespace: str) -> Mapping[str, str] | None:
        if given is not None:
            return {NAME_LABEL: namespace, **given}
        return source.namespace_labels(namespace)

    def answer(pod: PlannedPod) -> _Answer:
        namespace = arguments.namespace or pod.namespace
        labels = labels_of(namespace)
        explanation = explain(
            pod.pod,
            {NAME_LABEL: namespace} if labels is None else labels,
            matcher,
            pod.unknown,
            complete=labels is not None,
        )
        return pod, namespace, labels, explanation

    for pod in pods:  # before anything is written
        labels_of(arguments.namespace or pod.namespace)
    # One after another, for each has a verdict of each selector.
    _write(map(answer, pods), arguments.output, chosen.language)
    return 0


def _write(answers: Iterator[_Answer], output: str, language: Language) -> None:
    match output:
        case "text":
            coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
            for number, answer in enumerate(answers):
                separator = "\n" if number else ""
                sys.stdout.write(separator + "\n".join(_text(*answer, coloured, language)) + "\n")
        case "patch":
            for *_, explanation in answers:
                sys.stdout.write(json.dumps(explanation.decision.operations) + "\n")
        case "json":
            documents = [document(*answer, language) for answer in answers]
            sys.stdout.write(json.dumps(documents, indent=2, ensure_ascii=False) + "\n")
        case "yaml":
            documents = [document(*answer, language) for answer in answers]
            sys.stdout.write(to_yaml(documents))


class _Source(Protocol):
    """Where the profile and the labels of namespaces are from. Both raise UsageError."""

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """The ConfigMap, or None if there is none."""

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """The labels of a namespace, or None if they aren't known."""


class _File:
    """A file as `check` takes it, with any Namespaces."""

    def __init__(self, path: str) -> None:
        text, shown = read_text(path), "<stdin>" if path == "-" else path
        if is_list(text):
            self._objects = Objects(
                config_maps={(None, settings().name): ConfigMap({"selectors": text})}
            )
            return
        try:
            self._objects = read_objects(text)
        except TextError as error:
            raise UsageError(error.message, shown, *error.position) from None
        except ValueError as error:
            raise UsageError(message_of(error), shown) from None

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        return self._objects.config_map(namespace, name)

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        return self._objects.namespace_labels(name)


class _Cluster:
    def __init__(self) -> None:
        self._source = cluster()

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        try:
            return self._source.config_map(namespace, name)
        except NotFoundError:
            return None
        except SourceError as error:
            raise UsageError(message_of(error)) from None

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        try:
            return self._source.namespace_labels(name)
        except NotFoundError:
            message = Message(
                "there is no namespace {name}; give --namespace or --namespace-labels", name=name
            )
            raise UsageError(message) from None
        except SourceError as error:
            raise UsageError(message_of(error)) from None


def _matcher(source: _Source, chosen: Settings) -> Matcher:
    config_map = source.config_map(chosen.namespace, chosen.name)
    if config_map is None:
        config_map = ConfigMap({})
        name = f"{chosen.namespace}/{chosen.name}"
        complain(Message("there is no profile {name}", name=name))
    try:
        return Matcher(parse(config_map.data))
    except ProfileError as error:
        message = Message("the profile is not valid (check says where):")
        raise UsageError(message, invalid=error) from None


def _text(
    pod: PlannedPod,
    namespace: str,
    labels: Mapping[str, str] | None,
    explanation: Explanation,
    coloured: bool,
    language: Language,
) -> Iterator[str]:
    def told(message: str) -> str:
        return translated(message, language)

    yield from map(told, _heading(pod, namespace, labels))
    decision = explanation.decision
    yield ""
    if decision.untouched:
        yield told(Message("Left alone: {reason}", reason=_LEFT_ALONE[decision.untouched]))
        return
    yield told(Message("Selectors, in the order in which they count:"))
    for line, colour in _verdicts(explanation):
        yield f"  {colour}{told(line)}{_END}" if coloured and colour else f"  {told(line)}"
    if decision.effects:
        yield ""
        yield told(Message("Effects:"))
        for effect in decision.effects:
            yield f"  {told(_effect(effect))}"
    if waiting := at_binding(explanation):
        yield ""
        yield told(Message("Effects if it is bound to a virtual node, unless it has them then:"))
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
        yield Message("  labels with values not known yet: {labels}", labels=unknown)
    if not pod.labels_complete:
        yield Message("  labels that the controller of a {kind} adds: unknown", kind=pod.kind)
    if labels is None:
        yield Message(
            "  namespace labels: {known}, others unknown: give --namespace-labels",
            known=f"{NAME_LABEL}={namespace}",
        )
    else:
        yield Message("  namespace labels: {labels}", labels=_listed(labels))


def _listed(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items()) or _NONE


def _verdicts(explanation: Explanation) -> Iterator[tuple[Message, str]]:
    """A line for each selector, with its colour."""
    for verdict in explanation.verdicts:
        yield _verdict(verdict), _GREEN if verdict.matches else _DIM
    if not explanation.verdicts:
        yield _NONE, ""
    if any(verdict.matches is None for verdict in explanation.verdicts):
        yield Message("Below, those that are unknown are taken not to match."), ""


def _verdict(verdict: Verdict) -> Message:
    selector = verdict.selector
    if verdict.matches:
        notes = []
        if selector.mode == "audit":
            notes.append(Message("audit: changes nothing"))
        if selector.percentage < 100:
            notes.append(Message("takes {share} % of such pods", share=selector.percentage))
        if notes:
            return Message("match     {name} ({notes})", name=selector.name, notes=tuple(notes))
        return Message("match     {name}", name=selector.name)
    if verdict.failed is None:
        off = (
            Message("it is off")
            if selector.mode == "off"
            else Message("it is for pods that go to a virtual node")
        )
        return Message("no match  {name}: {reason}", name=selector.name, reason=off)
    wanted = Message(
        "{name}: {side} wants {requirement}",
        name=selector.name,
        side=verdict.side or "",
        requirement=_requirement(verdict.failed),
    )
    if verdict.matches is None:
        why = (
            Message("which is not known before the pod is created")
            if verdict.side == "objectSelector"
            else Message("which is unknown: give --namespace-labels")
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
            what = Message("of {name}, the pod has it already", name=name)
        case "own":
            what = Message("of {name} loses, the pod's own {kept} stays", name=name, kept=kept)
        case "other" if effect.kept == effect.value:
            what = Message(
                "of {name}, {keeper} has added it", name=name, keeper=effect.keeper or ""
            )
        case "other":
            what = Message(
                "of {name} loses to {kept} of {keeper}",
                name=name,
                kept=kept,
                keeper=effect.keeper or "",
            )
        case "left-out":
            what = Message(
                "of {name} is left out, the pod's annotations would be too large", name=name
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
        "{kind} {key}: {value} of {name}",
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
        yield Message("The pod stays as it is.")
