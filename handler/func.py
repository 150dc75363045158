"""The entry for Knative func: its server calls ``new()`` and then the instance's methods.

https://github.com/knative/func/blob/main/docs/function-templates/python.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from .start import function
from .web.asgi import respond
from .web.function import Function

__all__ = ["new"]


class _Instance:
    def __init__(self, function: Function) -> None:
        self._function = function
        self._readiness = False, "the profile has not been read yet"
        self._look: asyncio.Task[None] | None = None

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an HTTP request, as an ASGI application does."""
        response = await respond(self._function, Request(scope, receive))
        await response(scope, receive, send)

    def start(self, cfg: Mapping[str, str]) -> None:
        """Start to load the profile. The settings in ``cfg`` are those of the environment."""
        self.ready()

    def stop(self) -> None:
        """Stop being ready."""
        self._function.stop()

    def alive(self) -> tuple[bool, str]:
        """Answer /health/liveness."""
        return True, "alive"

    def ready(self) -> tuple[bool, str]:
        """Answer /health/readiness with the result of the last check, and start another one.

        It is called on the event loop and cannot wait. GET /readyz gives the exact answer.
        """
        if self._look is None or self._look.done():
            self._look = asyncio.get_running_loop().create_task(self._look_again())
        return self._readiness

    async def _look_again(self) -> None:
        answer = await self._function.answer("GET", "/readyz")
        self._readiness = answer.status == 200, answer.body.decode()


def new() -> _Instance:
    """Return the instance for func.

    Exits the process with one sentence if a setting is invalid or a file cannot be read.
    """
    return _Instance(function())
