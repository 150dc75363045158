"""Reads a profile from a YAML file, which has the ConfigMap or only the list of selectors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ..messages.message import Message, message_of
from ..profiles.manifests import Manifest, read_manifests
from ..profiles.mistakes import mistake_in
from ..profiles.schema import of_the_crd
from ..profiles.text import Position, TextError

__all__ = ["ProfileFile", "is_list", "read_profile"]

# Matches one line. Its parts match distinct characters, so it never backtracks.
_SKIPPED = re.compile(r"[^\S\n]*(?:#[^\n]*|---[^\S\n]*)?\n")
_LIST = re.compile(r"\s*(?:\[|-\s)")

_lines = lru_cache(maxsize=4)(lambda text: text.split("\n"))  # needed for each position


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """A file and the data of the profile in it. ``manifest`` is None if it has only selectors."""

    text: str
    data: Mapping[str, object]
    manifest: Manifest | None

    def position(self, root: str, position: Position) -> tuple[Position, bool]:
        """Return the position in the file for a position in the text of the key ``root``.

        The second value is whether it is exact. If not, it is the position of the key's value.
        """
        if self.manifest is None:
            return position, True
        place = self.manifest.place("data", root)
        text = self.data.get(root)
        if not place.literal or not isinstance(text, str):
            return place.value, not isinstance(text, str)
        lines, inner = _lines(self.text), _lines(text.rstrip("\n"))
        line, column = position
        if line > len(inner):  # after the last line break
            line, column = len(inner), len(inner[-1]) + 1
        written = place.value[0] + line
        if written > len(lines):  # YAML has line breaks that editors don't count
            return place.value, False
        return (written, column + len(lines[written - 1]) - len(inner[line - 1])), True


def read_profile(text: str, namespace: str, name: str) -> ProfileFile:
    """Find the profile in a text: the ConfigMap of this name, or a list of selectors.

    Raises LookupError if the text has neither, and TextError if it is not YAML.
    """
    text = text.replace("\r\n", "\n")
    if is_list(text):
        return ProfileFile(text, {"selectors": text}, None)
    found, hint = None, None
    try:
        for manifest in read_manifests(text, places=True):
            if (
                manifest.kind == "ConfigMap"
                and manifest.name == name
                # None: kubectl adds the namespace when it applies the file.
                and manifest.metadata.get("namespace") in (namespace, None)
            ):
                found = manifest
            hint = hint or _hint(manifest)
    except TextError:
        raise
    except ValueError as error:
        raise mistake_in(text) or LookupError(message_of(error)) from None
    if found is None:
        missing = Message(
            "no ConfigMap {name}, and no list of selectors", name=f"{namespace}/{name}"
        )
        message = Message("{problem}; {hint}", problem=missing, hint=hint) if hint else missing
        raise LookupError(message)
    data = found.value.get("data") or {}
    if not isinstance(data, dict):
        raise LookupError(Message("ConfigMap {name}: data must be an object", name=name))
    return ProfileFile(text, data, found)


def _hint(manifest: Manifest) -> Message | None:
    """Return what to do with an object that is probably meant to be the profile, or None."""
    if of_the_crd(manifest.value):
        return Message("to convert its Selector objects, run python -m handler convert")
    if manifest.kind is None and "selectors" in manifest.value:
        return Message("write only the list, without the key selectors around it")
    return None


def is_list(text: str) -> bool:
    """Whether a text is only a list of selectors, after blank lines and comments."""
    at = 0
    while skipped := _SKIPPED.match(text, at):
        at = skipped.end()
    return bool(_LIST.match(text, at))
