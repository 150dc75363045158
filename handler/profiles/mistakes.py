"""Names common mistakes in text that is not valid JSON or YAML, with the line and the remedy.

One pass over an invalid text; valid texts are not examined.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..messages.message import Message
from .blanks import end_of_string
from .reading import Position, TextError

__all__ = ["FULL_WIDTH", "explained", "mistake_in"]

FULL_WIDTH = {
    **dict.fromkeys("“”＂「」", '"'),  # noqa: RUF001
    **dict.fromkeys("‘’＇", "'"),  # noqa: RUF001
    **dict.fromkeys("，、", ","),  # noqa: RUF001
    **dict.fromkeys("【［", "["),  # noqa: RUF001
    **dict.fromkeys("】］", "]"),  # noqa: RUF001
    "：": ":",  # noqa: RUF001
    "｛": "{",  # noqa: RUF001
    "｝": "}",  # noqa: RUF001
    "\u3000": " ",
}
"""What Chinese input methods write, and what is meant."""

_BEFORE = 2  # lines; a parser may read on for so long after the mistake
_SHOWN = 60
# Each matches one or two characters.
_MARK = re.compile(
    rf"""["\n]|(?<![^\s,:\[\]{{}}])'|(?<!\S)\#|(?<![^\s,\[\]{{}}"'])/[/*]|[{"".join(FULL_WIDTH)}]|\t"""
)
# In a block of YAML, text after a key and a colon may hold anything.
_PLAIN = re.compile(r"""[ -]{0,100}[^\s:]{1,100}:[ ]{1,100}(?=[^\s\[{"'])""")
_BLANK = re.compile(r"[ -]{0,100}\Z")
_COMMENT = re.compile(r"\s*\#[^\n]*")

_Mistake = tuple[int, int, str]  # line from 0, offset in the text, what was found


def explained(text: str, error: TextError) -> TextError:
    """Return an error that names the mistake behind this one, or this error."""
    line = error.position[0] - 1
    found: _Mistake | None = None
    for mistake in _mistakes(text):
        if mistake[0] > line:
            break
        if found is None or mistake[0] > found[0]:  # the first of its line
            found = mistake
    if found is None or found[0] < line - _BEFORE:
        return error
    return _error(text, found)


def mistake_in(text: str) -> TextError | None:
    """Return the first mistake in a text that was read as a plain string, if there is one."""
    first = next(_mistakes(text), None)
    return first and _error(text, first)


def _mistakes(text: str) -> Iterator[_Mistake]:
    line = begin = at = 0
    flow = _is_flow(text)
    plain = None if flow else _PLAIN.match(text)
    while mark := _MARK.search(text, at):
        start, found = mark.start(), mark.group()
        at = mark.end()
        match found:
            case "\n":
                line, begin = line + 1, at
                plain = None if flow else _PLAIN.match(text, at)
            case '"' | "'":
                if plain and start >= plain.end():
                    continue
                end = end_of_string(text, at) if found == '"' else text.find("'", at) + 1
                at = end or len(text)
                if newlines := text.count("\n", start, at):
                    line, begin = line + newlines, text.rfind("\n", start, at) + 1
            case "#":
                end = text.find("\n", at)
                at = len(text) if end < 0 else end
            case "\t":
                if not flow and _BLANK.match(text, begin, start):
                    yield line, start, found
            case _ if plain is None or start < plain.end():
                yield line, start, found


def _named(found: str) -> Message:
    if found in FULL_WIDTH:
        meant = repr(FULL_WIDTH[found])
        return Message("full-width {found} instead of {meant}", found=found, meant=meant)
    if found == "\t":
        return Message("the line is indented with a tab, but YAML allows only spaces")
    return Message('"{found}" does not start a comment here, use "#"', found=found)


def _is_flow(text: str) -> bool:
    """Whether it is written like JSON, in which tabs are allowed."""
    at = 0
    while comment := _COMMENT.match(text, at):
        at = comment.end()
    while text[at : at + 1].isspace():
        at += 1
    return text[at : at + 1] in ("[", "{")


def _error(text: str, mistake: _Mistake) -> TextError:
    line, at, found = mistake
    begin = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    written = text[begin : len(text) if end < 0 else end].rstrip()
    position: Position = (line + 1, at - begin + 1)
    message = Message("{mistake}: {line}", mistake=_named(found), line=_around(written, at - begin))
    return TextError(message, *position, certain=True)


def _around(line: str, at: int) -> str:
    """Return the part of the line around a position."""
    first = max(0, min(at - _SHOWN // 2, len(line) - _SHOWN))
    cut = line[first : first + _SHOWN]
    before, after = ("..." if first else ""), ("..." if first + _SHOWN < len(line) else "")
    return f"{before}{cut}{after}".strip(" ").replace("\t", "\\t")
