"""One long-running process; `make soak` sends it more reviews."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from clients import BODY, FILE
from server import exchange, serving

MEBIBYTE = 2**20
REVIEWS = int(os.environ.get("REVIEWS", "2500"))


def test_descriptors_and_memory_stay_flat_over_many_reviews(log: Path) -> None:
    with serving({**FILE, "ECI_PROFILE_LOG_LEVEL": "ERROR"}, log) as server:
        with contextlib.closing(server.connect()) as connection:

            def send(reviews: int) -> None:
                for _ in range(reviews):
                    assert exchange(connection, "POST", "/mutate", BODY).status == 200

            send(1000)
            files = server.metric("process_open_fds")
            memory = server.metric("process_resident_memory_bytes")
            send(REVIEWS)
            assert server.metric("process_open_fds") <= files
            assert server.metric("process_resident_memory_bytes") < memory + MEBIBYTE
        assert server.metric("eci_profile_reviews_total", outcome="patched") == 1000 + REVIEWS
