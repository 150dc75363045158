"""The entry for OpenFaaS: its template python3-http calls ``handle`` in the server's threads.

https://docs.openfaas.com/languages/python/
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Protocol

from .start import function

__all__ = ["handle"]


class _Event(Protocol):
    """The fields that are used of the template's request."""

    body: bytes
    method: str
    path: str


_function = function()
# All threads share one loop, because the function and its caches belong to one.
_loop = asyncio.new_event_loop()
threading.Thread(target=_loop.run_forever, name="function", daemon=True).start()


def handle(event: _Event, context: object) -> dict[str, Any]:
    """Answer a request."""
    body = event.body if len(event.body) <= _function.max_body else None
    answer = asyncio.run_coroutine_threadsafe(
        _function.answer(event.method, event.path, body), _loop
    ).result()
    # The template calls str() on the body, which does not decode bytes.
    return {
        "statusCode": answer.status,
        "body": answer.body.decode(),
        "headers": dict(answer.headers),
    }
