"""What the function knows of the cluster: the profile in force and the namespaces' labels."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .cache import LOAD_SECONDS, Cache, Health, LoadError
from .current import ProfileLoader, State
from .source import NotFoundError, Source, SourceError

__all__ = ["NAMESPACE_THREADS", "Store"]

T = TypeVar("T")

NAMESPACE_THREADS = 16
"""How many namespaces are read at once."""
_NAMESPACES = 10_000  # as many as Kubernetes is made for
_NAMESPACE_KEPT = 600.0  # seconds


class Store:
    """Reads lazily, and keeps what it read for a TTL in seconds. For use on one event loop."""

    def __init__(self, source: Source, namespace: str, name: str, ttl: float) -> None:
        self.namespace = namespace
        self.name = name
        self._source = source
        self._loader = ProfileLoader(source, namespace, name)
        health = Health()
        self._profile = Cache(
            "profile",
            _in_threads("profile", 1, self._loader.load),
            ttl=ttl,
            keep=math.inf,
            size=1,
            health=health,
        )
        self._namespaces = Cache(
            "namespace",
            _in_threads("namespace", NAMESPACE_THREADS, self._read_namespace),
            ttl=ttl,
            keep=_NAMESPACE_KEPT,
            size=_NAMESPACES,
            health=health,
        )
        self._key = f"{namespace}/{name}"
        self._reports: set[asyncio.Future[None]] = set()

    def preload(self) -> None:
        """Read the profile ahead of the first review. Raises LoadError."""
        self._loader.load()

    async def profile(self, *, report: bool = True) -> State:
        """The state of the profile. An invalid one is reported once, if it is to be.

        Raises LoadError if it was never read.
        """
        state = await self._profile.get(self._key)
        if report and state.errors and not state.reported:
            state.reported = True
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(None, self._loader.report, state)
            self._reports.add(future)
            future.add_done_callback(self._reports.discard)
        return state

    async def namespace_labels(self, name: str, within: float = LOAD_SECONDS) -> Mapping[str, str]:
        """The labels of a namespace; a read is waited for as many seconds. Raises LoadError."""
        return await self._namespaces.get(name, within)

    def _read_namespace(self, name: str) -> Mapping[str, str]:
        try:
            return self._source.namespace_labels(name)
        except SourceError as error:
            gone = isinstance(error, NotFoundError)
            raise LoadError(str(error), gone=gone, retry_after=error.retry_after) from None


def _in_threads(name: str, threads: int, read: Callable[[str], T]) -> Callable[[str], Awaitable[T]]:
    """The same read, in as many threads of its own."""
    executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def load(key: str) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, read, key)

    return load
