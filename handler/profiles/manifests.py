"""Reads Kubernetes objects from a YAML stream, in which a List counts as its items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..messages.message import Message
from .text import MAX_FILE_BYTES, Location, Place, read_documents

__all__ = ["Manifest", "read_manifests", "read_text"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """An object, its location in its document, and the places in the document if requested."""

    value: dict[str, Any]
    location: Location
    document: Place

    @property
    def kind(self) -> object:
        """The kind, as written."""
        return self.value.get("kind")

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata; empty if there is none."""
        metadata = self.value.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def name(self) -> str:
        """The name; empty if there is none."""
        name = self.metadata.get("name")
        return name if isinstance(name, str) else ""

    def place(self, *keys: str | int) -> Place:
        """Return the place of the value under these keys, or of the nearest value around it."""
        return self.document.find((*self.location, *keys))[0]


def read_text(stream: BinaryIO) -> str:
    """Read the text of a file.

    Raises OSError, UnicodeDecodeError, and ValueError if it is too large.
    """
    content = stream.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        message = Message(
            "too large, the limit is {most} bytes (8 MiB); split it", most=MAX_FILE_BYTES
        )
        raise ValueError(message)
    return content.decode("utf-8-sig")  # some editors write a byte order mark


def read_manifests(text: str, *, places: bool = False) -> Iterator[Manifest]:
    """Read the objects of a stream.

    Raises ValueError, and TextError if it is not YAML.
    """
    for reading in read_documents(text, places=places):
        if reading.value is not None:
            place = reading.place or Place(reading.position)
            yield from _flattened(Manifest(reading.value, (), place))


def _flattened(manifest: Manifest) -> Iterator[Manifest]:
    if not isinstance(manifest.value, dict):
        raise ValueError(Message("a document is not a Kubernetes object"))
    items = manifest.value.get("items")
    if manifest.kind == "List" and isinstance(items, list):
        for index, item in enumerate(items):
            location = (*manifest.location, "items", index)
            yield from _flattened(Manifest(item, location, manifest.document))
    else:
        yield manifest
