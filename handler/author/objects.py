"""Reads the objects of a cluster one at a time, from files of any size or from the API server."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..cluster.source import ForbiddenError, NotFoundError, SourceError
from ..messages.message import Message, Quoted, message_of
from ..profiles.manifests import read_manifests, read_text
from ..profiles.text import TextError
from .command import UsageError, cluster, complain, unreadable
from .progress import Progress

if TYPE_CHECKING:
    from ..cluster.apiserver import ClusterSource

__all__ = ["Object", "objects_of_cluster", "objects_of_file", "objects_of_json"]

Object = dict[str, Any]

_HEAD = 2**16  # bytes, enough to recognize the format and the kind of a List
_CHUNK = 2**18
_WORKLOADS: Sequence[tuple[str, str, tuple[str, ...]]] = (
    ("Deployment", "deployments", ("apps/v1",)),
    ("ReplicaSet", "replicasets", ("apps/v1",)),
    ("StatefulSet", "statefulsets", ("apps/v1",)),
    ("DaemonSet", "daemonsets", ("apps/v1",)),
    ("Job", "jobs", ("batch/v1",)),
    ("CronJob", "cronjobs", ("batch/v1", "batch/v1beta1")),  # v1beta1 before Kubernetes 1.21
)


def objects_of_file(path: str) -> Iterator[Object]:
    """Read the objects of a file, or of standard input for ``-``. Raises UsageError.

    JSON of any size is read as a stream, with one object in memory at a time. It can be a List, as
    kubectl writes it, or a sequence of objects. YAML is limited to 8 MiB. Time grows with the
    square of an object's nesting depth. The API server accepts at most 10 000 levels, which take
    less than a second.
    """
    shown = "<stdin>" if path == "-" else path
    try:
        if path == "-":
            yield from _objects(sys.stdin.buffer, shown, 0)
            return
        with Path(path).open("rb", buffering=0) as stream:
            yield from _objects(stream, shown, Path(path).stat().st_size)
    except OSError as error:
        raise unreadable(shown, error) from None


def objects_of_json(text: bytes, shown: str) -> Iterator[Object]:
    """Read the objects of a JSON text, which is called ``shown`` in errors. Raises UsageError.

    Time and memory are the same as for a file, so callers must limit the nesting and size of
    untrusted text.
    """
    yield from _json(io.BytesIO(text), text[:_HEAD], shown)


def _objects(stream: IO[bytes], shown: str, size: int) -> Iterator[Object]:
    head = b""
    while len(head) < _HEAD and (more := stream.read(_HEAD - len(head))):
        head += more
    with Progress(f"reading {shown}", size, "MB", 10**6) as progress:
        source = _Counted(head, stream, progress)
        if head.lstrip().startswith(b"{"):
            yield from _json(source, head, shown)
        else:
            yield from _yaml(source, shown)


class _Counted(io.RawIOBase):
    """A stream that reports its progress. ``head`` is what has been read from it already."""

    def __init__(self, head: bytes, stream: IO[bytes], progress: Progress) -> None:
        self._head = head
        self._stream = stream
        self._progress = progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._head[: len(buffer)]
        if data:
            self._head = self._head[len(data) :]
        else:
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._progress.add(len(data))
        return len(data)


def _json(source: io.RawIOBase | io.BytesIO, head: bytes, shown: str) -> Iterator[Object]:
    try:
        import ijson
    except ImportError:
        raise UsageError(
            Message("plan needs ijson to read JSON, but it is not installed; run pip install ijson")
        ) from None
    try:
        kind = _kind_of_list(ijson, head)
        if kind is None:
            for found in ijson.items(
                source, "", multiple_values=True, use_float=True, buf_size=_CHUNK
            ):
                yield from _flattened(found, shown)
        else:
            for item in ijson.items(source, "items.item", use_float=True, buf_size=_CHUNK):
                if not isinstance(item, dict):
                    raise UsageError(Message("an item is not a Kubernetes object"), shown)
                if kind:
                    item.setdefault("kind", kind)
                yield from _flattened(item, shown)
    except ijson.JSONError as error:
        if "trailing garbage" in str(error):
            raise UsageError(
                Message("there is more data after the List; specify each List with its own -f"),
                shown,
            ) from None
        first = error.args[0] if error.args else ""
        text = first.decode(errors="replace") if isinstance(first, bytes) else str(first)
        reason = Quoted(text.partition("\n")[0])
        message = Message("{file} is not JSON: {reason}", file=shown, reason=reason)
        raise UsageError(message) from None


def _kind_of_list(ijson: Any, head: bytes) -> str | None:
    """Return the kind of a List's items, empty if each has its own, or None if it is not a List."""
    kind = None
    try:
        for prefix, event, value in ijson.parse(io.BytesIO(head)):
            if (prefix, event) == ("kind", "string"):
                kind = value
                if not kind.endswith("List"):
                    return None
            elif (prefix, event) == ("items", "start_array"):
                return (kind or "").removesuffix("List")
    except ijson.JSONError:  # the head ends in the middle of a value
        pass
    return None


def _flattened(found: Any, shown: str) -> Iterator[Object]:
    """Yield the object itself, or the items of a List."""
    if not isinstance(found, dict):
        raise UsageError(Message("a value is not a Kubernetes object"), shown)
    items, kind = found.get("items"), str(found.get("kind"))
    if kind.endswith("List") and isinstance(items, list):
        of_items = kind.removesuffix("List")
        for item in items:
            if isinstance(item, dict) and of_items:
                item.setdefault("kind", of_items)
            yield from _flattened(item, shown)
    else:
        yield found


def _yaml(source: _Counted, shown: str) -> Iterator[Object]:
    try:
        text = read_text(io.BufferedReader(source))
        for manifest in read_manifests(text):
            yield from _flattened(manifest.value, shown)
    except UnicodeDecodeError:
        raise UsageError(Message("{file} is not UTF-8 text", file=shown)) from None
    except TextError as error:
        raise UsageError(error.message, shown, *error.position) from None
    except ValueError as error:
        raise UsageError(message_of(error), shown) from None


def objects_of_cluster() -> Iterator[Object]:
    """List namespaces, workloads and pods, page by page. Raises UsageError.

    Workloads that the user is not allowed to list are left out, with a message on standard error.
    """
    source = cluster()
    try:
        yield from _listed(source, "v1", "namespaces", "Namespace")
        for kind, resource, versions in _WORKLOADS:
            yield from _workloads(source, kind, resource, versions)
        yield from _listed(source, "v1", "pods", "Pod")
    except SourceError as error:
        raise UsageError(message_of(error)) from None


def _workloads(
    source: ClusterSource, kind: str, resource: str, versions: Sequence[str]
) -> Iterator[Object]:
    for version in versions:
        try:
            yield from _listed(source, version, resource, kind)
        except NotFoundError:
            continue
        except ForbiddenError as error:
            complain(
                Message(
                    "{resource} are left out because they can't be listed: {reason}",
                    resource=resource,
                    reason=message_of(error),
                )
            )
        return


def _listed(source: ClusterSource, version: str, resource: str, kind: str) -> Iterator[Object]:
    with Progress(f"reading {resource}", 0, "objects") as progress:
        for items, remaining in source.pages(version, resource, kind):
            progress.add(len(items), remaining)
            yield from items
