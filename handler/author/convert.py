"""``convert``: converts Selector objects of the CRD form to the ConfigMap of a profile."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from ..cluster.source import NotFoundError, SourceError
from ..messages.message import Language, Message, message_of
from ..profiles.manifests import Manifest, read_manifests
from ..profiles.parse import ProfileError, parse
from ..profiles.schema import of_the_crd
from ..profiles.text import TextError
from .command import CLUSTER, UsageError, cluster, complain, read_text, settings
from .selector_objects import GROUP, KIND, Conversion, Remark, convert_objects, overlap

__all__ = ["add_to"]

_DESCRIPTION = Message("""
Convert Selector objects (eci.aliyun.com/v1 and v1beta1) to a ConfigMap. What differs in a profile,
or has no counterpart there, is reported on standard error.
Exit code: 0 if everything was converted, 1 if something was lost, 2 if there is nothing to convert.
""")


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "convert",
        help=Message("convert Selector objects of the CRD form to a profile"),
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "objects",
        metavar="FILE",
        help=Message(
            "a YAML file with Selector objects; - for standard input, cluster for all of those in"
            " the cluster"
        ),
    )
    parser.set_defaults(run=_run)


@dataclass(frozen=True, slots=True)
class _Found:
    """Selector objects and where they are from; also their manifests, if from a file."""

    shown: str
    objects: list[dict[str, Any]]
    manifests: list[Manifest]

    def line(self, remark: Remark, language: Language) -> str:
        """Return a remark as it is printed, with its position if that is known."""
        told = remark.told(language)
        if not self.manifests:
            return told
        manifest = self.manifests[remark.index]
        place, exact = manifest.document.find((*manifest.location, *remark.location))
        at = place.key if remark.at_key and exact and place.key else place.value
        return "{}:{}:{}: {}".format(self.shown, *at, told)


class _Block(str):
    """Text that is written to YAML as a literal block (``|``)."""

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
        raise UsageError(
            Message(
                "{source} has no {kind} objects of {group}",
                source=found.shown,
                kind=KIND,
                group=GROUP,
            )
        )
    conversion = convert_objects(found.objects)
    lost = any(remark.severity == "lost" for remark in conversion.remarks)
    sys.stderr.writelines(
        f"{found.line(remark, chosen.language)}\n" for remark in conversion.remarks
    )
    if not conversion.selectors:  # an empty profile could only overwrite an existing one
        return 1
    text = json.dumps(conversion.selectors, indent=2, ensure_ascii=False) + "\n"
    for note in _notes(conversion, text):
        complain(note)
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": chosen.name, "namespace": chosen.namespace},
        "data": {"selectors": _Block(text)},
    }
    yaml.dump(config_map, sys.stdout, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return 1 if lost else 0


def _notes(conversion: Conversion, text: str) -> Iterator[Message]:
    """Yield notes on the profile as a whole. Raises UsageError if it is invalid."""
    try:
        profile = parse({"selectors": text})
    except ProfileError as error:  # each is valid, but together they may be too large
        message = Message("the selectors do not form a valid profile:")
        raise UsageError(message, invalid=error) from None
    if pair := overlap(profile.selectors):
        one, other = pair
        yield Message(
            "note: Alibaba Cloud's component applies only one of the matching selectors; here the"
            ' effects of all of them apply, and "{one}" and "{other}" can match the same pod',
            one=one,
            other=other,
        )
    at_binding = [
        selector["effect"]
        for selector in conversion.selectors
        if selector.get("effect", {}).get("at") == "binding"
    ]
    if at_binding:
        yield (
            Message(
                "note: effects at binding need the component effects-at-binding, and labels at"
                " binding need Kubernetes 1.35 or later"
            )
            if any("labels" in effect for effect in at_binding)
            else Message("note: effects at binding need the component effects-at-binding")
        )


def _of_file(path: str) -> _Found:
    text, shown = read_text(path), "<stdin>" if path == "-" else path
    try:
        manifests = list(_selectors(text))
    except TextError as error:
        raise UsageError(error.message, shown, *error.position) from None
    except ValueError as error:
        raise UsageError(message_of(error), shown) from None
    return _Found(shown, [manifest.value for manifest in manifests], manifests)


def _selectors(text: str) -> Iterator[Manifest]:
    for manifest in read_manifests(text, places=True):
        items = manifest.value.get("items")
        if manifest.kind == f"{KIND}List" and isinstance(items, list):  # from the API server
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
            pages = source.pages(f"{GROUP}/{version}", "selectors", KIND)
            items = [item for page, _ in pages for item in page]
        except NotFoundError:
            continue
        except SourceError as error:
            raise UsageError(message_of(error)) from None
        return _Found(Message("the cluster"), items, [])
    raise UsageError(
        Message(
            "the cluster has no {kind} objects: its API server doesn't know {group}",
            kind=KIND,
            group=GROUP,
        )
    )
