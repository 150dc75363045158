"""`/readyz` and `make try` report that the profile in force is older than the stored one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import container
from server import ROOT, Server, wait_until

GOOD = (ROOT / "k8s" / "sample" / "profile.yaml").read_text("utf-8")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outdated") / "profile.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture(scope="module")
def server(profile: Path) -> Iterator[Server]:
    """A server that reads the profile for every review. Each test leaves a good one."""
    settings = {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(profile),
        "ECI_PROFILE_TTL": "0",
    }
    with container(settings, profile.with_name("server.log")) as server:
        yield server


def tried(server: Server) -> subprocess.CompletedProcess[str]:
    pod = ROOT / "k8s" / "sample" / "pod.yaml"
    command = [
        sys.executable,
        str(ROOT / "tests/support/try.py"),
        "--port",
        str(server.port),
        str(pod),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True)


BAD = {
    "an invalid selector": (
        GOOD.replace('"objectSelector"', '"objectselector"', 1),
        "the profile is invalid: selectors[0]",
    ),
    "no YAML": ("kind: [", "is invalid"),
    "nothing": ("", "no longer contains an object"),
    "no file": (None, "can't be read: No such file or directory"),
}


@pytest.mark.parametrize("case", BAD)
def test_readyz_and_try_report_an_outdated_profile(
    case: str, server: Server, profile: Path
) -> None:
    text, why = BAD[case]
    before = server.request("GET", "/readyz")
    assert set(before.json) == {"status", "selectors"}
    assert tried(server).stderr == ""
    if text is None:
        profile.unlink()
    else:
        profile.write_text(text)

    ready = server.request("GET", "/readyz")
    assert ready.status == 200
    outdated = ready.json.pop("outdated", "")
    assert ready.json == {**before.json, **({"outdated": outdated} if outdated else {})}
    assert outdated.startswith("the last good profile is in force, ")
    assert why in outdated
    result = tried(server)
    assert "+  nodeSelector:" in result.stdout  # the last valid profile is in force
    assert result.stderr == f"Warning: {outdated}\n"

    profile.write_text(GOOD)
    wait_until(lambda: "outdated" not in server.request("GET", "/readyz").json)
    assert tried(server).stderr == ""
