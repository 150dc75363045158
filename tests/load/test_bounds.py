"""Twice the input takes twice the time, whatever it is, and memory in proportion."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from bounds import DIAGNOSTICS, PROFILES, TABLE, TEXT, Row, examining, parsing, reading
from speed import slowness

FLOOR = 0.004  # seconds: what is faster cannot be told from noise
GROWTH = 3.0


def seconds(run: Callable[[Any], object], given: Any) -> float:
    """The CPU time of a run."""
    gc.disable()  # as while a profile is made
    try:
        began = time.thread_time()
        run(given)
        return time.thread_time() - began
    finally:
        gc.enable()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_twice_the_input_takes_twice_the_time(row: Row) -> None:
    size = row.size // 4
    if seconds(row.run, row.make(2 * size)) <= GROWTH * FLOOR:
        size = row.size
    once, twice = row.make(size), row.make(2 * size)
    for _ in range(5):  # what disturbs one run doesn't disturb all
        second = seconds(row.run, twice)
        if second <= max(GROWTH * FLOOR, row.ceiling):
            return
        first = min(seconds(row.run, once) for _ in range(2))
        if second <= GROWTH * first:
            return
    raise AssertionError(f"{first:.4f} s for {size} bytes, {second:.4f} s for twice as many")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_memory_is_a_multiple_of_the_input(row: Row) -> None:
    for size in (row.size // 8, row.size // 2):  # tracemalloc takes a multiple of the time
        given = row.make(size)
        tracemalloc.start()
        try:
            row.run(given)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        if peak <= row.memory * size:
            return  # otherwise it may be what any size takes
    raise AssertionError(f"{peak / size:.1f} times the input")


JUDGED = [
    row for row in (*TEXT, *PROFILES, *DIAGNOSTICS) if row.run in (reading, parsing, examining)
]


@pytest.mark.slow
@pytest.mark.parametrize("row", JUDGED, ids=lambda row: row.name)
def test_a_mebibyte_is_judged_within_two_seconds(row: Row) -> None:
    size = 2**20 - 2**10
    part = seconds(examining, row.make(size // 32))
    if part < 1.5 / 32 or part < 1.5 / 32 * slowness():
        return  # 32 times as much would take 1.5 seconds, as time grows in proportion
    text = row.make(size)
    assert 0.8 * 2**20 < len(text) < 1.1 * 2**20
    for _ in range(3):  # what disturbs one run doesn't disturb all
        took, most = seconds(examining, text), 2 * slowness()
        if took < most:
            return
    raise AssertionError(f"{took:.2f} s, and at most {most:.2f} s are allowed")
