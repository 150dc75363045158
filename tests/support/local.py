"""The function in this process, without a server and with a clock that tests can advance."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from server import ROOT, Reply, Service, clean_environment, series

from handler.start import function
from handler.web.function import Function


class _Loop(asyncio.SelectorEventLoop):
    ahead = 0.0  # seconds

    def time(self) -> float:
        return super().time() + self.ahead


class Local(Service):
    """Its event loop runs in a separate thread, so requests may come from several threads."""

    def __init__(self, function: Function, loop: _Loop, log: Path) -> None:
        self.log = log.open("rb")
        self._function = function
        self._loop = loop
        self._before = self.metrics()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        given: bytes | None = body or b""
        if body and len(body) > self._function.max_body:
            given = None
        path = path.partition("?")[0]
        answer = self._wait_for(self._function.answer(method, path, given))
        return Reply(answer.status, answer.body, dict(answer.headers))

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric's value; for counters, the increase since this function started."""
        counts = name.endswith(("_total", "_count", "_sum"))
        before = self._before if counts else {}
        return super().metric(name, **labels) - before.get(series(name, labels), 0.0)

    def pass_time(self, seconds: float) -> None:
        """Advance the clock of its caches and start the tasks that become due."""

        async def forward() -> None:
            self._loop.ahead += seconds

        self._wait_for(forward())

    def _wait_for(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)


@contextlib.contextmanager
def local(environment: Mapping[str, str]) -> Iterator[Local]:
    """Start the function with these settings. Raises SystemExit where a process would exit."""
    before = Path.cwd()
    loop = _Loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    with (
        tempfile.NamedTemporaryFile("w", suffix=".log") as written,
        mock.patch.dict(os.environ, {**clean_environment(), **environment}, clear=True),
        contextlib.ExitStack() as stack,
    ):
        stack.callback(os.chdir, before)
        os.chdir(ROOT)
        stack.enter_context(logging_as_before())
        stack.callback(loop.close)
        with contextlib.redirect_stderr(written):
            started = function()
        thread.start()
        stack.callback(thread.join)
        stack.callback(loop.call_soon_threadsafe, loop.stop)
        stack.callback(lambda: asyncio.run_coroutine_threadsafe(_cancel_all(loop), loop).result(20))
        running = Local(started, loop, Path(written.name))
        stack.callback(running.log.close)
        stack.callback(running.request, "GET", "/metrics")  # flushes buffered log lines and metrics
        yield running


@contextlib.contextmanager
def logging_as_before() -> Iterator[None]:
    """Restore the function's logger when the block ends."""
    logger = logging.getLogger("eci-profile")
    before = logger.handlers, logger.propagate, logger.level
    try:
        yield
    finally:
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.stream = sys.__stderr__  # setStream would flush a closed stream
        logger.handlers, logger.propagate, logger.level = before


async def _cancel_all(loop: _Loop) -> None:
    """Cancel pending loads, as the end of a process would, and let no timer become due."""
    loop.ahead = -1e9
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
