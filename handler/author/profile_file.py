"""A profile as one edits it: the ConfigMap in a YAML file, or its list of selectors alone."""

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

# A line at a time: no part can match what another one has.
_SKIPPED = re.compile(r"[^\S\n]*(?:#[^\n]*|---[^\S\n]*)?\n")
_LIST = re.compile(r"\s*(?:\[|-\s)")

_lines = lru_cache(maxsize=4)(lambda text: text.split("\n"))  # asked for each position


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """A file, and the data of the profile in it. ``manifest`` is None for selectors alone."""

    text: str
    data: Mapping[str, object]
    manifest: Manifest | None

    def position(self, root: str, position: Position) -> tuple[Position, bool]:
        """Where in the file a position in the text of a key is; if not exactly, then the key's."""
        if self.manifest is None:
            return position, True
        place = self.manifest.place("data", root)
        text = self.data.get(root)
        if not place.literal or not isinstance(text, str):
            return place.value, not isinstance(text, str)
        lines, inner = _lines(self.text), _lines(text.rstrip("\n"))
        line, column = position
        if line > len(inner):  # at the end, after the last line break
            line, column = len(inner), len(inner[-1]) + 1
        written = place.value[0] + line
        if written > len(lines):  # some line breaks of YAML are none to an editor
            return place.value, False
        return (written, column + len(lines[written - 1]) - len(inner[line - 1])), True


def read_profile(text: str, namespace: str, name: str) -> ProfileFile:
    """Find the profile in a text: the ConfigMap of this name, or a list of selectors.

    Raises LookupError if it has neither, TextError if it is not YAML.
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
                # Without one it is that of the kubectl command which applies it.
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
    """What an object that is no ConfigMap was perhaps meant to be."""
    if of_the_crd(manifest.value):
        return Message("python -m handler convert translates its Selector objects")
    if manifest.kind is None and "selectors" in manifest.value:
        return Message("write only the list, without the key selectors around it")
    return None


def is_list(text: str) -> bool:
    """Whether a text is a list of selectors alone."""
    at = 0
    while skipped := _SKIPPED.match(text, at):
        at = skipped.end()
    return bool(_LIST.match(text, at))
