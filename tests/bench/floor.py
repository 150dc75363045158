"""A minimal functions-framework ASGI function: reads the body and returns constant bytes."""

from __future__ import annotations

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response

_ANSWER = b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {}}'
_HEADERS = {"content-type": "application/json"}


@functions_framework.aio.http
async def admit(request: Request) -> Response:
    await request.body()
    return Response(_ANSWER, 200, _HEADERS)
