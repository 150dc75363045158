"""Reads what an administrator wrote in a ConfigMap: JSON, JSON with comments and tabs, or YAML.

Scalars have their meaning in JSON: only ``true``, ``false``, ``null`` and decimal numbers are not
strings, so ``yes``, ``0x10`` and ``2024-01-01`` of YAML 1.1 are strings. Numbers with a fraction
become Decimals, which keep how they were written.

The cost is bounded for any text: time and memory are linear in its size, and a text has at most
`MAX_BYTES` bytes, `MAX_VALUES` values and `MAX_DEPTH` levels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from ..messages.message import Message
from .blanks import without_comments, without_surrogates
from .json_text import read_json
from .mistakes import explained
from .reading import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_FILE_BYTES,
    MAX_FILE_VALUES,
    MAX_VALUES,
    Location,
    Place,
    Position,
    Reading,
    TextError,
)
from .yaml_text import read_yaml

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_FILE_BYTES",
    "MAX_VALUES",
    "Location",
    "Place",
    "Position",
    "Reading",
    "TextError",
    "locate",
    "read",
    "read_documents",
    "too_large",
]

_BOM = "\ufeff"


def too_large(text: str) -> int | None:
    """Return the size of a text that is too large for a ConfigMap, else None."""
    if 4 * len(text) <= MAX_BYTES:
        return None
    size = len(text) if len(text) > MAX_BYTES else len(text.encode("utf-8", "surrogatepass"))
    return size if size > MAX_BYTES else None


def read(text: str) -> Reading:
    """Read one value. A text without a value, such as only comments, gives None.

    Raises TextError.
    """
    text, errors = text.removeprefix(_BOM), []
    for attempt, variant in _attempts(text):
        found = _tried(attempt, variant)
        if isinstance(found, Reading):
            return found
        errors.append(found)
    # The error of the parser that came further is more helpful.
    raise explained(text, max(errors, key=lambda error: error.position))


def locate(text: str) -> Place:
    """Return the places of the values in a text that `read` accepts.

    Values under a key with an escaped surrogate pair are missing, rarely those of a whole text.
    """
    text = text.removeprefix(_BOM)
    if too_large(text) is None:
        for attempt, variant in _attempts(text):
            if attempt is _read_yaml:
                with contextlib.suppress(TextError):  # JSON that is not YAML
                    reading = _read_yaml(without_surrogates(variant), places=True)
                    return reading.place or Place((1, 1))
    return Place((1, 1))


def read_documents(text: str, *, places: bool = False) -> Iterator[Reading]:
    """Read each document of a YAML stream, with the places of its values if requested.

    Raises TextError.
    """
    try:
        yield from read_yaml(text, MAX_FILE_VALUES, places=places)
    except TextError as error:
        raise error if error.certain else explained(text, error) from None


def _attempts(text: str) -> Iterator[tuple[Callable[[str], Reading], str]]:
    """Yield the attempts to read a text, in order.

    Comments and tabs are removed only for JSON, or if the text is not valid YAML with them: in YAML
    they may be part of a value. A text that is JSON without them is read by YAML as the same value
    or not at all.
    """
    yield read_json, text
    plain = text
    if text.lstrip().startswith(("[", "{", "#")):
        plain = without_comments(text)
    if plain != text:
        yield read_json, plain
    yield _read_yaml, text
    if plain != text:
        yield _read_yaml, plain


def _tried(attempt: Callable[[str], Reading], text: str) -> Reading | TextError:
    try:
        return attempt(text)
    except TextError as error:
        if error.certain:
            raise
        return error


def _read_yaml(text: str, *, places: bool = False) -> Reading:
    documents = read_yaml(text, MAX_VALUES, places=places)
    reading = next(documents, Reading(None))
    if second := next(documents, None):
        message = Message("more than one YAML document; only one is allowed")
        raise TextError(message, *second.position, certain=True)
    return reading
