"""A function in this process that several test files share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from local import Local, local


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty file for a profile."""
    path = tmp_path_factory.mktemp("profile") / "profile.yaml"
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def function(profile: Path) -> Iterator[Local]:
    """It looks at the file for every review."""
    settings = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(profile)}
    with local({**settings, "ECI_PROFILE_TTL": "0"}) as function:
        yield function
