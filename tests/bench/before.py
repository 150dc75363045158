"""The image's previous server, before granian: uvicorn with h11 on asyncio, and Python's TLS.

``PORT``, ``ECI_PROFILE_TLS_DIR`` and the function's own settings are as for ``handler.serve``.
"""

from __future__ import annotations

import os

import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from handler.start import function
from handler.web.asgi import respond

_KEEP_ALIVE = 180  # seconds


def main() -> None:
    served = function()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        reply = await respond(served, Request(scope, receive))
        await reply(scope, receive, send)

    directory = os.environ["ECI_PROFILE_TLS_DIR"]
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        ssl_certfile=f"{directory}/tls.crt",
        ssl_keyfile=f"{directory}/tls.key",
    )


if __name__ == "__main__":
    main()
