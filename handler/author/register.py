"""``register``: prints the webhook's registration, narrowed to a profile."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from ..cluster.file import FileSource
from ..cluster.registration import narrowed
from ..cluster.source import SourceError
from ..messages.message import Message, message_of
from ..profiles.parse import ProfileError, parse
from ..settings import Settings, SettingsError
from .command import UsageError, complain, read_text

__all__ = ["add_to"]

_DESCRIPTION = Message("""
Print a MutatingWebhookConfiguration with which kube-apiserver calls the function only for pods that
a selector of the profile can match. It has one webhook for each distinct pair of namespaceSelector
and objectSelector, and the webhook of the wide registration, which then selects no pods. The
registration stays wide if a selector matches everything or has neither of the two selectors, or if
there are more than 64 pairs or 512 KiB.

A webhook that did not match a pod at first is not called again (reinvocationPolicy: IfNeeded), so
labels that later webhooks add to the pod can't make a selector match unless another one matched.
Use the wide registration if other webhooks add labels that the profile requires.
""")
_REGISTRATION = Path(__file__).parents[2] / "k8s" / "base" / "mutating-webhook-configuration.yaml"
_UNTRUSTED = Message(
    "warning: without a caBundle, kube-apiserver does not trust the certificate of the function,"
    " and calls fail; specify --ca-bundle, as shown in docs/en/tools.md"
)


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "register",
        help=Message("print a registration that is narrowed to a profile"),
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("profile", metavar="FILE", help=Message("a YAML file with the ConfigMap"))
    parser.add_argument(
        "--registration",
        metavar="FILE",
        default=str(_REGISTRATION),
        help=Message(
            "the registration to narrow, - for standard input (default: the one in the repository)"
        ),
    )
    parser.add_argument(
        "--ca-bundle",
        metavar="BASE64",
        default="",
        help=Message("the CA certificates to set in each webhook (PEM in base64)"),
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        settings = Settings.read({**os.environ, "ECI_PROFILE_PROVIDER": "cm"})
        source = FileSource(arguments.profile)
        profile = parse(source.config_map(settings.namespace, settings.name).data)
        text = read_text(arguments.registration)
        registration = narrowed(_registration(text), profile, arguments.ca_bundle)
    except ProfileError as error:
        message = Message("{file} is not a valid profile:", file=arguments.profile)
        raise UsageError(message, invalid=error) from None
    except (SettingsError, SourceError, ValueError) as error:
        raise UsageError(message_of(error)) from None
    yaml.safe_dump(registration, sys.stdout, sort_keys=False, width=100)
    if not _trusts(registration):
        complain(_UNTRUSTED)
    return 0


def _registration(text: str) -> dict[str, Any]:
    for document in yaml.safe_load_all(text):
        if isinstance(document, dict) and document.get("kind") == "MutatingWebhookConfiguration":
            return document
    raise ValueError(Message("there is no MutatingWebhookConfiguration in the registration"))


def _trusts(registration: dict[str, Any]) -> bool:
    """Whether kube-apiserver can verify the function's certificate.

    For a URL it can do so without a caBundle, by its own CAs.
    """
    if "cert-manager.io/inject-ca-from" in registration["metadata"].get("annotations", {}):
        return True
    called = [webhook["clientConfig"] for webhook in registration["webhooks"]]
    return all("url" in each or each.get("caBundle") for each in called)
