"""The function behind an ASGI server: Starlette's requests and responses."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from .function import Answer, Function

__all__ = ["respond", "response"]


async def respond(function: Function, request: Request) -> Response:
    """Let the function answer a request."""
    try:
        body = await _body(request, function.max_body)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is there to read it
    # Not request.url.path: that puts a URL together and takes it apart, for each request.
    return response(await function.answer(request.method, request.scope["path"], body))


def response(answer: Answer) -> Response:
    """The answer as Starlette has it."""
    return Response(answer.body, answer.status, answer.headers)


async def _body(request: Request, limit: int) -> bytes | None:
    """Return the whole body, or None if it is longer than the limit, in bytes.

    The rest of a long one is read and dropped, since a client that still sends sees no answer.
    """
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        elif size > 8 * limit:
            break
        else:
            chunks.clear()
    return b"".join(chunks) if size <= limit else None
