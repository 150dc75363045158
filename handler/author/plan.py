"""``plan``: reports what an edit of the profile would change in a cluster, before it is saved."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from itertools import chain
from typing import Any

from ..cluster.source import NotFoundError, SourceError
from ..messages.message import Message, message_of, translated
from ..profiles.collection import put_off
from ..profiles.model import Profile
from ..profiles.parse import ProfileError, parse
from ..profiles.text import TextError
from ..settings import Settings
from .command import CLUSTER, UsageError, cluster, complain, read_text, settings
from .comparison import compare_on
from .explanation import to_yaml
from .inventory import Inventory, InventoryError, Relevant
from .objects import Object, objects_of_cluster, objects_of_file
from .plan_report import report, to_json
from .profile_file import read_profile

__all__ = ["add_to"]

_DESCRIPTION = Message("""
Show what an edit of the profile would change in a cluster, by workload: which pods would go to the
virtual node, which would no longer go there, and which effects would differ. Nothing is written.
The result is that of recreating the pods: from the templates of their workloads if these are in the
input, otherwise from the pods without what was added to them.
Exit code: 0 if nothing changes, 3 if something changes, 1 on errors and if it can't be determined.
""")
_FAILED = 1
_CHANGES = 3


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "plan",
        help=Message("show what an edit of the profile would change in a cluster"),
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "new",
        metavar="NEW",
        help=Message(
            "a YAML file with the new ConfigMap, or with only the list of selectors; - for"
            " standard input"
        ),
    )
    parser.add_argument(
        "--current",
        metavar="FILE|cluster",
        default=CLUSTER,
        help=Message("the profile in force, to compare with (default: the one in the cluster)"),
    )
    parser.add_argument(
        "-f",
        dest="objects",
        metavar="FILE|-|cluster",
        action="append",
        help=Message(
            "pods, workloads and namespaces, as printed by kubectl get -A -o json; - for standard"
            " input; can be repeated (default: those in the cluster, listed with your kubeconfig)"
        ),
    )
    parser.add_argument("--output", choices=("text", "json", "yaml"), default="text")
    parser.set_defaults(run=_run, failed=_FAILED)


@put_off()
def _run(arguments: argparse.Namespace) -> int:
    files = arguments.objects or [CLUSTER]
    if (arguments.new, arguments.current, *files).count("-") > 1:
        raise UsageError(Message("standard input (-) can be read only once"))
    chosen = settings()
    new = _of_file(arguments.new, chosen)
    current = _current(arguments.current, chosen)
    inventory = Inventory(Relevant(current, new))
    try:
        for value in chain.from_iterable(map(_objects, files)):
            inventory.add(value)
    except InventoryError as error:
        raise UsageError(message_of(error)) from None
    if not inventory:
        raise UsageError(Message("no pods and no workloads"), ", ".join(files))
    comparison = compare_on(inventory, current, new)
    match arguments.output:
        case "text":
            sys.stdout.writelines(
                f"{translated(line, chosen.language)}\n" for line in report(comparison)
            )
        case "json":
            document = to_json(comparison, chosen.language)
            sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        case "yaml":
            sys.stdout.write(to_yaml(to_json(comparison, chosen.language)))
    if comparison.changes:
        return _CHANGES
    return _FAILED if comparison.unknown_namespaces else 0


def _objects(path: str) -> Iterable[Object]:
    return objects_of_cluster() if path == CLUSTER else objects_of_file(path)


def _current(path: str, chosen: Settings) -> Profile:
    if path != CLUSTER:
        return _of_file(path, chosen)
    try:
        data = cluster().config_map(chosen.namespace, chosen.name).data
    except NotFoundError:
        name = f"{chosen.namespace}/{chosen.name}"
        complain(Message("there is no profile {name}", name=name))
        data = {}
    except SourceError as error:
        raise UsageError(message_of(error)) from None
    return _parsed(data, Message("the profile in the cluster"))


def _of_file(path: str, chosen: Settings) -> Profile:
    shown = "<stdin>" if path == "-" else path
    try:
        return _parsed(read_profile(read_text(path), chosen.namespace, chosen.name).data, shown)
    except TextError as error:
        raise UsageError(error.message, shown, *error.position) from None
    except LookupError as error:
        raise UsageError(message_of(error), shown) from None


def _parsed(data: Any, shown: str) -> Profile:
    try:
        return parse(data)
    except ProfileError as error:
        message = Message(
            "{profile} is not a valid profile (run check to see where):", profile=shown
        )
        raise UsageError(message, invalid=error) from None
