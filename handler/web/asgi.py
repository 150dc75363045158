"""The function behind an ASGI server: Starlette's requests and responses."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from .function import Answer, Function

__all__ = ["Reply", "respond"]


class Reply(Response):
    """An answer as a response of Starlette."""

    def __init__(self, answer: Answer) -> None:
        # Skips the constructor of the base class, which computes what is known here.
        self.status_code = answer.status
        self.body = answer.body
        self.background = None
        self.raw_headers = [
            *((name.encode(), value.encode()) for name, value in answer.headers.items()),
            (b"content-length", b"%d" % len(answer.body)),
        ]


async def respond(function: Function, request: Request) -> Reply:
    """Let the function answer a request."""
    try:
        body = await _body(request.receive, function.max_body)
    except EOFError:
        return Reply(Answer(400, b"", {}))  # the client has disconnected
    # Not request.url.path, which builds and parses a URL for each request.
    scope = request.scope
    return Reply(await function.answer(scope["method"], scope["path"], body))


async def _body(receive: Receive, limit: int) -> bytes | None:
    """Return the whole body, or None if it is longer than the limit, in bytes.

    The rest of a longer one is read and dropped, because a client that is still sending does not
    read the response. Raises EOFError if the client disconnects.
    """
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise EOFError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        else:
            chunks.clear()
        if not message.get("more_body") or size > 8 * limit:
            return b"".join(chunks) if size <= limit else None
