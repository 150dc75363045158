"""Print what CHANGELOG.md says about the version of a tag, for the notes of its release."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def notes(tag: str, changelog: str, version: str) -> str:
    """The section of a tag's version, without its heading.

    Raises:
        ValueError: the tag is not that of the version, or the changelog has no section for it,
            none with a date, or an empty one.

    """
    if tag != f"v{version}":
        raise ValueError(
            f"the tag of version {version} (handler/version.py) is v{version}, not {tag!r}"
        )
    sections = re.split(r"^## +(.+)\n", changelog, flags=re.MULTILINE)
    found = {
        name.split()[0]: (name, text)
        for name, text in zip(sections[1::2], sections[2::2], strict=True)
    }
    if version not in found:
        raise ValueError(
            f"CHANGELOG.md has no section for {version}: rename Unreleased to `{version} - <date>`"
        )
    name, text = found[version]
    if not re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d", name):
        raise ValueError(f"CHANGELOG.md: {name!r} must be `{version} - <date>`, as in 2026-11-23")
    if not text.strip():
        raise ValueError(f"CHANGELOG.md: the section {name!r} is empty")
    return text.strip() + "\n"


def main() -> int:
    """Print the notes; 1 where there are none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tag", help="the tag of the release, such as v1.2.3")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    arguments = parser.parse_args()
    version = (arguments.root / "handler" / "version.py").read_text("utf-8").split('"')[-2]
    changelog = (arguments.root / "CHANGELOG.md").read_text("utf-8")
    try:
        sys.stdout.write(notes(arguments.tag, changelog, version))
    except ValueError as error:
        sys.stderr.write(f"release-notes: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
