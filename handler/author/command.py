"""What the commands share: reading files, settings and the cluster, and errors in one sentence."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..cluster.source import SourceError
from ..messages.message import Language, Message, Quoted, message_of, translated
from ..profiles import manifests
from ..settings import Settings, SettingsError

if TYPE_CHECKING:
    from ..cluster.apiserver import ClusterSource
    from ..profiles.parse import ProfileError

__all__ = [
    "CLUSTER",
    "USAGE",
    "Parser",
    "UsageError",
    "cluster",
    "complain",
    "language",
    "read_text",
    "settings",
    "unreadable",
]

CLUSTER = "cluster"
"""The argument that means the cluster instead of a file."""
USAGE = 2
"""The exit code after invalid arguments or a UsageError, unless the command sets another one."""


class Parser(argparse.ArgumentParser):
    """A parser that exits with the exit code of its command if the arguments are invalid."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong, then exit."""
        self.print_usage(sys.stderr)
        self.exit(self.get_default("failed") or USAGE, f"{self.prog}: error: {message}\n")


class UsageError(Exception):
    """A command failed. The message is one sentence that says why.

    ``where`` is the file that has the error, optionally followed by line and column. ``invalid``
    has the problems of an invalid profile.
    """

    def __init__(
        self, message: Message, *where: str | int, invalid: ProfileError | None = None
    ) -> None:
        super().__init__(message)
        self._message = message
        self._where = ":".join(map(str, where))
        self._invalid = invalid

    def told(self, language: Language) -> str:
        """Return the message in a language, followed by a line for each problem."""
        message = translated(self._message, language)
        sentence = f"{self._where}: {message}" if self._where else message
        if not self._invalid:
            return sentence
        from ..profiles.problems import MAX_PROBLEMS  # slow, and most errors do not need it

        problems = self._invalid.lines(MAX_PROBLEMS, language)
        return "\n  ".join((sentence, *problems))


def settings() -> Settings:
    """Read the settings from the environment. Raises UsageError."""
    try:
        return Settings.read(os.environ)
    except SettingsError as error:
        raise UsageError(message_of(error)) from None


def language() -> Language:
    """Return the language of the settings, or English if the settings are invalid."""
    try:
        return Settings.read(os.environ).language
    except SettingsError:
        return "en"


def complain(message: Message) -> None:
    """Print a message on standard error."""
    sys.stderr.write(f"{translated(message, language())}\n")


def read_text(path: str) -> str:
    """Read a file, or standard input for ``-``, as text. Raises UsageError."""
    try:
        if path == "-":
            return manifests.read_text(sys.stdin.buffer)
        with Path(path).open("rb") as stream:
            return manifests.read_text(stream)
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError:
        raise UsageError(Message("{file} is not UTF-8 text", file=path)) from None
    except ValueError as error:
        raise UsageError(message_of(error), path) from None


def unreadable(path: str, error: OSError) -> UsageError:
    """Return the error for a file that cannot be read."""
    reason = Quoted(error.strerror or str(error))
    return UsageError(Message("{file} can't be read: {reason}", file=path, reason=reason))


def cluster() -> ClusterSource:
    """Return the cluster of KUBECONFIG, the pod, or ~/.kube/config. Raises UsageError."""
    # Imported here because the import is slow, and most commands do not need it.
    from ..cluster.apiserver import ClusterSource

    try:
        return ClusterSource(1)
    except SourceError as error:
        raise UsageError(message_of(error)) from None
