"""The command line: ``python -m handler check`` and ``python -m handler explain``."""

from __future__ import annotations

import argparse
import os
import sys

from . import cli_check, cli_explain
from .cli import UsageError

_USAGE = 2
_BROKEN_PIPE = 141  # as of a program that the signal ends


def main() -> int:
    """Run the command that the arguments name. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m handler", description="Tools for those who write ECI profiles."
    )
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (cli_check, cli_explain):
        command.add_to(commands)
    arguments = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads it has seen enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except UsageError as error:
        sys.stderr.write(f"eci-profile: {error}\n")
        return _USAGE
    return code


if __name__ == "__main__":
    sys.exit(main())
