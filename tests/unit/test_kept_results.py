"""The memory that results of earlier pods take."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from local import local
from reviews import PROFILE
from server import review_of

MOST = 2**20  # bytes: four times what is kept, for what is around it


@pytest.mark.no_cover
@pytest.mark.parametrize(("pods", "size"), [(400, 5_000), (40, 50_000)])
def test_many_different_pods_take_little_memory(pods: int, size: int, profile: Path) -> None:
    profile.write_text(PROFILE)
    settings = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(profile)}

    with local(settings) as function:

        def post(number: int) -> None:
            annotations = {"number": str(number), "long": "x" * size}
            pod = {"metadata": {"labels": {"gpu": "true"}, "annotations": annotations}}
            assert "patch" in function.post(review_of(pod)).json["response"]

        post(-1)
        function.pass_time(1)  # so that its record is written
        tracemalloc.start()
        try:
            for number in range(pods):
                post(number)
            function.pass_time(1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < MOST
