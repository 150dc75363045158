"""The command line: ``python -m handler check``, ``explain``, ``register``, ``convert``."""

from __future__ import annotations

import argparse
import os
import sys

from .author import check, convert, explain, register
from .author.command import UsageError
from .version import VERSION

_USAGE = 2
_BROKEN_PIPE = 141  # as of a program that the signal ends


def main() -> int:
    """Run the command that the arguments name. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m handler", description="Tools for those who write ECI profiles."
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (check, explain, register, convert):
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
