"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from apiserver import APIServer
from hypothesis import HealthCheck, settings

# A busy machine is no finding.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.fixture
def api() -> Iterator[APIServer]:
    """An API server without a profile."""
    with APIServer() as api:
        yield api


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a server writes its log."""
    return tmp_path / "server.log"
