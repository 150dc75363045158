"""The command line: ``python -m handler``, ``eci-profile`` and ``kubectl eci-profile``.

``install`` and ``certificates`` are what Jobs in the cluster run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from .author.command import USAGE, Parser, UsageError, language
from .messages.message import Language, Message, translated
from .version import VERSION

# The module of each command, which has `add_to`; the order is that of the help.
_COMMANDS = {
    **{name: f".author.{name}" for name in ("check", "explain", "plan", "register", "convert")},
    "schema": ".author.json_schema",
    "completion": ".author.completion",
    **dict.fromkeys(("install", "certificates"), ".install.commands"),
}

_BROKEN_PIPE = 141  # the exit code after SIGPIPE


def main() -> int:
    """Run the command that the arguments name. Returns the exit code."""
    arguments = _parser(_program(), sys.argv[1] if len(sys.argv) > 1 else "").parse_args()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except UsageError as error:
        sys.stderr.write(f"eci-profile: {error.told(language())}\n")
        failed: int = getattr(arguments, "failed", USAGE)
        return failed
    return code


def _program() -> str:
    """The name of the program in its help."""
    name = Path(sys.argv[0]).name
    if name == "kubectl-eci_profile":
        return "kubectl eci-profile"
    return name if name == "eci-profile" else "python -m handler"


def _parser(program: str, wanted: str = "") -> Parser:
    """Return the parser of all commands, or of the wanted one alone if there is one of that name.

    Importing all of them takes longer than most of them run.
    """
    parser = Parser(prog=program, description=Message("Tools for writing ECI profiles."))
    parser.set_defaults(parser_of=_parser)
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(metavar="command", required=True)
    modules = (_COMMANDS[wanted],) if wanted in _COMMANDS else dict.fromkeys(_COMMANDS.values())
    for module in modules:
        importlib.import_module(module, __package__).add_to(commands)
    if (spoken := language()) != "en":
        _translate(parser, spoken)
    return parser


def _translate(parser: argparse.ArgumentParser, spoken: Language) -> None:
    """Have the help of a parser, and of those for its commands, in a language."""
    parser.description = translated(parser.description or "", spoken)
    for action in parser._actions:  # noqa: SLF001
        commands = action.choices if isinstance(action.choices, dict) else {}
        for each in (action, *getattr(action, "_choices_actions", ())):
            each.help = each.help and translated(each.help, spoken)
        for command in commands.values():
            _translate(command, spoken)


if __name__ == "__main__":
    sys.exit(main())
