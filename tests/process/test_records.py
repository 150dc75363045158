"""Log lines and metrics are written shortly after the response; none is lost."""

from __future__ import annotations

import json
import subprocess
import sys

from server import DATA, ROOT, clean_environment

ENDS_AT_ONCE = """
import sys
from types import SimpleNamespace
from handler.handler import handle

handle(SimpleNamespace(body=sys.stdin.buffer.read(), method="POST", path="/"), None)
"""


def test_a_process_logs_its_last_response_before_it_exits() -> None:
    review = (DATA / "reviews" / "pod-bare.json").read_bytes()
    settings = {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": "k8s/sample/profile.yaml",
        "ECI_PROFILE_LOG_LEVEL": "DEBUG",
    }
    done = subprocess.run(
        [sys.executable, "-c", ENDS_AT_ONCE],
        input=review,
        capture_output=True,
        check=True,
        cwd=ROOT,
        env={**clean_environment(), **settings},
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines[-1]["uid"] == json.loads(review)["request"]["uid"]
