"""What the commands share: files, settings and the cluster, with a sentence where one fails."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..cluster.source import SourceError
from ..profiles import manifests
from ..settings import Settings, SettingsError

if TYPE_CHECKING:
    from ..cluster.apiserver import ClusterSource

__all__ = ["CLUSTER", "USAGE", "Parser", "UsageError", "cluster", "read_text", "settings"]

CLUSTER = "cluster"
"""What stands for the cluster where else a file is named."""
USAGE = 2
"""The exit code where what was asked for can't be done, unless a command has another one."""


class Parser(argparse.ArgumentParser):
    """Ends with the exit code of its command where the arguments are wrong."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and how it is right."""
        self.print_usage(sys.stderr)
        self.exit(self.get_default("failed") or USAGE, f"{self.prog}: error: {message}\n")


class UsageError(Exception):
    """What was asked for can't be done; the message is one sentence that says why."""


def settings() -> Settings:
    """The settings of the environment. Raises UsageError."""
    try:
        return Settings.read(os.environ)
    except SettingsError as error:
        raise UsageError(str(error)) from None


def read_text(path: str) -> str:
    """The text of a file, or of standard input for ``-``. Raises UsageError."""
    try:
        if path == "-":
            return manifests.read_text(sys.stdin.buffer)
        with Path(path).open("rb") as stream:
            return manifests.read_text(stream)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def cluster() -> ClusterSource:
    """The cluster of KUBECONFIG, the pod, or ~/.kube/config. Raises UsageError."""
    # Imported here: it takes longer than all the rest, and most calls do without.
    from ..cluster.apiserver import ClusterSource

    try:
        return ClusterSource(1)
    except SourceError as error:
        raise UsageError(str(error)) from None
