"""Starts the function on each supported host."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from server import ROOT, Server, free_port, running, serving

SERVE = [sys.executable, "-m", "handler.serve"]

# Same as templates/python/scaffolding/instanced-http/service/main.py in
# https://github.com/knative/func (c18d6045a1b0).
FUNC_SERVICE = """
from func_python.http import serve
from function import new as handler
serve(handler)
"""


def functions_framework(
    environment: Mapping[str, str], log: Path
) -> AbstractContextManager[Server]:
    return serving(environment, log)


def container(
    environment: Mapping[str, str], log: Path, tls: ssl.SSLContext | None = None
) -> AbstractContextManager[Server]:
    port = free_port()
    defaults = {"PORT": str(port), "ECI_PROFILE_DRAIN": "0"}
    return running(SERVE, port, {**defaults, **environment}, log, tls)


def knative_func(environment: Mapping[str, str], log: Path) -> AbstractContextManager[Server]:
    port = free_port()
    python = str(ROOT / ".venv-func" / "bin" / "python")
    address = {"LISTEN_ADDRESS": f"127.0.0.1:{port}"}
    return running([python, "-c", FUNC_SERVICE], port, {**address, **environment}, log)


@contextlib.contextmanager
def openfaas(environment: Mapping[str, str], log: Path) -> Iterator[Server]:
    """Run OpenFaaS's template, with the function as a package next to it."""
    directory = log.with_suffix(".home")
    directory.mkdir()
    (directory / "function").symlink_to(ROOT / "handler")
    index = str(directory / "index.py")
    shutil.copy(Path(__file__).with_name("openfaas.py"), index)
    port = free_port()
    with running([sys.executable, index, str(port)], port, environment, log) as server:
        yield server


HOSTS: Mapping[str, Callable[[Mapping[str, str], Path], AbstractContextManager[Server]]] = {
    "functions-framework": functions_framework,
    "container": container,
    "knative-func": knative_func,
    "openfaas": openfaas,
}
