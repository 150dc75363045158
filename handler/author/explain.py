"""``explain``: what the function does to the pods in a file, and why."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Protocol

from ..admission.warnings import warnings
from ..cluster.file import NAME_LABEL, Objects, read_objects
from ..cluster.source import ConfigMap, NotFoundError, SourceError
from ..decision.decide import Decision
from ..decision.effects import Effect
from ..decision.matching import Matcher
from ..profiles.labels import parse_labels
from ..profiles.model import Requirement
from ..profiles.parse import ProfileError, parse
from ..profiles.problems import MAX_PROBLEMS, show
from ..profiles.text import TextError
from ..settings import Settings
from .command import CLUSTER, UsageError, cluster, read_text, settings
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

_DESCRIPTION = """
Say what the function does to a pod, selector by selector, and show the pod before and after.
Any object with a pod template will do: a Deployment or a CronJob, an Argo Rollout, a Knative
Service, Lists and streams of them; others are passed over.
"""
_LEFT_ALONE = {
    "not-asked": "the registration leaves its namespace out, so the function isn't asked about it",
    "bound": "it has a nodeName: its node is chosen already",
    "mirror": "it is a mirror pod: the kubelet runs it already",
    "daemonset": "its controller is a DaemonSet: its node is chosen already",
    "opt-out": 'it is labelled alibabacloud.com/eci: "false"',
}
_UNKNOWN = "unknown: give --namespace-labels"
_Answer = tuple[PlannedPod, str, Mapping[str, str] | None, Explanation]

_COLOURS = {"+": "\033[32m", "-": "\033[31m", "@": "\033[36m"}
_GREEN, _DIM, _END = "\033[32m", "\033[2m", "\033[0m"


def add_to(commands: Any) -> None:
    """Add the command to those of the command line."""
    parser = commands.add_parser(
        "explain",
        help="say what the function does to a pod, and why",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pods = parser.add_mutually_exclusive_group(required=True)
    pods.add_argument(
        "pods", metavar="FILE", nargs="?", help="a YAML file, or - for standard input"
    )
    pods.add_argument("-f", "--filename", dest="file", metavar="FILE", help="the same")
    parser.add_argument(
        "--profile",
        metavar="FILE",
        help="a YAML file with the ConfigMap and any Namespaces, or with the list of selectors"
        " alone; - for standard input, cluster for the one in the cluster; by default that of"
        " the settings, ECI_PROFILE_PROVIDER and ECI_PROFILE_FILE",
    )
    parser.add_argument(
        "-n",
        "--namespace",
        metavar="NAME",
        help="the pods' namespace; by default the one in the file",
    )
    parser.add_argument(
        "--namespace-labels",
        metavar="k=v,...",
        type=_labels,
        help="the labels of the pods' namespace, instead of those it has",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "yaml", "patch"),
        default="text",
        help="text; all of it as json or yaml; or the JSON patch, a line for each pod",
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
        raise UsageError("only one of the pods and the profile can be standard input")
    source: _Source = _Cluster() if profile == CLUSTER else _File(profile)
    shown = "<stdin>" if path == "-" else path
    try:
        pods = list(read_pods(read_text(path)))
    except PodError as error:
        raise UsageError("{}:{}:{}: {}".format(shown, *error.position, error)) from None
    if not pods:
        raise UsageError(f"{shown} has no pod, and nothing that makes one")
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
    _write(map(answer, pods), arguments.output)
    return 0


def _write(answers: Iterator[_Answer], output: str) -> None:
    match output:
        case "text":
            coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
            for number, answer in enumerate(answers):
                separator = "\n" if number else ""
                sys.stdout.write(separator + "\n".join(_text(*answer, coloured)) + "\n")
        case "patch":
            for *_, explanation in answers:
                sys.stdout.write(json.dumps(explanation.decision.operations) + "\n")
        case "json":
            documents = [document(*answer) for answer in answers]
            sys.stdout.write(json.dumps(documents, indent=2, ensure_ascii=False) + "\n")
        case "yaml":
            documents = [document(*answer) for answer in answers]
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
            raise UsageError("{}:{}:{}: {}".format(shown, *error.position, error.message)) from None
        except ValueError as error:
            raise UsageError(f"{shown}: {error}") from None

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
            raise UsageError(str(error)) from None

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        try:
            return self._source.namespace_labels(name)
        except NotFoundError:
            message = f"there is no namespace {name}; give --namespace or --namespace-labels"
            raise UsageError(message) from None
        except SourceError as error:
            raise UsageError(str(error)) from None


def _matcher(source: _Source, chosen: Settings) -> Matcher:
    config_map = source.config_map(chosen.namespace, chosen.name)
    if config_map is None:
        config_map = ConfigMap({})
        sys.stderr.write(f"there is no profile {chosen.namespace}/{chosen.name}\n")
    try:
        return Matcher(parse(config_map.data))
    except ProfileError as error:
        message = "the profile is not valid (check says where):"
        raise UsageError("\n  ".join((message, *error.lines(MAX_PROBLEMS)))) from None


def _text(
    pod: PlannedPod,
    namespace: str,
    labels: Mapping[str, str] | None,
    explanation: Explanation,
    coloured: bool,
) -> Iterator[str]:
    yield from _heading(pod, namespace, labels)
    decision = explanation.decision
    if decision.untouched:
        yield f"\nLeft alone: {_LEFT_ALONE[decision.untouched]}"
        return
    yield "\nSelectors, in the order in which they count:"
    for verdict in explanation.verdicts:
        colour = (_GREEN if verdict.matches else _DIM) if coloured else ""
        yield f"  {colour}{_verdict(verdict)}{colour and _END}"
    if not explanation.verdicts:
        yield "  none"
    if any(verdict.matches is None for verdict in explanation.verdicts):
        yield "  Below, those that are unknown are taken not to match."
    if decision.effects:
        yield "\nEffects:"
        for effect in decision.effects:
            yield f"  {_effect(effect)}"
    if waiting := at_binding(explanation):
        yield "\nEffects if it is bound to a virtual node, unless it has them then:"
        for entry in waiting:
            yield "  {kind} {key}: {shown} of {selector}".format(
                shown=show(entry["value"]), **entry
            )
    yield f"\nPlacement: {_placement(decision)}"
    for warning in warnings(decision):
        yield f"Warning: {warning}"
    yield ""
    yield from _diff(pod.value, explanation.patched(pod.value), coloured)


def _heading(pod: PlannedPod, namespace: str, labels: Mapping[str, str] | None) -> Iterator[str]:
    at = f" ({pod.template})" if pod.template else ""
    yield f"{pod.kind} {pod.name or '(without a name)'}{at}, namespace {namespace}"
    yield "  labels: " + _listed((pod.pod.metadata and pod.pod.metadata.labels) or {})
    if pod.unknown:
        yield f"  labels with values not known yet: {', '.join(sorted(pod.unknown))}"
    if not pod.labels_complete:
        yield f"  labels that the controller of a {pod.kind} adds: unknown"
    if labels is None:
        yield f"  namespace labels: {NAME_LABEL}={namespace}, others {_UNKNOWN}"
    else:
        yield f"  namespace labels: {_listed(labels)}"


def _listed(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items()) or "none"


def _verdict(verdict: Verdict) -> str:
    selector = verdict.selector
    if verdict.matches:
        notes = [
            *(["audit: changes nothing"] if selector.mode == "audit" else []),
            *([f"takes {selector.percentage} % of such pods"] if selector.percentage < 100 else []),
        ]
        noted = f" ({', '.join(notes)})" if notes else ""
        return f"match     {selector.name}{noted}"
    if verdict.failed is None:
        off = "it is off" if selector.mode == "off" else "it is for pods that go to a virtual node"
        return f"no match  {selector.name}: {off}"
    actual = "is absent" if verdict.actual is None else f"is {show(verdict.actual)}"
    wanted = f"{selector.name}: {verdict.side} wants {_requirement(verdict.failed)}"
    if verdict.matches is None:
        of_the_pod = verdict.side == "objectSelector"
        why = (
            "which is not known before the pod is created" if of_the_pod else f"which is {_UNKNOWN}"
        )
        return f"unknown   {wanted}, {why}"
    return f"no match  {wanted}, but it {actual}"


def _requirement(requirement: Requirement) -> str:
    values = ", ".join(map(show, sorted(requirement.values)))
    return f"{requirement.key} {requirement.operator}{f' [{values}]' if values else ''}"


def _effect(effect: Effect) -> str:
    match effect.result:
        case "added":
            what = f"added by {effect.selector}"
        case "same":
            what = f"of {effect.selector}, the pod has it already"
        case "own":
            what = f"of {effect.selector} loses, the pod's own {show(effect.kept)} stays"
        case "other":
            what = f"of {effect.selector} loses to {show(effect.kept)} of {effect.keeper}"
        case "left-out":
            what = f"of {effect.selector} is left out, the pod's annotations would be too large"
    if effect.result == "other" and effect.kept == effect.value:
        what = f"of {effect.selector}, {effect.keeper} has added it"
    return f"{effect.kind} {effect.key}: {show(effect.value)} {what}"


def _placement(decision: Decision) -> str:
    if decision.placer is None or decision.placement is None:
        return f"unchanged, no selector {'places it' if decision.selectors else 'matches'}"
    decided = f"{decision.placement} of {decision.placer.name}"
    refused = "refused, see the warning" if decision.refusal else PLACEMENTS[decision.placement]
    return f"{decided}: {refused}"


def _diff(before: Any, after: Any, coloured: bool) -> Iterator[str]:
    lines = diff(before, after)
    for number, line in enumerate(lines):
        colour = _COLOURS["@" if number < 2 else line[0]] if coloured and line[0] != " " else ""
        yield f"{colour}{line}{colour and _END}"
    if not lines:
        yield "The pod stays as it is."
