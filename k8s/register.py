"""Narrow the registration to a profile: kube-apiserver calls the function only for pods that one
of its selectors matches. Writes a MutatingWebhookConfiguration to standard output.

A webhook that didn't match a pod at first is not called again (reinvocationPolicy: IfNeeded), so
labels that later webhooks add to a pod can't make a selector match, unless another one did. Stay
with the wide registration where other webhooks add the labels that the profile asks for.
"""

from __future__ import annotations

import argparse
import copy
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from handler.filesource import FileSource
from handler.labels import Requirement
from handler.profile import Profile, ProfileError, Selector, parse
from handler.settings import Settings, SettingsError
from handler.sources import SourceError

REGISTRATION = Path(__file__).parent / "base" / "mutating-webhook-configuration.yaml"
_LONGEST_LABEL = 63  # of a DNS name, which a webhook's name has to be
_UNTRUSTED = (
    "warning: without a caBundle kube-apiserver trusts no certificate of the function, and calls"
    " fail; give it by ARGS='--ca-bundle ...', as k8s/README.md shows"
)


def narrowed(wide: dict[str, Any], profile: Profile, ca_bundle: str = "") -> dict[str, Any]:
    """The registration with one webhook for each selector, in place of its only one.

    Raises ValueError if it has several, since then it has been narrowed before.
    """
    if len(wide["webhooks"]) != 1:
        raise ValueError("the registration must have one webhook, as `make install` makes it")
    return {
        **wide,
        "webhooks": [
            _webhook(wide["webhooks"][0], index, selector, ca_bundle)
            for index, selector in enumerate(profile.selectors)
        ],
    }


def _webhook(
    wide: dict[str, Any], index: int, selector: Selector, ca_bundle: str
) -> dict[str, Any]:
    webhook = copy.deepcopy(wide)
    webhook["name"] = f"{_dns_label(f'{index}-{selector.name}')}.{wide['name']}"
    for field, requirements in (
        ("namespaceSelector", selector.namespace),
        ("objectSelector", selector.object),
    ):
        webhook[field]["matchExpressions"] += _match_expressions(requirements or ())
    if ca_bundle:
        webhook["clientConfig"]["caBundle"] = ca_bundle
    return webhook


def _match_expressions(requirements: Iterable[Requirement]) -> Iterator[dict[str, Any]]:
    for requirement in requirements:
        expression: dict[str, Any] = {"key": requirement.key, "operator": requirement.operator}
        if requirement.values:
            expression["values"] = sorted(requirement.values)
        yield expression


def _dns_label(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:_LONGEST_LABEL].strip("-")


def _registration(text: str) -> dict[str, Any]:
    for document in yaml.safe_load_all(text):
        if isinstance(document, dict) and document.get("kind") == "MutatingWebhookConfiguration":
            return document
    raise ValueError("there is no MutatingWebhookConfiguration in the registration")


def _trusts(registration: dict[str, Any]) -> bool:
    """Whether the certificate can be verified: that of a URL by the API server's own CAs."""
    if "cert-manager.io/inject-ca-from" in registration["metadata"].get("annotations", {}):
        return True
    called = [webhook["clientConfig"] for webhook in registration["webhooks"]]
    return all("url" in each or each.get("caBundle") for each in called)


def main() -> str | None:
    """Return what is wrong, if anything is."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("profile", help="a YAML file with the ConfigMap")
    arguments.add_argument(
        "--registration", default=str(REGISTRATION), help="what to narrow, - for standard input"
    )
    arguments.add_argument("--ca-bundle", default="", help="PEM in base64, put into each webhook")
    options = arguments.parse_args()
    try:
        settings = Settings.read({**os.environ, "ECI_PROFILE_PROVIDER": "cm"})
        source = FileSource(options.profile)
        profile = parse(source.config_map(settings.namespace, settings.name).data)
        given = options.registration
        text = sys.stdin.read() if given == "-" else Path(given).read_text("utf-8")
        found = narrowed(_registration(text), profile, options.ca_bundle)
        yaml.safe_dump(found, sys.stdout, sort_keys=False, width=100)
        if not _trusts(found):
            print(_UNTRUSTED, file=sys.stderr)  # noqa: T201
    except ProfileError as error:
        return f"{options.profile} is not a valid profile:\n{error}"
    except (SettingsError, SourceError, OSError, ValueError) as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main())
