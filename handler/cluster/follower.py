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

_PERIOD = 5.0  # seconds between checks of the registration, if nothing has changed
_RETRY_SECONDS = 1.0
_ATTEMPTS = 8  # conflicting writes; the other replicas usually write the same
_LOG_AGAIN = 600.0  # seconds

_UNCHANGED, _WRITTEN, _CONFLICT, _FAILED = (
    REGISTRATION_CHECKS.labels(result) for result in ("unchanged", "written", "conflict", "failed")
)
_log = logging.getLogger("eci-profile")


class Follower:
    """Writes the registration when it or the profile has changed.

    Each replica has one, on its event loop. A replica never reverts what another one wrote for a
    newer profile: it reads the registration first, then the profile, and the API server refuses the
    write if the registration has changed meanwhile. After a failure the registration stays as it
    is until a retry succeeds.

    ``newest`` reads the profile without the cache. Raises LoadError.
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
        self._next = 0.0  # next check if the profile is unchanged
        self._retry = 0.0  # next check if it has changed
        self._reason = ""  # of the last failure, until something succeeds
        self._log_again = 0.0
        self._stopped = False

    def follow(self, state: State) -> None:
        """Update the registration in the background for the profile in force."""
        if self._task is not None or self._stopped:
            return
        if _now() >= (self._next if state is self._followed else self._retry):
            self._task = asyncio.create_task(self._look(state))
            self._task.add_done_callback(self._looked)

    def stop(self) -> None:
        """Start no more updates, because the process is about to end."""
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
                _log.info("the registration can be updated again")

    async def _bring_up_to_date(self, state: State) -> State:
        """Compare and write the registration; return the profile that it follows now.

        Raises LoadError, SourceError, and ValueError if the registration is invalid.
        """
        for attempt in range(_ATTEMPTS):
            found = await self._in_thread(self._registrations.registration, self._name)
            if await self._in_thread(_wanted, found, state) == found:
                _UNCHANGED.inc()
                return state
            # Another replica may have written it for a newer profile.
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
                "the registration was updated for the profile",
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
                else "the registration can't be updated and stays as it is",
                extra={"registration": self._name, "reason": reason},
            )


def _wanted(found: dict[str, Any], state: State) -> dict[str, Any]:
    """Return what the registration should be. Raises ValueError."""
    if state.matcher is None or not found.get("webhooks"):
        return found  # without webhooks, the installation's Job has yet to write the wide one
    narrow = narrowed(found, state.matcher.profile)
    # Replicas may have different last good profiles, so only the wide form is safe.
    return widened(found) if state.errors and narrow != found else narrow


def _now() -> float:
    return asyncio.get_running_loop().time()
