"""The entry for functions-framework: ``--source handler/main.py --target admit``."""

from __future__ import annotations

import functions_framework.aio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from .start import function

_function = function()


@functions_framework.aio.http
async def admit(request: Request) -> Response:
    """Answer an HTTP request."""
    try:
        body = await _body(request)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is there to read it
    answer = await _function.answer(request.method, request.url.path, body)
    return Response(answer.body, answer.status, answer.headers)


async def _body(request: Request) -> bytes | None:
    """Return the whole body, or None if it is too long.

    The rest of a long one is read and dropped, since a client that still sends sees no answer.
    """
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= _function.max_body:
            chunks.append(chunk)
        elif size > 8 * _function.max_body:
            break
        else:
            chunks.clear()
    return b"".join(chunks) if size <= _function.max_body else None
