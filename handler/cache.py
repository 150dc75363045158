"""A cache in front of slow reads: fresh within a TTL, refreshed ahead, last good in trouble."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache, TTLCache

from .metrics import LOADS, USES

__all__ = ["Cache", "Health", "LoadError"]

T = TypeVar("T")

# Well below the time-out of a registration, so that our own answer still arrives.
LOAD_SECONDS = 1.8
"""How long a load may take."""
_RETRY_SECONDS = 1.0
_MOST_TOLD = 100
_TELL_AGAIN = 600.0  # seconds

_log = logging.getLogger("eci-profile")


class LoadError(Exception):
    """A value can't be had.

    ``answered``: the source did answer, so it is at work; just this value can't be had.
    ``gone``: it answered that there is none, so the last good one doesn't count either.
    ``retry_after``: in how many seconds to ask again, if the source said so.
    """

    def __init__(
        self,
        message: str,
        *,
        answered: bool = False,
        gone: bool = False,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.answered = answered
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
    retry: float  # until then the source is not asked again


@dataclass(slots=True)
class Health:
    """Whether the source that several caches share answered their last load."""

    answers: bool = True


class Cache(Generic[T]):
    """Values by key, loaded in threads, for use on one event loop.

    - Younger than ``ttl`` seconds: from memory, at once.
    - Older: loaded again first. Many look-ups at once cause one load.
    - In use: loaded again a little before it is too old, so that no look-up waits.
    - Not loadable: the last good one, for ``keep`` seconds; without one, LoadError. While in use,
      the source is asked again each second, in the background. While it doesn't answer any cache
      with the same ``health``, no look-up that has a last good one waits.

    The time of a value is the time at which its load began. Times are monotonic.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[str], T],
        *,
        ttl: float,
        keep: float,
        size: int,
        threads: int,
        health: Health,
    ) -> None:
        self._name = name
        self._load = load
        self._ttl = ttl
        # What is kept for ever needs no clock.
        self._entries: MutableMapping[str, _Entry[T]] = (
            {} if keep == math.inf else TTLCache(size, keep, timer=time.monotonic)
        )
        self._failures: LRUCache[str, _Failure] = LRUCache(size)
        self._loads: dict[str, asyncio.Task[T]] = {}
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._health = health
        # The reasons that were logged, and for which key. Cleared in time, so that a lasting one is
        # repeated and one whose key is never loaded again is not held for known for ever.
        self._told: TTLCache[str, str] = TTLCache(_MOST_TOLD, _TELL_AGAIN, timer=time.monotonic)
        self._uses = {
            result: USES.labels(name, result) for result in ("fresh", "loaded", "stale", "failed")
        }
        self._counts = {result: LOADS.labels(name, result) for result in ("ok", "failed")}

    def fresh(self, key: str) -> T | None:
        """The value of the key if it is in memory and young enough: `get` without its cost."""
        try:
            entry = self._entries[key]
        except KeyError:
            return None
        if time.monotonic() - entry.loaded >= self._ttl:
            return None
        entry.used = True
        self._uses["fresh"].inc()
        return entry.value

    async def get(self, key: str, within: float = LOAD_SECONDS) -> T:
        """The value of the key, which is waited for as many seconds.

        Raises LoadError if it can't be loaded and no last good one is kept.
        """
        value = self.fresh(key)
        if value is not None:
            return value
        entry = self._entries.get(key)
        if entry is not None:
            entry.used = True
        failure = self._failures.get(key)
        # In trouble, only those who have nothing else wait for an attempt that is under way.
        if failure and (time.monotonic() < failure.retry or (entry and key in self._loads)):
            error = failure.error
        elif entry is not None and not self._health.answers:
            self._start(key)
            self._uses["stale"].inc()
            return entry.value
        else:
            try:
                value = await asyncio.wait_for(asyncio.shield(self._start(key)), within)
            except (LoadError, asyncio.TimeoutError) as raised:
                error = _load_error(raised)
                entry = self._entries.get(key)
            else:
                self._uses["loaded"].inc()
                return value
        if entry is None:
            self._uses["failed"].inc()
            raise LoadError(f"{self._name} {key}: {error}")
        self._uses["stale"].inc()
        return entry.value

    def _start(self, key: str) -> asyncio.Task[T]:
        task = self._loads.get(key)
        if task is None:
            task = self._loads[key] = asyncio.create_task(self._refresh(key))
            task.add_done_callback(_retrieve)
        return task

    async def _refresh(self, key: str) -> T:
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        try:
            load = loop.run_in_executor(self._threads, self._load, key)
            value = await asyncio.wait_for(load, LOAD_SECONDS)
        except Exception as raised:
            error = _load_error(raised)
            self._failed(key, error)
            raise error from None
        finally:
            del self._loads[key]
        self._counts["ok"].inc()
        self._health.answers = True
        self._recovered(key)
        entry = self._entries[key] = _Entry(value, began)
        took = time.monotonic() - began
        ahead = max(0.1 * self._ttl, min(3 * took, 0.5 * self._ttl))
        loop.call_later(max(0.0, self._ttl - took - ahead), self._refresh_if_used, key, entry)
        return value

    def _refresh_if_used(self, key: str, entry: _Entry[T]) -> None:
        if entry.used and self._entries.get(key) is entry:
            self._start(key)

    def _failed(self, key: str, error: LoadError) -> None:
        self._counts["failed"].inc()
        self._health.answers = error.answered
        pause = min(max(error.retry_after, _RETRY_SECONDS), self._ttl)
        self._failures[key] = _Failure(error, time.monotonic() + pause)
        entry = self._entries.get(key)
        if error.gone:
            self._entries.pop(key, None)
            what = "does not exist"
        elif entry is not None:
            what = "can't be loaded, the last good one stays in force"
            entry.used = False
            asyncio.get_running_loop().call_later(pause, self._refresh_if_used, key, entry)
        else:
            what = "can't be loaded, and there is none yet"
        # An outage has one reason for all keys, so it is logged once; a key's own reason too.
        if (reason := str(error)) not in self._told:
            self._told[reason] = key
            _log.warning(what, extra={"cache": self._name, "key": key, "reason": reason})

    def _recovered(self, key: str) -> None:
        failure = self._failures.pop(key, None)
        if failure is None:
            return
        last = str(failure.error)
        over = [each for each in list(self._told) if each == last or self._told.get(each) == key]
        for reason in over:
            self._told.pop(reason, None)
        if over:
            _log.info("can be loaded again", extra={"cache": self._name, "key": key})


def _load_error(error: Exception) -> LoadError:
    match error:
        case LoadError():
            return error
        case asyncio.TimeoutError():
            return LoadError("no answer in time")
        case _:
            _log.error("unexpected error in a load", exc_info=error)
            return LoadError(f"unexpected {type(error).__name__}: {error}")


def _retrieve(task: asyncio.Task[T]) -> None:
    """Look at the outcome, so that asyncio doesn't report it as never retrieved."""
    if not task.cancelled():
        task.exception()
