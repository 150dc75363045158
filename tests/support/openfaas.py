"""The wrapper that OpenFaaS's template python3-http puts around the function, with its server.

It follows template/python3-http/index.py of https://github.com/openfaas/python-flask-template
(e01a8826291d): fields of the event, allowed methods and handling of responses. The template always
listens on port 5000; here the port is an argument.
"""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

from flask import Flask, jsonify, request
from function import handler  # type: ignore[import-not-found]
from waitress import serve

METHODS = ["GET", "PUT", "POST", "PATCH", "DELETE"]

app = Flask(__name__)


@app.route("/", defaults={"path": ""}, methods=METHODS)
@app.route("/<path:path>", methods=METHODS)
def call_handler(path: str) -> Any:
    event = SimpleNamespace(
        body=request.get_data(),
        headers=request.headers,
        method=request.method,
        query=request.args,
        path=request.path,
    )
    context = SimpleNamespace(hostname=os.getenv("HOSTNAME", "localhost"))
    response = handler.handle(event, context)
    body = response.get("body", "")
    headers = response.get("headers", [])
    return (
        jsonify(body) if type(body) is dict else str(body),
        response.get("statusCode", 200),
        list(headers.items()) if type(headers) is dict else headers,
    )


if __name__ == "__main__":
    serve(app, host="127.0.0.1", port=int(sys.argv[1]))
