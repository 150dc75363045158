"""A cache for slow reads, with a TTL, refresh-ahead, and the last good value on failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache, TTLCache

from ..telemetry.metrics import LOADS, USES

__all__ = ["LOAD_SECONDS", "Cache", "Health", "LoadError"]

T = TypeVar("T")

# Well below the timeout of the registrations, so that the response still arrives in time.
LOAD_SECONDS = 1.8
"""How long a load may take."""
_RETRY_SECONDS = 1.0
_SLOW_SECONDS = 0.25  # after a slower failure, no other lookup waits
_UNRESPONSIVE_SECONDS = 15.0  # longer than the period of a readiness probe
_MOST_LOGGED = 100
_LOG_AGAIN = 600.0  # seconds

_log = logging.getLogger("eci-profile")


class LoadError(Exception):
    """A value cannot be loaded.

    ``gone``: the source answered that the value does not exist, so the last good one is dropped.
    ``retry_after``: seconds to wait before the next load, if the source gave them.
    """

    def __init__(self, message: str, *, gone: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.gone = gone
        self.retry_after = retry_after


@dataclass(slots=True)
class _Entry(Generic[T]):
    value: T
    loaded: float
    used: bool = False


@dataclass(frozen=True, slots=True)
class _Failure:
    error: LoadError
    retry: float  # not loaded again before


class Health:
    """Whether the source that several caches share is slow to fail, so that nobody should wait."""

    def __init__(self) -> None:
        self._unresponsive_until = 0.0

    def succeeded(self) -> None:
        """Note that a load succeeded."""
        self._unresponsive_until = 0.0

    def failed(self, now: float, seconds: float) -> None:
        """Note that a load failed after so many seconds."""
        slow = seconds >= _SLOW_SECONDS
        self._unresponsive_until = now + _UNRESPONSIVE_SECONDS if slow else 0.0

    def unresponsive(self, now: float) -> bool:
        """Whether the last load failed slowly and recently."""
        return now < self._unresponsive_until


class Cache(Generic[T]):
    """Values by key, for use on one event loop.

    - A value younger than ``ttl`` seconds is returned from memory.
    - An older one is loaded first. Concurrent lookups share one load.
    - A value in use is loaded again shortly before it expires, so that no lookup waits.
    - If the load fails, the last good value is returned for ``keep`` seconds; without one,
      LoadError is raised. A value in use is loaded again each second, in the background.
    - While the source is unresponsive to any cache with the same ``health``, the last good value
      is returned at once and loaded in the background.

    At most ``size`` keys are kept, the last used. The age of a value counts from the start of its
    load. Times are those of the event loop.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[str], Awaitable[T]],
        *,
        ttl: float,
        keep: float,
        size: int,
        health: Health,
    ) -> None:
        self._name = name
        self._load = load
        self._ttl = ttl
        self._keep = keep
        self._entries: LRUCache[str, _Entry[T]] = LRUCache(size)
        self._failures: LRUCache[str, _Failure] = LRUCache(size)
        self._loads: dict[str, asyncio.Task[T]] = {}
        self._health = health
        # The reasons that were logged, with the key. They expire, so that a lasting one is logged
        # again, and one whose key is never loaded again is forgotten.
        self._logged: TTLCache[str, str] = TTLCache(_MOST_LOGGED, _LOG_AGAIN, timer=_now)
        self._fresh, self._loaded, self._stale, self._failed_uses = (
            USES.labels(name, result) for result in ("fresh", "loaded", "stale", "failed")
        )
        self._ok_loads, self._failed_loads = (
            LOADS.labels(name, result) for result in ("ok", "failed")
        )

    async def get(self, key: str, within: float = LOAD_SECONDS) -> T:
        """Return the value of the key, waiting at most ``within`` seconds for a load.

        Raises LoadError if it cannot be loaded and there is no last good value.
        """
        now = _now()
        entry = self._entries.get(key)
        if entry is not None:
            entry.used = True
            age = now - entry.loaded
            if age < self._ttl:
                self._fresh.value += 1
                return entry.value
            if age >= self._keep:
                del self._entries[key]
                entry = None
        failure = self._failures.get(key)
        if failure and now < failure.retry:
            error = failure.error
        elif entry and (self._health.unresponsive(now) or (failure and key in self._loads)):
            self._start(key)
            self._stale.value += 1
            return entry.value
        else:
            try:
                value = await asyncio.wait_for(asyncio.shield(self._start(key)), within)
            except (LoadError, asyncio.TimeoutError) as raised:
                error = _load_error(raised)
                entry = self._entries.get(key)
            else:
                self._loaded.value += 1
                return value
        if entry is None:
            self._failed_uses.value += 1
            raise LoadError(f"{self._name} {key}: {error}")
        self._stale.value += 1
        return entry.value

    def failure(self, key: str) -> str | None:
        """Why the value of the key is the last good one, if its last load failed."""
        failure = self._failures.get(key)
        return str(failure.error) if failure else None

    async def reload(self, key: str) -> T:
        """Load the value, by a load that begins after this call. Raises LoadError."""
        if running := self._loads.get(key):
            await asyncio.wait([running])
        return await asyncio.shield(self._start(key))

    def _start(self, key: str) -> asyncio.Task[T]:
        task = self._loads.get(key)
        if task is None:
            task = self._loads[key] = asyncio.create_task(self._refresh(key))
            task.add_done_callback(_retrieve)
        return task

    async def _refresh(self, key: str) -> T:
        began = _now()
        try:
            value = await asyncio.wait_for(self._load(key), LOAD_SECONDS)
        except Exception as raised:
            error = _load_error(raised)
            self._failed(key, error, _now() - began)
            raise error from None
        finally:
            del self._loads[key]
        self._ok_loads.inc()
        self._health.succeeded()
        self._recovered(key)
        entry = self._entries[key] = _Entry(value, began)
        took = _now() - began
        ahead = max(0.1 * self._ttl, min(3 * took, 0.5 * self._ttl))
        self._refresh_later(max(0.0, self._ttl - took - ahead), key, entry)
        return value

    def _refresh_later(self, seconds: float, key: str, entry: _Entry[T]) -> None:
        def refresh_if_used() -> None:
            if entry.used and self._entries.get(key) is entry:
                self._start(key)

        asyncio.get_running_loop().call_later(seconds, refresh_if_used)

    def _failed(self, key: str, error: LoadError, seconds: float) -> None:
        now = _now()
        self._failed_loads.inc()
        self._health.failed(now, seconds)
        pause = min(max(error.retry_after, _RETRY_SECONDS), self._ttl)
        self._failures[key] = _Failure(error, now + pause)
        entry = self._entries.get(key)
        if error.gone:
            self._entries.pop(key, None)
            message = "does not exist"
        elif entry is not None:
            entry.used = False
            self._refresh_later(pause, key, entry)
            message = "can't be loaded, the last good one stays in force"
        else:
            message = "can't be loaded, and there is none yet"
        # Each reason is logged once: an outage has the same reason for all keys.
        if (reason := str(error)) not in self._logged:
            self._logged[reason] = key
            _log.warning(message, extra={"cache": self._name, "key": key, "reason": reason})

    def _recovered(self, key: str) -> None:
        failure = self._failures.pop(key, None)
        if failure is None:
            return
        last = str(failure.error)
        over = [
            each for each in list(self._logged) if each == last or self._logged.get(each) == key
        ]
        for reason in over:
            self._logged.pop(reason, None)
        if over:
            _log.info("can be loaded again", extra={"cache": self._name, "key": key})


def _now() -> float:
    return asyncio.get_running_loop().time()


def _load_error(error: Exception) -> LoadError:
    match error:
        case LoadError():
            return error
        case asyncio.TimeoutError():
            return LoadError("timed out")
        case _:
            _log.error("unexpected error in a load", exc_info=error)
            return LoadError(f"unexpected {type(error).__name__}: {error}")


def _retrieve(task: asyncio.Task[T]) -> None:
    """Retrieve the exception, so that asyncio does not report it as never retrieved."""
    if not task.cancelled():
        task.exception()
