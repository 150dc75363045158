"""What the function knows of the cluster: the profile in force and the namespaces' labels."""

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
_NAMESPACES = 10_000  # as many as Kubernetes is made for
_NAMESPACE_KEPT = 600.0  # seconds
NODE_THREADS = 4
POD_THREADS = 16
"""How many nodes, and how many pods, are read at once."""
THREADS = 2 + NAMESPACE_THREADS + NODE_THREADS + POD_THREADS
"""How many calls there may be at once, with those for the profile and the registration."""
_NODES = 10_000
_NODE_KEPT = 600.0  # seconds


class Store:
    """Reads lazily, and keeps what it read for a TTL in seconds. For use on one event loop."""

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
        """Read the profile ahead of the first review. Raises LoadError."""
        self._loader.load()

    def keep_registration(self, registrations: Registrations, name: str) -> None:
        """Have this registration follow the profile from now on."""
        newest = partial(self._profile.reload, self._key)
        self._follower = Follower(registrations, name, newest)

    def look_after_registration(self) -> None:
        """See to a registration that follows the profile, if there is one. Waits for nothing."""
        if self._follower:
            self._in_background(asyncio.ensure_future(self._follow()))

    def stop(self) -> None:
        """Leave the registration alone, since the process is about to end."""
        if self._follower:
            self._follower.stop()

    async def profile(self, *, report: bool = True) -> State:
        """The state of the profile. An invalid one is reported once, if it is to be.

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
        """Why this state's profile is not the one that is written down, if that is known."""
        if state.errors:
            return f"the profile is invalid: {state.errors}"
        return self._profile.failure(self._key)

    async def namespace_labels(self, name: str, within: float = LOAD_SECONDS) -> Mapping[str, str]:
        """The labels of a namespace; a read is waited for as many seconds. Raises LoadError."""
        return await self._namespaces.get(name, within)

    async def node_labels(self, name: str, within: float = LOAD_SECONDS) -> Mapping[str, str]:
        """The labels of a node; a read is waited for as many seconds. Raises LoadError."""
        return await self._nodes.get(name, within)

    async def pod(self, namespace: str, name: str, within: float) -> tuple[str, Pod]:
        """The uid of a pod that is to be bound, and the pod, as it is now. Raises LoadError.

        It is not kept: a pod is bound once.
        """
        try:
            found = await asyncio.wait_for(self._read_pod(f"{namespace}/{name}"), max(within, 0.0))
        except asyncio.TimeoutError:
            raise LoadError(f"pod {namespace}/{name}: no answer in time") from None
        owners = [OwnerReference("DaemonSet", True)] if found.of_daemonset else None
        metadata = Metadata(
            name=name,
            labels=dict(found.labels),
            annotations=dict(found.annotations),
            owner_references=owners,
        )
        return found.uid, Pod(metadata=metadata)

    async def _follow(self) -> None:
        with contextlib.suppress(LoadError):  # which the cache logs
            await self.profile(report=False)

    def _in_background(self, future: asyncio.Future[None]) -> None:
        self._background.add(future)
        future.add_done_callback(self._background.discard)

    def _pod_of(self, key: str) -> PodObject:
        namespace, _, name = key.partition("/")
        return self._source.pod(namespace, name)


def _read(read: Callable[[str], T], key: str) -> T:
    """What a source has, or a LoadError that says why not."""
    try:
        return read(key)
    except SourceError as error:
        gone = isinstance(error, NotFoundError)
        raise LoadError(str(error), gone=gone, retry_after=error.retry_after) from None


def _in_threads(name: str, threads: int, read: Callable[[str], T]) -> Callable[[str], Awaitable[T]]:
    """The same read, in as many threads of its own."""
    executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def load(key: str) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, read, key)

    return load
