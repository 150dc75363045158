"""What the commands share: files, settings and the cluster, with a sentence where one fails."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..cluster.source import SourceError
from ..messages.message import Language, Message, Quoted, message_of, translated
from ..profiles import manifests
from ..profiles.parse import ProfileError
from ..profiles.problems import MAX_PROBLEMS
from ..settings import Settings, SettingsError

if TYPE_CHECKING:
    from ..cluster.apiserver import ClusterSource

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
    """What was asked for can't be done; the message is one sentence that says why.

    ``where`` is the file that it is about, and perhaps line and column. ``invalid`` are the
    problems of a profile.
    """

    def __init__(
        self, message: Message, *where: str | int, invalid: ProfileError | None = None
    ) -> None:
        super().__init__(message)
        self._message = message
        self._where = ":".join(map(str, where))
        self._invalid = invalid

    def told(self, language: Language) -> str:
        """The sentence in a language, and a line for each problem."""
        message = translated(self._message, language)
        sentence = f"{self._where}: {message}" if self._where else message
        problems = self._invalid.lines(MAX_PROBLEMS, language) if self._invalid else []
        return "\n  ".join((sentence, *problems))


def settings() -> Settings:
    """The settings of the environment. Raises UsageError."""
    try:
        return Settings.read(os.environ)
    except SettingsError as error:
        raise UsageError(message_of(error)) from None


def language() -> Language:
    """The language of the settings; English if they are wrong."""
    try:
        return Settings.read(os.environ).language
    except SettingsError:
        return "en"


def complain(message: Message) -> None:
    """Tell something on standard error."""
    sys.stderr.write(f"{translated(message, language())}\n")


def read_text(path: str) -> str:
    """The text of a file, or of standard input for ``-``. Raises UsageError."""
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
    """What there is to say of a file that can't be read."""
    reason = Quoted(error.strerror or str(error))
    return UsageError(Message("{file} can't be read: {reason}", file=path, reason=reason))


def cluster() -> ClusterSource:
    """The cluster of KUBECONFIG, the pod, or ~/.kube/config. Raises UsageError."""
    # Imported here: it takes longer than all the rest, and most calls do without.
    from ..cluster.apiserver import ClusterSource

    try:
        return ClusterSource(1)
    except SourceError as error:
        raise UsageError(message_of(error)) from None
