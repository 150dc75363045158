"""``convert``: Selector objects of the CRD form, as the ConfigMap of a profile."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from ..cluster.source import NotFoundError, SourceError
from ..profiles.manifests import Manifest, read_manifests
from ..profiles.parse import ProfileError, parse
from ..profiles.problems import MAX_PROBLEMS
from ..profiles.schema import of_the_crd
from ..profiles.text import TextError
from .command import CLUSTER, UsageError, cluster, read_text, settings
from .selector_objects import GROUP, KIND, Conversion, Remark, convert_objects, overlap

__all__ = ["add_to"]

_DESCRIPTION = f"""
Write a ConfigMap with the selectors of {KIND} objects ({GROUP}/v1 and v1beta1). What differs, or
has no counterpart, is told on standard error.
Exit code: 0 if all is converted, 1 if something was lost, 2 if there is nothing to convert.
"""
_ONE_WINS = (
    "note: the CRD's component applies one matching selector only; here the effects of all matching"
    ' selectors apply, and "{}" and "{}" can match the same pod'
)
_AT_BINDING = "note: effects at binding need the component effects-at-binding"
_LABELS_AT_BINDING = ", their labels Kubernetes 1.35 or later"


def add_to(commands: Any) -> None:
    """Add the command to those of the command line."""
    parser = commands.add_parser(
        "convert",
        help="translate Selector objects of the CRD form to a profile",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "objects",
        metavar="FILE",
        help=f"a YAML file with {KIND} objects; - for standard input, cluster for all those in"
        " the cluster",
    )
    parser.set_defaults(run=_run)


@dataclass(frozen=True, slots=True)
class _Found:
    """Where the objects are from, and the manifests they are in, if they are from a file."""

    shown: str
    objects: list[dict[str, Any]]
    manifests: list[Manifest]

    def line(self, remark: Remark) -> str:
        """A remark as it is told."""
        if not self.manifests:
            return str(remark)
        manifest = self.manifests[remark.index]
        place, exact = manifest.document.find((*manifest.location, *remark.location))
        at = place.key if remark.at_key and exact and place.key else place.value
        return "{}:{}:{}: {}".format(self.shown, *at, remark)


class _Block(str):
    """Text that is written as a block after ``|``."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def _run(arguments: argparse.Namespace) -> int:
    chosen = settings()
    path = arguments.objects
    found = _of_cluster() if path == CLUSTER else _of_file(path)
    if not found.objects:
        raise UsageError(f"{found.shown} has no {KIND} objects of {GROUP}")
    conversion = convert_objects(found.objects)
    lost = any(remark.severity == "lost" for remark in conversion.remarks)
    sys.stderr.writelines(f"{found.line(remark)}\n" for remark in conversion.remarks)
    if not conversion.selectors:  # an empty profile would only overwrite one
        return 1
    text = json.dumps(conversion.selectors, indent=2, ensure_ascii=False) + "\n"
    sys.stderr.writelines(f"{note}\n" for note in _notes(conversion, text))
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": chosen.name, "namespace": chosen.namespace},
        "data": {"selectors": _Block(text)},
    }
    yaml.dump(config_map, sys.stdout, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return 1 if lost else 0


def _notes(conversion: Conversion, text: str) -> Iterator[str]:
    """What is to be said of the profile as a whole."""
    try:
        profile = parse({"selectors": text})
    except ProfileError as error:  # each is valid, but all may be too large
        message = "\n  ".join(error.lines(MAX_PROBLEMS))
        raise UsageError(f"the selectors make no valid profile:\n  {message}") from None
    if pair := overlap(profile.selectors):
        yield _ONE_WINS.format(*pair)
    at_binding = [
        selector["effect"]
        for selector in conversion.selectors
        if selector.get("effect", {}).get("at") == "binding"
    ]
    if at_binding:
        with_labels = any("labels" in effect for effect in at_binding)
        yield _AT_BINDING + (_LABELS_AT_BINDING if with_labels else "")


def _of_file(path: str) -> _Found:
    text, shown = read_text(path), "<stdin>" if path == "-" else path
    try:
        manifests = list(_selectors(text))
    except TextError as error:
        line, column = error.position
        raise UsageError(f"{shown}:{line}:{column}: {error.message}") from None
    except ValueError as error:
        raise UsageError(f"{shown}: {error}") from None
    return _Found(shown, [manifest.value for manifest in manifests], manifests)


def _selectors(text: str) -> Iterator[Manifest]:
    for manifest in read_manifests(text, places=True):
        items = manifest.value.get("items")
        if manifest.kind == f"{KIND}List" and isinstance(items, list):  # of the API itself
            version = manifest.value.get("apiVersion")
            for index, item in enumerate(items):
                if isinstance(item, dict):
                    value = {"apiVersion": version, "kind": KIND, **item}
                    location = (*manifest.location, "items", index)
                    yield from _if_ours(Manifest(value, location, manifest.document))
        else:
            yield from _if_ours(manifest)


def _if_ours(manifest: Manifest) -> Iterator[Manifest]:
    if of_the_crd(manifest.value):
        yield manifest


def _of_cluster() -> _Found:
    source = cluster()
    for version in ("v1", "v1beta1"):
        try:
            items = source.objects(f"{GROUP}/{version}", "selectors", KIND)
        except NotFoundError:
            continue
        except SourceError as error:
            raise UsageError(str(error)) from None
        return _Found("the cluster", items, [])
    raise UsageError(f"the cluster has no {KIND} objects: its API server doesn't know {GROUP}")
