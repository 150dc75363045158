"""``completion``: prints a script for completion of ``eci-profile`` in a shell."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..messages.message import Message
from .command import UsageError

__all__ = ["add_to"]

_PROGRAM = "eci-profile"
_SHELLS = ("bash", "zsh", "tcsh")
_DESCRIPTION = Message("""
Print a shell completion script for eci-profile. For bash:
  eci-profile completion bash > ~/.local/share/bash-completion/completions/eci-profile
""")


def add_to(commands: Any) -> None:
    """Add the command to the command line.

    It needs ``arguments.parser_of``, which returns the parser for a program name.
    """
    parser = commands.add_parser(
        "completion",
        help=Message("print a shell completion script"),
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=_SHELLS)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError:  # only installed with the extra "completion"
        message = Message(
            "completion needs shtab: install with the extra completion, or run pip install shtab"
        )
        raise UsageError(message) from None
    parser: argparse.ArgumentParser = arguments.parser_of(_PROGRAM)
    for each in (parser, *_commands(parser)):
        for action in each._actions:  # noqa: SLF001
            if action.metavar == "FILE":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(parser, arguments.shell))
    return 0


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    return [
        command
        for action in parser._actions  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
        for command in action.choices.values()
    ]
