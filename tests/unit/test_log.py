"""Log lines are ASCII JSON, whatever the values."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from local import logging_as_before

from handler.telemetry import log

LOGGER = logging.getLogger("eci-profile")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with logging_as_before():
        log.set_up("INFO")
        yield stream


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    text = written.getvalue()
    assert text.isascii()
    return [json.loads(line) for line in text.split("\n")[:-1]]


@pytest.mark.parametrize("name", ["ü", "\u2028\x85", "\ud800", 'x"}\n{"', ("tuple",), {1, 2}])
def test_any_value_gives_one_ascii_line(name: Any, written: io.StringIO) -> None:
    LOGGER.handlers = LOGGER.handlers[:1]  # pytest-xdist can't send what pytest captured
    log.write([{"message": "first", "object": name}, {"message": "second"}])
    LOGGER.info("%s", "x\n\ud800", extra={"object": name})
    assert [line["message"] for line in lines(written)] == ["first", "second", "x\n\ud800"]


def test_writing_no_lines_writes_nothing(written: io.StringIO) -> None:
    log.write([])
    assert lines(written) == []


def test_an_exception_is_part_of_its_line(written: io.StringIO) -> None:
    try:
        int("why")
    except ValueError:
        LOGGER.exception("unexpected")
    assert lines(written)[0]["exc_info"].endswith("base 10: 'why'")


def test_a_closed_standard_error_is_ignored(written: io.StringIO) -> None:
    written.close()
    log.write([{"message": "review"}])
