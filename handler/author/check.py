"""``check``: reports the errors and warnings in a profile, with their lines and columns."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..cluster.source import SourceError
from ..lint.diagnostics import Diagnostic, examine
from ..messages.message import Language, Message, message_of, translated
from ..profiles.parse import count_selectors
from ..profiles.text import TextError
from ..settings import Settings
from .command import CLUSTER, UsageError, cluster, complain, read_text, settings
from .profile_file import ProfileFile, read_profile

__all__ = ["add_to"]

_SEVERITIES = {"error": Message("error"), "warning": Message("warning")}

_DESCRIPTION = Message("""
Check a profile for errors and probable mistakes, and print each with its line and column.
Exit code: 0 if it is valid (there may be warnings), 1 if it has errors, 2 if it can't be read.
""")


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "check",
        help=Message("check a profile for errors and probable mistakes"),
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help=Message(
            "a YAML file with the ConfigMap, or with only the list of selectors; - for standard"
            " input, cluster for the profile in the cluster"
        ),
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "github"),
        default="text",
        help=Message("text; json; or github, for annotations in GitHub Actions"),
    )
    parser.set_defaults(run=_run)


@dataclass(frozen=True, slots=True)
class _Line:
    """A diagnostic as it is printed. ``file`` is what its line and column refer to."""

    file: str
    line: int
    column: int
    severity: Literal["error", "warning"]
    path: str
    message: Message

    def told(self, language: Language) -> str:
        """Return it in the format of compiler messages."""
        where = f"{self.file}:{self.line}:{self.column}"
        severity = translated(_SEVERITIES[self.severity], language)
        return f"{where}: {severity}: {self.path}: {translated(self.message, language)}"

    def annotation(self, language: Language) -> str:
        """Return it as a workflow command, which GitHub shows at the line.

        Source: command.ts of @actions/core.
        """
        places = {"file": self.file, "line": self.line, "col": self.column}
        where = ",".join(f"{name}={_escaped(str(at), ':,')}" for name, at in places.items())
        text = _escaped(f"{self.path}: {translated(self.message, language)}")
        return f"::{self.severity} {where}::{text}"

    def to_json(self, language: Language) -> dict[str, Any]:
        """Return it as an object for JSON."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "severity": self.severity,
            "path": self.path,
            "message": translated(self.message, language),
        }


@dataclass(frozen=True, slots=True)
class _Checked:
    """The diagnostics of a profile, and the number of its selectors, if known."""

    lines: list[_Line]
    selectors: int | None = None


def _run(arguments: argparse.Namespace) -> int:
    chosen = settings()
    checked = [
        (_of_cluster if file == CLUSTER else _of_file)(file, chosen) for file in arguments.files
    ]
    lines = [line for each in checked for line in each.lines]
    errors = sum(line.severity == "error" for line in lines)
    counts = [each.selectors for each in checked if each.selectors is not None]
    selectors = sum(counts) if len(counts) == len(checked) else None
    if arguments.output == "json":
        problems = [line.to_json(chosen.language) for line in lines]
        answer = {"valid": not errors, "selectors": selectors, "problems": problems}
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
        return 1 if errors else 0
    for line in lines:
        told = line.annotation if arguments.output == "github" else line.told
        sys.stdout.write(f"{told(chosen.language)}\n")
    complain(_summary(selectors, errors, len(lines) - errors))
    return 1 if errors else 0


def _escaped(text: str, also: str = "") -> str:
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _of_file(path: str, chosen: Settings) -> _Checked:
    text, shown = read_text(path), "<stdin>" if path == "-" else path
    try:
        file = read_profile(text, chosen.namespace, chosen.name)
    except TextError as error:
        return _Checked([_Line(shown, *error.position, "error", "YAML", error.message)])
    except LookupError as error:
        raise UsageError(message_of(error), shown) from None
    lines = [_in_file(shown, file, diagnostic) for diagnostic in examine(file.data)]
    return _Checked(lines, count_selectors(file.data))


def _in_file(shown: str, file: ProfileFile, diagnostic: Diagnostic) -> _Line:
    problem = diagnostic.problem
    (line, column), exact = file.position(problem.root, diagnostic.position)
    message = problem.message
    if not exact:
        inner_line, inner_column = diagnostic.position
        message = Message(
            "{message} (line {line}, column {column} of the text here)",
            message=message,
            line=inner_line,
            column=inner_column,
        )
    return _Line(shown, line, column, diagnostic.severity, problem.path, message)


def _of_cluster(_: str, chosen: Settings) -> _Checked:
    source = cluster()
    try:
        data: Mapping[str, object] = source.config_map(chosen.namespace, chosen.name).data
    except SourceError as error:
        raise UsageError(message_of(error)) from None
    try:
        version = source.version()
    except SourceError:  # not every user may read it
        version = None
    shown = f"{chosen.namespace}/{chosen.name}"
    lines = [_in_key(shown, each) for each in examine(data, version)]
    return _Checked(lines, count_selectors(data))


def _in_key(shown: str, diagnostic: Diagnostic) -> _Line:
    problem = diagnostic.problem
    file = f"{shown}/{problem.root}"
    return _Line(file, *diagnostic.position, diagnostic.severity, problem.path, problem.message)


def _summary(selectors: int | None, errors: int, warnings: int) -> Message:
    found = Message(
        "{errors}, {warnings}",
        errors=Message("1 error") if errors == 1 else Message("{count} errors", count=errors),
        warnings=Message("1 warning")
        if warnings == 1
        else Message("{count} warnings", count=warnings),
    )
    if selectors is None:
        return found
    read = (
        Message("1 selector") if selectors == 1 else Message("{count} selectors", count=selectors)
    )
    return Message("{selectors}: {found}", selectors=read, found=found)
