"""The executor runs one long computation at a time, with a short queue."""

from __future__ import annotations

import asyncio
import threading

import pytest

from handler.admission.executor import BoundedExecutor, BusyError


def test_one_runs_at_a_time_and_a_full_queue_rejects_more() -> None:
    async def scenario() -> None:
        executor = BoundedExecutor("test", queue=2)
        go, running = threading.Event(), []

        def compute(number: int) -> int:
            running.append(number)
            go.wait()
            return number

        tasks = [asyncio.create_task(executor.run(compute, number)) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await executor.run(compute, 3)
        tasks[1].cancel()  # its caller has given up
        await asyncio.sleep(0)
        assert len(running) <= 1
        go.set()
        assert await tasks[0] == 0
        assert await tasks[2] == 2
        assert running == [0, 2]
        await asyncio.sleep(0)
        assert await executor.run(compute, 4) == 4

    asyncio.run(scenario())


def test_exceptions_are_propagated() -> None:
    async def scenario() -> None:
        executor = BoundedExecutor("test", queue=0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await executor.run(lambda: 1 / 0)

    asyncio.run(scenario())
