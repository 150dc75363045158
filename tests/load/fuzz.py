"""Coverage-guided fuzzing: any body gets an answer, and any text a profile or its problems.

    python tests/load/fuzz.py reviews|profiles CORPUS [options of libFuzzer, such as -runs=100000]

A finding ends the process with its stack trace, and is left in the corpus.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import atheris
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["handler"]):
    from handler.admission import Admission
    from handler.filesource import FileSource
    from handler.function import Function
    from handler.profile import ProfileError, parse
    from handler.settings import Settings

PROFILE = str(ROOT / "k8s" / "sample" / "profile.yaml")


def reviews() -> tuple[Callable[[bytes], None], list[bytes]]:
    """Any body, beginning with what a real kube-apiserver sent."""
    settings = Settings(provider="file", file=PROFILE, ttl=3600)
    function = Function(Admission(settings, FileSource(PROFILE)), settings.max_body)
    loop = asyncio.new_event_loop()

    def one(body: bytes) -> None:
        answer = loop.run_until_complete(function.answer("POST", "/mutate", body))
        assert answer.status in (200, 400), answer
        json.loads(answer.body)

    seeds = (json.loads(path.read_text()) for path in ROOT.glob("tests/data/reviews/*.json"))
    return one, [json.dumps(seed, separators=(",", ":")).encode() for seed in seeds]


def profiles() -> tuple[Callable[[bytes], None], list[bytes]]:
    """Any text as selectors and as the virtual node."""

    def one(text: bytes) -> None:
        written = text.decode("utf-8", "replace")
        with contextlib.suppress(ProfileError):
            parse({"selectors": written})
        with contextlib.suppress(ProfileError):
            parse({"virtualNode": written})

    seeds = []
    for path in (ROOT / "tests/data/invalid-profiles.yaml", Path(PROFILE)):
        for document in yaml.safe_load_all(path.read_text("utf-8")):
            for case in document if isinstance(document, list) else [document]:
                texts = (case.get("data") or case).values()
                seeds += [text.encode() for text in texts if isinstance(text, str)]
    return one, seeds


def main() -> None:
    target, corpus, *options = sys.argv[1:]
    one, seeds = {"reviews": reviews, "profiles": profiles}[target]()
    logging.disable()
    directory = Path(corpus)
    directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (directory / f"seed-{number}").write_bytes(seed)
    finding = f"-artifact_prefix={directory}/finding-"
    atheris.Setup([sys.argv[0], corpus, "-max_len=16384", finding, *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
