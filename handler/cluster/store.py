"""The function's view of the cluster: the profile in force, and labels of namespaces and nodes."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from ..decision.pod import Metadata, OwnerReference, Pod
from .cache import LOAD_SECONDS, Cache, Health, LoadError
from .current import ProfileLoader, State
from .follower import Follower
from .source import NotFoundError, PodObject, Registrations, Source, SourceError

__all__ = ["THREADS", "Store"]

T = TypeVar("T")

NAMESPACE_THREADS = 16
"""How many namespaces are read at once."""
_NAMESPACES = 10_000  # the limit of Kubernetes' scalability targets
_NAMESPACE_KEPT = 600.0  # seconds
NODE_THREADS = 4
POD_THREADS = 16
"""How many nodes, and how many pods, are read at once."""
THREADS = 2 + NAMESPACE_THREADS + NODE_THREADS + POD_THREADS
"""The most calls at once, including those for the profile and the registration."""
_NODES = 10_000
_NODE_KEPT = 600.0  # seconds


class Store:
    """Reads lazily, and caches for a TTL in seconds. For use on one event loop."""

    def __init__(
        self,
        source: Source,
        namespace: str,
        name: str,
        ttl: float,
        node_ttl: float = 300.0,
        *,
        bindings: bool = False,
    ) -> None:
        self.namespace = namespace
        self.name = name
        self._source = source
        self._loader = ProfileLoader(source, namespace, name, bindings=bindings)
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
            _in_threads("namespace", NAMESPACE_THREADS, partial(_read, source.namespace_labels)),
            ttl=ttl,
            keep=_NAMESPACE_KEPT,
            size=_NAMESPACES,
            health=health,
        )
        self._nodes = Cache(
            "node",
            _in_threads("node", NODE_THREADS, partial(_read, source.node_labels)),
            ttl=node_ttl,
            keep=max(node_ttl, _NODE_KEPT),
            size=_NODES,
            health=health,
        )
        self._read_pod = _in_threads("pod", POD_THREADS, partial(_read, self._pod_of))
        self._key = f"{namespace}/{name}"
        self._background: set[asyncio.Future[None]] = set()
        self._follower: Follower | None = None

    def preload(self) -> None:
        """Read the profile before the first review. Raises LoadError."""
        self._loader.load()

    def keep_registration(self, registrations: Registrations, name: str) -> None:
        """Let this registration follow the profile from now on."""
        newest = partial(self._profile.reload, self._key)
        self._follower = Follower(registrations, name, newest)

    def look_after_registration(self) -> None:
        """Update the registration in the background, if one follows the profile."""
        if self._follower:
            self._in_background(asyncio.ensure_future(self._follow()))

    def stop(self) -> None:
        """Stop updating the registration, because the process is about to end."""
        if self._follower:
            self._follower.stop()

    async def profile(self, *, report: bool = True) -> State:
        """Return the state of the profile. If ``report``, an invalid one is reported once.

        Raises LoadError if it was never read.
        """
        state = await self._profile.get(self._key)
        if report and state.errors and not state.reported:
            state.reported = True
            loop = asyncio.get_running_loop()
            self._in_background(loop.run_in_executor(None, self._loader.report, state))
        if self._follower:
            self._follower.follow(state)
        return state

    def outdated(self, state: State) -> str | None:
        """Why the profile of this state is not the one in the ConfigMap, if known."""
        if state.errors:
            return f"the profile is invalid: {state.errors}"
        return self._profile.failure(self._key)

    def namespace_labels(
        self, name: str, within: float = LOAD_SECONDS
    ) -> Awaitable[Mapping[str, str]]:
        """Return the labels of a namespace within so many seconds. Raises LoadError."""
        return self._namespaces.get(name, within)

    def node_labels(self, name: str, within: float = LOAD_SECONDS) -> Awaitable[Mapping[str, str]]:
        """Return the labels of a node within so many seconds. Raises LoadError."""
        return self._nodes.get(name, within)

    async def pod(self, namespace: str, name: str, within: float) -> tuple[str, Pod]:
        """Return the uid of a pod that is being bound, and the pod, uncached. Raises LoadError.

        A pod is bound only once.
        """
        try:
            found = await asyncio.wait_for(self._read_pod(f"{namespace}/{name}"), max(within, 0.0))
        except asyncio.TimeoutError:
            raise LoadError(f"pod {namespace}/{name}: timed out") from None
        owners = [OwnerReference("DaemonSet", True)] if found.of_daemonset else None
        metadata = Metadata(
            name=name,
            labels=dict(found.labels),
            annotations=dict(found.annotations),
            owner_references=owners,
        )
        return found.uid, Pod(metadata=metadata)

    async def _follow(self) -> None:
        with contextlib.suppress(LoadError):  # logged by the cache
            await self.profile(report=False)

    def _in_background(self, future: asyncio.Future[None]) -> None:
        self._background.add(future)
        future.add_done_callback(self._background.discard)

    def _pod_of(self, key: str) -> PodObject:
        namespace, _, name = key.partition("/")
        return self._source.pod(namespace, name)


def _read(read: Callable[[str], T], key: str) -> T:
    """Read from a source; a failure becomes a LoadError."""
    try:
        return read(key)
    except SourceError as error:
        gone = isinstance(error, NotFoundError)
        raise LoadError(str(error), gone=gone, retry_after=error.retry_after) from None


def _in_threads(name: str, threads: int, read: Callable[[str], T]) -> Callable[[str], Awaitable[T]]:
    """Return the read as a coroutine that runs it in so many threads of its own."""
    executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def load(key: str) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, read, key)

    return load
