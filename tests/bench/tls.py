"""Serves a function over TLS with uvicorn, as functions-framework's command can't.

``python -m bench.tls SOURCE PORT CERTIFICATE KEY``
"""

from __future__ import annotations

import sys

import uvicorn
from functions_framework.aio import create_asgi_app

if __name__ == "__main__":
    source, port, certificate, key = sys.argv[1:]
    uvicorn.run(
        create_asgi_app("admit", source, "http"),  # type: ignore[no-untyped-call]
        host="127.0.0.1",
        port=int(port),
        log_level="error",
        access_log=False,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
