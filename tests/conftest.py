"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from apiserver import APIServer
from hypothesis import HealthCheck, settings
from server import Server, serving_file

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


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty file for a profile."""
    path = tmp_path_factory.mktemp("profile") / "profile.yaml"
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def server(profile: Path) -> Iterator[Server]:
    """A server that looks at the file for every review."""
    with serving_file(profile) as server:
        yield server
