"""Worker processes of functions-framework: killed workers and rolling restarts."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from clients import BODY, FILE, REVIEW
from hosts import container
from server import Server, checked, exchange, serving, wait_until

CLIENTS = 8
PAUSE = 0.02  # seconds that each client waits after a response


def workers(server: Server, count: int) -> list[int]:
    """Wait for this many worker processes and return their PIDs."""
    pid = server.process.pid
    end = time.monotonic() + 5
    while len(found := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) != count:
        assert time.monotonic() < end, found
        time.sleep(0.01)
    return [int(child) for child in found]


class Load:
    """Clients that send reviews on keep-alive connections and reconnect when one closes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._client) for _ in range(CLIENTS)]
        self.patches: set[str] = set()
        self.answered: list[float] = []
        self.failed: list[float] = []

    def _client(self) -> None:
        connection = self._server.connect()
        while not self._done.is_set():
            try:
                reply = exchange(connection, "POST", "/mutate", BODY)
                self.patches.add(checked(reply, REVIEW)["patch"])
                self.answered.append(time.monotonic())
                time.sleep(PAUSE)
            except (OSError, http.client.HTTPException):  # noqa: PERF203
                self.failed.append(time.monotonic())
                connection.close()
                connection = self._server.connect()
        connection.close()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("count", [1, 2])
def test_a_killed_worker_loses_only_its_current_reviews(count: int, log: Path) -> None:
    with serving({**FILE, "WORKERS": str(count)}, log) as server:
        before = workers(server, count)
        with Load(server) as load:
            time.sleep(1)
            assert not load.failed
            killed = time.monotonic()
            os.kill(before[0], signal.SIGKILL)
            time.sleep(2)
        assert len(load.failed) <= CLIENTS
        assert len(load.patches) == 1  # from each worker
        back = min(moment for moment in load.answered if moment > max(load.failed, default=killed))
        assert back - killed < 1
        assert before[0] not in workers(server, count)


def test_a_rolling_restart_loses_no_review(tmp_path: Path) -> None:
    """As in a rolling update: a replica stops receiving connections before it terminates."""
    failures: list[BaseException] = []
    answered: list[Server] = []
    done = threading.Event()
    with contextlib.ExitStack() as stack:

        def start(name: str) -> Server:
            settings = {**FILE, "ECI_PROFILE_DRAIN": "1.5"}
            return stack.enter_context(container(settings, tmp_path / f"{name}.log"))

        service = [start("old-0"), start("old-1")]

        def client() -> None:
            try:
                while not done.is_set():
                    server = random.choice(service)  # noqa: S311
                    with contextlib.closing(server.connect()) as connection:
                        for _ in range(20):
                            reply = exchange(connection, "POST", "/mutate", BODY)
                            assert "patch" in checked(reply, REVIEW)
                            answered.append(server)
                            time.sleep(PAUSE)
                            if reply.headers.get("connection") == "close":
                                break
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for index in range(2):
            old, new = service[index], start(f"new-{index}")
            old.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)  # time for the cluster to notice
            service[index] = new
            assert old.process.wait(15) == 0
        try:
            wait_until(lambda: min(answered.count(server) for server in service) > 50)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert failures == []
