"""One long-running process; `make soak` sends it more reviews."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from server import exchange, review_of, serving

MEBIBYTE = 2**20
REVIEWS = int(os.environ.get("REVIEWS", "5000"))

FILE = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": "k8s/sample/profile.yaml"}
REVIEW = review_of(
    {"metadata": {"name": "train", "namespace": "batch", "labels": {"gpu": "a"}}, "spec": {}}
)
BODY = json.dumps(REVIEW).encode()


def test_descriptors_and_memory_stay_flat_over_many_reviews(log: Path) -> None:
    with serving({**FILE, "ECI_PROFILE_LOG_LEVEL": "ERROR"}, log) as server:
        with contextlib.closing(server.connect()) as connection:

            def send(reviews: int) -> None:
                for _ in range(reviews):
                    assert exchange(connection, "POST", "/mutate", BODY).status == 200

            send(2000)
            files = server.metric("process_open_fds")
            memory = server.metric("process_resident_memory_bytes")
            send(REVIEWS)
            assert server.metric("process_open_fds") <= files
            assert server.metric("process_resident_memory_bytes") < memory + 2 * MEBIBYTE
        assert server.metric("eci_profile_reviews_total", outcome="patched") == 2000 + REVIEWS
