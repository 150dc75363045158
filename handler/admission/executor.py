"""Runs long computations off the event loop, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["BoundedExecutor", "BusyError"]

T = TypeVar("T")


class BusyError(Exception):
    """Too many computations are waiting."""

    def __init__(self) -> None:
        super().__init__("too many profiles are being checked; try again")


class BoundedExecutor:
    """Runs one computation at a time in its own thread, while at most ``queue`` others wait.

    So the cost is that of one computation, however many clients send at once.
    """

    def __init__(self, name: str, queue: int) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._free = queue + 1

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Run the function. Raises BusyError if too many wait, and what the function raises."""
        if not self._free:
            raise BusyError
        self._free -= 1
        future = self._thread.submit(function, *arguments)
        # Not when the caller ends: a cancelled caller does not stop the computation.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._free += 1
