"""The cache in isolation, under virtual time, so that no test really sleeps."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import looptime
import pytest

from handler.cluster.cache import LOAD_SECONDS, Cache, Health, LoadError

TTL = 10.0
KEEP = 600.0


class Source:
    """Counts loads, and delays or fails them as the test requires."""

    def __init__(self) -> None:
        self.loads: list[tuple[float, str]] = []
        self.seconds = 0.0
        self.error: Exception | None = None
        self._values = itertools.count(1)

    async def load(self, key: str) -> int:
        loop = asyncio.get_running_loop()
        self.loads.append((loop.time(), key))
        await asyncio.sleep(self.seconds)
        if self.error:
            raise self.error
        return next(self._values)


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def run() -> Callable[[Callable[[], Awaitable[None]]], None]:
    def running(scenario: Callable[[], Awaitable[None]]) -> None:
        loop = looptime.new_event_loop(start=1000)
        try:
            loop.run_until_complete(scenario())
        finally:
            loop.close()

    return running


Run = Callable[[Callable[[], Awaitable[None]]], None]


def cache_of(source: Source, **options: Any) -> Cache[int]:
    return Cache(
        "test",
        source.load,
        **{"ttl": TTL, "keep": KEEP, "size": 100, "health": Health(), **options},
    )


async def timed(look_up: Awaitable[int]) -> tuple[int, float]:
    began = now()
    value = await look_up
    return value, round(now() - began, 3)


def test_a_fresh_value_is_not_loaded_again(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        assert await cache.get("a") == 1
        await asyncio.sleep(TTL * 0.8)
        assert await cache.get("a") == 1
        assert len(source.loads) == 1

    run(scenario)


def test_an_idle_value_older_than_the_ttl_is_reloaded_before_use(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        source.seconds = 0.2
        assert await timed(cache.get("a")) == (1, 0.2)
        await asyncio.sleep(TTL + 1)
        assert len(source.loads) == 1
        assert await timed(cache.get("a")) == (2, 0.2)

    run(scenario)


def test_the_age_of_a_value_counts_from_the_start_of_its_load(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        source.seconds = 1.0
        await cache.get("a")
        await asyncio.sleep(TTL - 1)
        assert await timed(cache.get("a")) == (2, 1.0)

    run(scenario)


def test_a_value_in_use_is_refreshed_early_so_that_no_lookup_waits(
    source: Source, run: Run
) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        source.seconds = 0.3
        await cache.get("a")
        waited = 0.0
        for _ in range(1000):
            waited += (await timed(cache.get("a")))[1]
            await asyncio.sleep(0.1)
        assert waited == 0
        assert 100 / TTL <= len(source.loads) <= 100 / TTL * 1.3

    run(scenario)


def test_concurrent_lookups_share_one_load(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        source.seconds = 0.1
        assert set(await asyncio.gather(*(cache.get("a") for _ in range(1000)))) == {1}
        assert len(source.loads) == 1

    run(scenario)


def test_a_cancelled_lookup_does_not_cancel_the_load(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        source.seconds = 0.5
        first, second = (asyncio.create_task(cache.get("a")) for _ in range(2))
        await asyncio.sleep(0.1)
        first.cancel()
        assert await second == 1
        assert first.cancelled()
        assert len(source.loads) == 1

    run(scenario)


def test_without_a_last_good_value_a_failed_load_raises(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        source.error = LoadError("refused")
        for _ in range(5):  # at most one load per second
            with pytest.raises(LoadError, match=r"^test a: refused$"):
                await cache.get("a")
        assert len(source.loads) == 1
        await asyncio.sleep(1)
        source.error = None
        assert await cache.get("a") == 1

    run(scenario)


def test_the_last_good_value_is_used_until_it_is_too_old(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        await cache.get("a")
        source.error = LoadError("refused")
        await asyncio.sleep(KEEP - 1)
        assert await cache.get("a") == 1
        await asyncio.sleep(2)
        with pytest.raises(LoadError):
            await cache.get("a")

    run(scenario)


def test_in_an_outage_only_the_first_lookup_waits(source: Source, run: Run) -> None:
    async def scenario() -> None:
        health = Health()
        one, other = cache_of(source, health=health), cache_of(source, health=health)
        for key in "abc":
            await one.get(key)
            await other.get(key)
        await asyncio.sleep(TTL)
        source.seconds = 3600
        assert (await timed(one.get("a")))[1] == LOAD_SECONDS
        for key in "abc":
            assert (await timed(one.get(key)))[1] == 0
            assert (await timed(other.get(key)))[1] == 0
        await asyncio.sleep(3)
        assert {key for _, key in source.loads[-5:]} == {"a", "b", "c"}

    run(scenario)


def test_after_an_outage_values_are_fresh_within_one_retry(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        await cache.get("a")
        await asyncio.sleep(TTL)
        source.seconds = 3600
        assert await cache.get("a") == 1
        source.seconds = 0
        end = now() + 1.1
        while now() < end:
            await cache.get("a")
            await asyncio.sleep(0.05)
        assert await cache.get("a") == 2

    run(scenario)


def test_long_after_an_outage_an_idle_value_is_reloaded_before_use(
    source: Source, run: Run
) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        await cache.get("a")
        await asyncio.sleep(TTL)
        source.seconds = 3600
        assert await cache.get("a") == 1
        source.seconds = 0.1
        await asyncio.sleep(60)
        assert await timed(cache.get("a")) == (2, 0.1)

    run(scenario)


def test_a_lookup_with_a_last_good_value_does_not_wait_for_retries(
    source: Source, run: Run
) -> None:
    async def scenario() -> None:
        cache = cache_of(source, ttl=2.0)
        await cache.get("a")
        source.error = LoadError("refused")
        source.seconds = 0.1
        await asyncio.sleep(2)
        assert await timed(cache.get("a")) == (1, 0.1)
        await asyncio.sleep(0.5)
        assert await timed(cache.get("a")) == (1, 0.0)  # no retry within a second
        await asyncio.sleep(0.55)  # a background load is in progress
        assert await timed(cache.get("a")) == (1, 0.0)

    run(scenario)


def test_retry_after_is_respected(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        source.error = LoadError("busy", retry_after=5)
        began = now()
        while now() < began + 9.9:
            with pytest.raises(LoadError):
                await cache.get("a")
            await asyncio.sleep(0.1)
        assert [round(at - began) for at, _ in source.loads] == [0, 5]

    run(scenario)


def test_retry_after_is_capped_at_the_ttl(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        source.error = LoadError("busy", retry_after=1e9)
        with pytest.raises(LoadError):
            await cache.get("a")
        source.error = None
        await asyncio.sleep(TTL)
        assert await cache.get("a") == 1

    run(scenario)


def test_a_deleted_object_has_no_last_good_value(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        await cache.get("a")
        source.error = LoadError("not found", gone=True)
        await asyncio.sleep(TTL)
        with pytest.raises(LoadError):
            await cache.get("a")

    run(scenario)


def test_a_lookup_respects_its_timeout(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        source.seconds = 3600
        began = now()
        with pytest.raises(LoadError, match="timed out"):
            await cache.get("a", 0.5)
        assert now() - began == pytest.approx(0.5)
        await asyncio.sleep(LOAD_SECONDS)
        assert len(source.loads) == 1

    run(scenario)


def test_an_unexpected_exception_counts_as_a_failed_load(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source)
        source.error = ZeroDivisionError("oops")
        with pytest.raises(LoadError, match="unexpected ZeroDivisionError: oops"):
            await cache.get("a")

    run(scenario)


def test_the_least_recently_used_key_is_evicted(source: Source, run: Run) -> None:
    async def scenario() -> None:
        cache = cache_of(source, size=3)
        for key in "abc":
            await cache.get(key)
        await cache.get("a")
        await cache.get("d")
        source.loads.clear()
        for key in "acd":
            await cache.get(key)
        assert source.loads == []
        await cache.get("b")
        assert len(source.loads) == 1

    run(scenario)


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str]]]:
    logger = logging.getLogger("eci-profile")
    logger.propagate = True
    caplog.set_level("INFO", "eci-profile")
    return lambda: [(record.levelname, vars(record)["key"]) for record in caplog.records]


def test_an_outage_is_logged_once_for_all_keys(
    source: Source, run: Run, messages: Callable[[], list[tuple[str, str]]]
) -> None:
    async def scenario() -> None:
        cache = cache_of(source, ttl=1.0)
        for key in "abc":
            await cache.get(key)
        source.error = LoadError("refused")
        for _ in range(100):
            await asyncio.sleep(0.1)
            for key in "abc":
                await cache.get(key)
        assert [level for level, _ in messages()] == ["WARNING"]
        source.error = None
        for _ in range(30):
            await asyncio.sleep(0.1)
            for key in "abc":
                await cache.get(key)
        assert [level for level, _ in messages()] == ["WARNING", "INFO"]

    run(scenario)


def test_a_failing_key_is_logged_once_and_again_after_ten_minutes(
    source: Source, run: Run, messages: Callable[[], list[tuple[str, str]]]
) -> None:
    async def load(key: str) -> int:
        if key == "bad":
            raise LoadError("forbidden")
        return await source.load(key)

    async def scenario() -> None:
        cache = Cache("test", load, ttl=1.0, keep=KEEP, size=100, health=Health())

        async def use(seconds: float) -> None:
            end = now() + seconds
            while now() < end:
                await cache.get("good")
                with pytest.raises(LoadError):
                    await cache.get("bad")
                await asyncio.sleep(2)

        await use(599)
        assert messages() == [("WARNING", "bad")]
        await use(10)
        assert messages() == [("WARNING", "bad")] * 2

    run(scenario)
