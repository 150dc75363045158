"""Kubernetes objects as they are written: a YAML stream, in which Lists count as their items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..messages.message import Message
from .text import MAX_FILE_BYTES, Location, Place, read_documents

__all__ = ["Manifest", "read_manifests", "read_text"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """An object, where it is in its document, and the document's place if it was asked for."""

    value: dict[str, Any]
    location: Location
    document: Place

    @property
    def kind(self) -> object:
        """Its kind, as it is written."""
        return self.value.get("kind")

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Its metadata, empty where there is none."""
        metadata = self.value.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def name(self) -> str:
        """Its name, empty where it has none."""
        name = self.metadata.get("name")
        return name if isinstance(name, str) else ""

    def place(self, *keys: str | int) -> Place:
        """The place of what it has under these keys, or of the nearest thing around that."""
        return self.document.find((*self.location, *keys))[0]


def read_text(stream: BinaryIO) -> str:
    """The text of a file, or as much of one as tells that it is too large.

    Raises OSError, UnicodeDecodeError, and ValueError where it is too large.
    """
    content = stream.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        message = Message(
            "more than {most} bytes (8 MiB) are not read; split it", most=MAX_FILE_BYTES
        )
        raise ValueError(message)
    return content.decode("utf-8-sig")  # some editors write a mark before the text


def read_manifests(text: str, *, places: bool = False) -> Iterator[Manifest]:
    """Read the objects of a stream.

    Raises ValueError, and TextError where it is not YAML.
    """
    for reading in read_documents(text, places=places):
        if reading.value is not None:
            place = reading.place or Place(reading.position)
            yield from _flattened(Manifest(reading.value, (), place))


def _flattened(manifest: Manifest) -> Iterator[Manifest]:
    if not isinstance(manifest.value, dict):
        raise ValueError(Message("a document is not an object of Kubernetes"))
    items = manifest.value.get("items")
    if manifest.kind == "List" and isinstance(items, list):
        for index, item in enumerate(items):
            location = (*manifest.location, "items", index)
            yield from _flattened(Manifest(item, location, manifest.document))
    else:
        yield manifest
