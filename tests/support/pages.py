"""The pages of the documentation, taken apart."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from server import ROOT


@dataclass
class Block:
    """A code block. ``info`` is what follows its fence: the language, then a file's name."""

    info: str
    line: int
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def file(self) -> str:
        """The name of the file that it shows, or nothing."""
        return self.info.partition(" ")[2]


@dataclass
class Page:
    """A page, taken apart. ``prose`` is what is outside of code blocks."""

    prose: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    @property
    def headings(self) -> list[str]:
        return [line for line in self.prose if line.startswith("#")]


@functools.cache
def read(path: Path) -> Page:
    """A page of the project."""
    return parse((ROOT / path).read_text("utf-8"), str(path))


def parse(text: str, name: str) -> Page:
    """A page, or a part of one, that is called this in errors."""
    page, block = Page(), None
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            if block is None:
                block = Block(line.strip().removeprefix("```"), number)
                page.blocks.append(block)
            else:
                block = None
        elif block is not None:
            block.lines.append(line)
        else:
            page.prose.append(line)
    assert block is None, f"{name}: a code block has no end"
    return page


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Each command of a console block, and what it prints."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output
