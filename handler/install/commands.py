"""``install`` and ``certificates``: the commands of the Jobs in the cluster."""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..author.command import cluster
from ..cluster.source import SourceError
from ..messages.message import Message
from ..telemetry import log
from .names import CONFIG_MAP, NAMESPACE, TLS_SECRET

if TYPE_CHECKING:
    from ..cluster.apiserver import ClusterSource

__all__ = ["add_to"]

_BUNDLES = ("renewed", "given", "injected")
_INSTALL = Message(
    "Run by the Job in the manifest. It creates the default profile if there is none, waits until"
    " the function is ready, and registers it with kube-apiserver. It can be run again."
)
_CERTIFICATES = Message(
    "Run by a CronJob. It renews the certificate and the CA in their Secrets when they are due,"
    " and makes the registrations trust the CA. It can be run at any time."
)

_LONGEST = 3600

_log = logging.getLogger("eci-profile")


def add_to(commands: Any) -> None:
    """Add both commands to the command line."""
    install = commands.add_parser(
        "install",
        help=Message("finish an installation (runs in the cluster)"),
        description=_INSTALL,
    )
    install.add_argument(
        "--bundle",
        choices=_BUNDLES,
        default="injected",
        help=Message(
            "the CAs that the registrations trust: renewed by this command, given in the"
            " certificate's Secret, or injected into the registrations by another component (the"
            " default)"
        ),
    )
    install.set_defaults(run=_install)
    certificates = commands.add_parser(
        "certificates",
        help=Message("renew the certificate (runs in the cluster)"),
        description=_CERTIFICATES,
    )
    certificates.set_defaults(run=_certificates)
    for command in (install, certificates):
        command.add_argument(
            "--wait",
            metavar="SECONDS",
            type=_seconds,
            default=300.0,
            help=Message(
                "seconds to wait for the pods of the function (default: 300, at most 3600)"
            ),
        )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST:
        why = f"must be a number of seconds from 0 to {_LONGEST}, such as 300, not {text!r}"
        raise argparse.ArgumentTypeError(why)
    return seconds


def _install(arguments: argparse.Namespace) -> int:
    # Imported here, as below: not every host has their dependencies.
    from .installation import install

    about = {"apiVersion": "v1", "kind": "ConfigMap", "name": CONFIG_MAP}
    return _run(
        lambda source: install(source, arguments.bundle, arguments.wait),
        about,
        "InstallFailed",
    )


def _certificates(arguments: argparse.Namespace) -> int:
    from .renewal import renew

    about = {"apiVersion": "v1", "kind": "Secret", "name": TLS_SECRET}
    return _run(lambda source: renew(source, arguments.wait), about, "CertificateNotRenewed")


def _run(step: Callable[[ClusterSource], object], about: dict[str, str], reason: str) -> int:
    log.set_up("INFO")
    source = cluster()
    try:
        step(source)
    except Exception as error:
        _log.exception("failed")
        now = datetime.now(timezone.utc)
        name = f"{about['name']}.{now:%Y%m%d%H%M%S%f}"
        with contextlib.suppress(SourceError):  # only the exit code remains
            source.warn({**about, "namespace": NAMESPACE}, name, reason, str(error) or repr(error))
        return 1
    return 0
