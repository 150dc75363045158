"""Coverage-guided fuzzing: any body gets a response; any text yields a profile or its problems.

    python tests/load/fuzz.py reviews|profiles CORPUS [options of libFuzzer, such as -runs=100000]

On a failure the process exits with a stack trace, and the input stays in the corpus. An input also
fails if it takes more than 5 seconds of CPU time or more than 1 GiB. One input in a hundred is
enlarged and repeatedly doubled: it fails if its time more than triples per doubling, or if it takes
too much memory.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import atheris
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["handler"]):
    from handler.lint.diagnostics import examine
    from handler.settings import Settings
    from handler.start import build

# Imported only after the modules that it uses are instrumented.
sys.path.insert(0, str(ROOT / "tests" / "support"))
from bounds import PROFILES, TEXT  # noqa: E402

LONGEST = 5.0  # seconds of CPU time
HANGING = 120  # seconds of wall-clock time, to find an endless loop on a busy machine too
SEEDS = 200  # the first inputs, all of which are checked for growth
GROWN = 2**12  # bytes
DOUBLED = 2  # times: a single doubling may move an error from the beginning to the end
FLOOR = 0.01  # seconds: shorter times are noise
GROWTH = 3.0
MEMORY = 300.0  # times the size of the input; see the nested values in bounds.py

# test_bounds.py checks how these grow.
ROWS = [row.make(64).encode() for row in (*TEXT, *PROFILES)]
PROFILE = str(ROOT / "k8s" / "sample" / "profile.yaml")


def reviews() -> tuple[Callable[[bytes], None], list[bytes]]:
    """Fuzz request bodies, seeded with reviews from a real kube-apiserver."""
    settings = Settings(provider="file", file=PROFILE, ttl=3600)
    function = build(settings)
    loop = asyncio.new_event_loop()

    def one(body: bytes) -> None:
        answer = loop.run_until_complete(function.answer("POST", "/mutate", body))
        assert answer.status in (200, 400), answer
        json.loads(answer.body)

    seeds = (json.loads(path.read_text()) for path in ROOT.glob("tests/data/reviews/*.json"))
    return one, [json.dumps(seed, separators=(",", ":")).encode() for seed in seeds]


def profiles() -> tuple[Callable[[bytes], None], list[bytes]]:
    """Fuzz the text of selectors and of the virtual node, including all warnings about it."""

    def one(text: bytes) -> None:
        written = text.decode("utf-8", "replace")
        examine({"selectors": written})
        examine({"virtualNode": written})

    seeds = []
    for path in (ROOT / "tests/data/invalid-profiles.yaml", Path(PROFILE)):
        for document in yaml.safe_load_all(path.read_text("utf-8")):
            for case in document if isinstance(document, list) else [document]:
                texts = (case.get("data") or case).values()
                seeds += [text.encode() for text in texts if isinstance(text, str)]
    return one, seeds + ROWS


def bounded(one: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Wrap ``one`` to check its time; for one input in a hundred, how time and memory grow too."""
    count = 0
    rows = frozenset(ROWS)

    def checked(given: bytes) -> None:
        nonlocal count
        took = seconds(one, given)
        assert took <= LONGEST, f"{took} s"
        count += 1
        if (count <= SEEDS or count % 100 == 0) and len(given) >= 3 and given not in rows:
            grows(one, given)

    return checked


def grows(one: Callable[[bytes], None], given: bytes) -> None:
    first, third = len(given) // 3, 2 * len(given) // 3
    begin, middle, end = given[:first], given[first:third], given[third:]
    once = begin + middle * (GROWN // len(middle)) + end
    doubled = begin + middle * (2**DOUBLED * GROWN // len(middle)) + end
    for _ in range(5):  # retry, since other load on the machine may disturb a run
        after = seconds(one, doubled)
        if after <= GROWTH**DOUBLED * FLOOR or after <= GROWTH**DOUBLED * seconds(one, once):
            break
    else:
        raise AssertionError(f"{after} s for {len(doubled)} bytes like {given!r}")
    tracemalloc.start()
    one(once)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= MEMORY * len(once), f"{peak} bytes for {len(once)} bytes like {given!r}"


def seconds(one: Callable[[bytes], None], given: bytes) -> float:
    began = time.thread_time()
    one(given)
    return time.thread_time() - began


def main() -> None:
    target, corpus, *options = sys.argv[1:]
    one, seeds = {"reviews": reviews, "profiles": profiles}[target]()
    logging.disable()
    directory = Path(corpus)
    directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (directory / f"seed-{number}").write_bytes(seed)
    finding = f"-artifact_prefix={directory}/finding-"
    limits = ["-max_len=16384", f"-timeout={HANGING}", "-rss_limit_mb=1024"]
    atheris.Setup([sys.argv[0], corpus, *limits, finding, *options], bounded(one))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
