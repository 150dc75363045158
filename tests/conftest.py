"""What all tests share."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest
from apiserver import APIServer
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# In pytest-xdist's workers coverage starts by itself too, as in all processes, and would measure
# what pytest-cov, which starts it later, does not.
while "PYTEST_XDIST_WORKER" in os.environ and (started := coverage.Coverage.current()):
    started.stop()

# A busy machine is no finding.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# Files whose tests share nothing that takes long to make, and take long themselves.
SPLIT = {
    *("test_bench", "test_cluster", "test_front", "test_fuzz", "test_install"),
    *("test_processes", "test_profile_changes", "test_serve", "test_soak"),
}
# Files of which one worker has both, since they read the same renderings of the manifests.
WITH = {"test_security": "test_manifests"}
LONGEST = "test_idle"  # so it begins first
# Coverage is measured in tests/unit and in these files, except in tests that are marked no_cover.
# The others cover little more, and measuring them would take minutes, as they start many processes.
MEASURED = {
    *("test_apiserver", "test_cli", "test_cluster", "test_cluster_registration", "test_hosts"),
    *("test_install_job", "test_serve"),
}


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Lets each of pytest-xdist's workers have whole files, but for those that can be split.

    Not by ``--dist loadgroup``: pytest-xdist 3.8 can't mark groups with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        name = Path(file).stem
        return nodeid if name in SPLIT else file.replace(name, WITH.get(name, name))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core and two more, since many tests wait for something."""
    return min(2 * (os.cpu_count() or 1) + 2, 16)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem != LONGEST)
    for item in items:
        module = item.getparent(pytest.Module)
        if module and module.path.parent.name != "unit" and module.path.stem not in MEASURED:
            module.add_marker("no_cover")


def pytest_collection_finish() -> None:
    gc.freeze()  # or each full collection would look at thousands of tests again


@pytest.fixture(scope="module", autouse=True)
def processes_of_a_module(request: pytest.FixtureRequest) -> Iterator[None]:
    with _measured_if_it_counts(request.node):
        yield


@pytest.fixture(autouse=True)
def processes_of_a_test(request: pytest.FixtureRequest) -> Iterator[None]:
    with _measured_if_it_counts(request.node):
        yield


@contextlib.contextmanager
def _measured_if_it_counts(node: pytest.Item | pytest.Module) -> Iterator[None]:
    """Measure coverage in the processes that a test starts only if it is measured in the test."""
    with pytest.MonkeyPatch.context() as patch:
        if node.get_closest_marker("no_cover"):
            for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
                patch.delenv(name, raising=False)
        yield


@pytest.fixture
def api() -> Iterator[APIServer]:
    """An API server without a profile."""
    with APIServer() as api:
        yield api


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a server writes its log."""
    return tmp_path / "server.log"
