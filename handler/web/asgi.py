"""The function behind an ASGI server: Starlette's requests and responses."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from .function import Answer, Function

__all__ = ["Reply", "respond"]


class Reply(Response):
    """An answer as Starlette has it."""

    def __init__(self, answer: Answer) -> None:
        # Not by the base's constructor, which makes out for each answer what is known here.
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
        return Reply(Answer(400, b"", {}))  # nobody is there to read it
    # Not request.url.path: that puts a URL together and takes it apart, for each request.
    scope = request.scope
    return Reply(await function.answer(scope["method"], scope["path"], body))


async def _body(receive: Receive, limit: int) -> bytes | None:
    """Return the whole body, or None if it is longer than the limit, in bytes.

    The rest of a long one is read and dropped, since a client that still sends sees no answer.
    Raises EOFError if the client goes away meanwhile.
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
