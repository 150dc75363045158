"""Keeps the registration as narrow as the profile in force."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ..telemetry.metrics import REGISTRATION_CHECKS
from .cache import LoadError
from .current import State
from .registration import narrowed, widened
from .source import ConflictError, NotFoundError, Registrations, SourceError

__all__ = ["Follower"]

T = TypeVar("T")

_PERIOD = 5.0  # seconds from one look at the registration to the next, if nothing has changed
_RETRY_SECONDS = 1.0
_ATTEMPTS = 8  # writes that conflict with others'; those have written the same nearly always
_LOG_AGAIN = 600.0  # seconds

_UNCHANGED, _WRITTEN, _CONFLICT, _FAILED = (
    REGISTRATION_CHECKS.labels(result) for result in ("unchanged", "written", "conflict", "failed")
)
_log = logging.getLogger("eci-profile")


class Follower:
    """Writes the registration when the profile has changed, or somebody else has changed it.

    Each replica has one, on its event loop. No replica undoes what another has written for a newer
    profile: the registration is read first, then the profile, and the write is refused by the API
    server if the registration is not as it was read. What can't be read or written stays as it is,
    and is tried again.

    ``newest`` reads the profile, whatever the cache has. Raises LoadError.
    """

    def __init__(
        self, registrations: Registrations, name: str, newest: Callable[[], Awaitable[State]]
    ) -> None:
        self._registrations = registrations
        self._name = name
        self._newest = newest
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="registration")
        self._task: asyncio.Task[None] | None = None
        self._followed: State | None = None
        self._next = 0.0  # when to look again if the profile is the one that was followed
        self._retry = 0.0  # when to look again if it is not
        self._reason = ""  # of the last failure, if nothing has succeeded since
        self._log_again = 0.0
        self._stopped = False

    def follow(self, state: State) -> None:
        """Look after the registration, now that this profile is in force. Waits for nothing."""
        if self._task is not None or self._stopped:
            return
        if _now() >= (self._next if state is self._followed else self._retry):
            self._task = asyncio.create_task(self._look(state))
            self._task.add_done_callback(self._looked)

    def stop(self) -> None:
        """Begin nothing any more, since the process is about to end."""
        self._stopped = True

    def _looked(self, _: asyncio.Task[None]) -> None:
        self._task = None

    async def _look(self, state: State) -> None:
        began = _now()
        try:
            self._followed = await self._bring_up_to_date(state)
        except (LoadError, SourceError, ValueError) as error:
            self._failed(error)
        except Exception as error:
            _log.error("unexpected error in the registration", exc_info=error)
            self._failed(error)
        else:
            self._next, self._retry = began + _PERIOD, 0.0
            if self._reason:
                self._reason = ""
                _log.info("the registration can be kept up to date again")

    async def _bring_up_to_date(self, state: State) -> State:
        """The profile that the registration follows now.

        Raises LoadError, SourceError, and ValueError if the registration is not as it should be.
        """
        for attempt in range(_ATTEMPTS):
            found = await self._in_thread(self._registrations.registration, self._name)
            if await self._in_thread(_wanted, found, state) == found:
                _UNCHANGED.inc()
                return state
            # The registration may be another replica's, for a profile that is newer than ours.
            state = await self._newest()
            wanted = await self._in_thread(_wanted, found, state)
            if wanted == found:
                _UNCHANGED.inc()
                return state
            try:
                await self._in_thread(self._registrations.write_registration, self._name, wanted)
            except ConflictError:
                _CONFLICT.inc()
                await asyncio.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311
                continue
            _WRITTEN.inc()
            _log.info(
                "the registration follows the profile",
                extra={"registration": self._name, "webhooks": len(wanted["webhooks"])},
            )
            return state
        raise SourceError(f"{_ATTEMPTS} writes in a row conflicted with those of others")

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *arguments)

    def _failed(self, error: Exception) -> None:
        _FAILED.inc()
        self._followed = None
        self._retry = _now() + max(getattr(error, "retry_after", 0.0), _RETRY_SECONDS)
        reason = str(error)
        if reason != self._reason or _now() >= self._log_again:
            self._reason, self._log_again = reason, _now() + _LOG_AGAIN
            _log.warning(
                "the registration does not exist"
                if isinstance(error, NotFoundError)
                else "the registration can't be kept up to date, it stays as it is",
                extra={"registration": self._name, "reason": reason},
            )


def _wanted(found: dict[str, Any], state: State) -> dict[str, Any]:
    """What the registration should be, given what it is. Raises ValueError."""
    if state.matcher is None:
        return found
    narrow = narrowed(found, state.matcher.profile)
    # Replicas may have different last good profiles. If it is not this one's, none is safe.
    return widened(found) if state.errors and narrow != found else narrow


def _now() -> float:
    return asyncio.get_running_loop().time()
