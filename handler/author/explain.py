"""``explain``: shows what the function does to the pods in a file, and why."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Protocol

from ..cluster.file import Objects, read_objects
from ..cluster.source import ConfigMap, NotFoundError, SourceError
from ..decision.matching import Matcher
from ..messages.message import Language, Message, message_of
from ..profiles.labels import NAME_LABEL, parse_labels
from ..profiles.parse import ProfileError, parse
from ..profiles.text import TextError
from ..settings import Settings
from .command import CLUSTER, UsageError, cluster, complain, read_text, settings
from .explain_report import report
from .explanation import Explanation, document, explain, to_yaml
from .profile_file import is_list
from .workloads import PlannedPod, PodError, read_pods

__all__ = ["add_to"]

_DESCRIPTION = Message("""
Explain what the function does to a pod, selector by selector, and show the pod before and after.
Any object with a pod template is accepted, such as a Deployment, a CronJob, an Argo Rollout or a
Knative Service, and several of them in one file. Other objects are skipped.
""")
_Answer = tuple[PlannedPod, str, Mapping[str, str] | None, Explanation]


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "explain",
        help=Message("explain what the function does to a pod"),
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pods = parser.add_mutually_exclusive_group(required=True)
    pods.add_argument(
        "pods", metavar="FILE", nargs="?", help=Message("a YAML file, or - for standard input")
    )
    pods.add_argument("-f", "--filename", dest="file", metavar="FILE", help=Message("same as FILE"))
    parser.add_argument(
        "--profile",
        metavar="FILE",
        help=Message(
            "a YAML file with the ConfigMap and any Namespaces, or with only the list of"
            " selectors; - for standard input, cluster for the profile in the cluster (default:"
            " according to ECI_PROFILE_PROVIDER and ECI_PROFILE_FILE)"
        ),
    )
    parser.add_argument(
        "-n",
        "--namespace",
        metavar="NAME",
        help=Message("the namespace of the pods (default: the one in the file)"),
    )
    parser.add_argument(
        "--namespace-labels",
        metavar="k=v,...",
        type=_labels,
        help=Message("the labels of the pods' namespace, instead of its own"),
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "yaml", "patch"),
        default="text",
        help=Message(
            "text; json or yaml, for all details; or patch, the JSON Patch of each pod on a line"
        ),
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
        raise UsageError(
            Message("{file} has no pods, and no objects with a pod template", file=shown)
        )
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

    for pod in pods:  # so that errors come before any output
        labels_of(arguments.namespace or pod.namespace)
    # One at a time, to save memory: each has a verdict for every selector.
    _write(map(answer, pods), arguments.output, chosen.language)
    return 0


def _write(answers: Iterator[_Answer], output: str, language: Language) -> None:
    match output:
        case "text":
            coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
            for number, answer in enumerate(answers):
                separator = "\n" if number else ""
                sys.stdout.write(separator + "\n".join(report(*answer, coloured, language)) + "\n")
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
    """The source of the profile and of namespace labels. Both methods raise UsageError."""

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """Return the ConfigMap, or None if there is none."""

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """Return the labels of a namespace, or None if they are not known."""


class _File:
    """A file with a profile, as for `check`, and optionally Namespaces."""

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
                "there is no namespace {name}; specify --namespace or --namespace-labels", name=name
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
        message = Message("the profile is invalid (run check to see where):")
        raise UsageError(message, invalid=error) from None
