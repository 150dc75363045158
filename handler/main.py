"""The entry for functions-framework: ``--source handler/main.py --target admit``."""

from __future__ import annotations

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response

from .start import function
from .web.asgi import respond

_function = function()


@functions_framework.aio.http
async def admit(request: Request) -> Response:
    """Answer an HTTP request."""
    return await respond(_function, request)
