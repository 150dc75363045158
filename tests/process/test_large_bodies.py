"""Bodies at the size limit take bounded time and memory, whatever their content."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hosts import container
from server import ROOT, Server, checked, exchange, review_of
from speed import slowness

MEBIBYTE = 2**20
LIMIT = 8 * MEBIBYTE
GOOD = review_of({"metadata": {"name": "train", "labels": {"gpu": "a"}}, "spec": {}})
CONFIG_MAPS = {"group": "", "version": "v1", "resource": "configmaps"}
PROFILE: dict[str, Any] = {"name": "eci-profile", "namespace": "kube-system"}

AFFINITY = "spec.affinity.nodeAffinity"
REQUIRED = f"{AFFINITY}.requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = f"{AFFINITY}.preferredDuringSchedulingIgnoredDuringExecution"


def of_limit(head: str, item: str, tail: str) -> bytes:
    """Return a body just below the limit that repeats ``item``, with {} replaced by a counter."""
    pattern = item.replace("{}", "%06d")
    count = (LIMIT - len(head) - len(tail)) // len(item.replace("{}", "000000") + ",")
    numbered = pattern != item
    items = [pattern % number for number in range(count)] if numbered else [item] * count
    return f"{head}{','.join(items)}{tail}".encode()


def in_object(path: str, brackets: str, item: str, **request: Any) -> bytes:
    """Return a review of an object in which one field has as many items as fit."""
    before, after = json.dumps(review_of({"x": "?"}, **request)).split('"x": "?"')
    keys = path.split(".")
    head = before + "".join(f'"{key}": {{' for key in keys[:-1]) + f'"{keys[-1]}": {brackets[0]}'
    return of_limit(head, item, brackets[1] + "}" * (len(keys) - 1) + after)


def of_profile(text: str) -> bytes:
    """Return a review of the profile whose selectors repeat the text."""
    config_map = {"metadata": PROFILE, "data": {"selectors": "?"}}
    review = json.dumps(review_of(config_map, resource=CONFIG_MAPS, **PROFILE))
    quoted = json.dumps(text)[1:-1]
    return review.replace('"?"', f'"{quoted * ((LIMIT - len(review)) // len(quoted))}"').encode()


def wide() -> bytes:
    """Return a review with a string that Python stores as four bytes per character."""
    labels = {"a": "x" * (LIMIT - 2000) + "😀"}
    return json.dumps(review_of({"metadata": {"labels": labels}}), ensure_ascii=False).encode()


BODIES: dict[str, Callable[[], bytes]] = {
    "labels": lambda: in_object("metadata.labels", "{}", '"{}":""'),
    "annotations": lambda: in_object("metadata.annotations", "{}", '"{}":"a"'),
    "owners": lambda: in_object("metadata.ownerReferences", "[]", "{ }"),
    "nodeSelector": lambda: in_object("spec.nodeSelector", "{}", '"{}":"a"'),
    "tolerations": lambda: in_object("spec.tolerations", "[]", "{ }"),
    "terms": lambda: in_object(f"{REQUIRED}.nodeSelectorTerms", "[]", "{ }"),
    "fields": lambda: in_object(
        f"{REQUIRED}.nodeSelectorTerms", "[]", '{"matchFields":[[],[],[],[],[],[],[],[]]}'
    ),
    "preferred": lambda: in_object(PREFERRED, "[]", '{"a":[[],[],[[]]]}'),
    "containers": lambda: in_object("spec.containers", "[]", "{ }"),
    "a field that is not looked at": lambda: in_object("spec.x", "[]", "[[],{ }]"),
    "commas in a value": lambda: in_object(
        "metadata.annotations", "{}", '"{}":"' + ",{[" * 4000 + '"'
    ),
    "escaped quotes in a value": lambda: in_object(
        "metadata.labels", "{}", '"{}":"' + '\\"' * 4000 + '"'
    ),
    "one wide value": wide,
    "a uid": lambda: json.dumps(review_of({}, uid="u" * (LIMIT - 1000))).encode(),
    "a namespace": lambda: json.dumps(review_of({}, namespace="n" * (LIMIT - 1000))).encode(),
    "a name": lambda: json.dumps(review_of({}, name="n" * (LIMIT - 1000))).encode(),
    "a kind": lambda: b'{"kind": "' + b"k" * (LIMIT - 20) + b'"}',
    "a list of lists": lambda: of_limit("[", "[]", "]"),
    "an end that is missing": lambda: json.dumps(GOOD).encode()[:-1] + b" " * (LIMIT - 2000),
    "an end that is wrong": lambda: of_limit(
        '{"kind": "AdmissionReview", "x": [', '{"a":[1]}', "]]"
    ),
    "opening brackets": lambda: b"[" * LIMIT,
    "quotes": lambda: b'"' * LIMIT,
    "no JSON": lambda: b"\xff" * LIMIT,
    "profile: quotes": lambda: of_profile('[{"' + '\\"' * 100),
    "profile: comments": lambda: of_profile("# x\n"),
    "profile: lists": lambda: of_profile("[],"),
    "data": lambda: in_object("data", "{}", '"{}":[]', resource=CONFIG_MAPS, **PROFILE),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The container's server: a single process, which gives back what it no longer uses."""
    environment = {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(ROOT / "k8s" / "sample" / "profile.yaml"),
        "ECI_PROFILE_LOG_LEVEL": "DEBUG",
        "MALLOC_MMAP_THRESHOLD_": str(2**17),  # glibc would raise it with each large body
    }
    with container(environment, tmp_path_factory.mktemp("server") / "server.log") as server:
        assert "patch" in checked(server.post(GOOD), GOOD)
        yield server


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    yield shared
    assert "patch" in checked(shared.post(GOOD), GOOD)


class Process:
    """Memory of a process in bytes and its CPU time in seconds, from Linux."""

    def __init__(self, pid: int) -> None:
        self._files = Path(f"/proc/{pid}")
        self._clock = (~pid << 3) | 2  # clock_getcpuclockid(3)
        if not self._files.exists():
            pytest.skip("only Linux reports a process's peak memory")

    def seconds(self) -> float:
        return time.clock_gettime(self._clock)

    def memory(self, field: str) -> int:
        found = re.search(rf"{field}:\s+(\d+) kB", (self._files / "status").read_text())
        assert found
        return int(found[1]) * 1024

    def forget_peak(self) -> None:
        (self._files / "clear_refs").write_text("5")


@pytest.mark.parametrize("name", BODIES)
def test_time_and_memory_are_bounded(name: str, server: Server) -> None:
    body = BODIES[name]()
    assert 3 * MEBIBYTE < len(body) <= LIMIT
    process = Process(server.process.pid)
    process.forget_peak()
    before, log_before = process.memory("VmRSS"), server.log.seek(0, 2)
    probes = [0.0]  # in CPU time, which other load on the machine doesn't change
    done = threading.Event()

    def probe() -> None:
        with contextlib.closing(server.connect()) as connection:
            while not done.is_set():
                began = process.seconds()
                assert exchange(connection, "GET", "/healthz").status == 200
                probes.append(process.seconds() - began)

    with ThreadPoolExecutor(1) as threads:
        probing = threads.submit(probe)
        reply = server.request("POST", "/mutate", body)
        done.set()
        probing.result()
    took = process.memory("VmHWM") - before
    print(f"{took / len(body):.1f} times its size, a probe took {max(probes) * 1000:.0f} ms")
    assert reply.status in (200, 400)
    assert len(reply.body) < len(body) + 1000
    assert took <= 7 * len(body)  # and it may use the memory of the body before again
    assert max(probes) <= 0.25 * slowness()
    assert server.log.seek(0, 2) - log_before < MEBIBYTE


def test_many_long_names_are_not_kept(server: Server) -> None:
    process = Process(server.process.pid)
    before = process.memory("VmRSS")
    for number in range(20):
        review = json.dumps(review_of({}, namespace=f"{number}-" + "n" * 4_000_000)).encode()
        assert server.request("POST", "/mutate", review).status == 400
    assert process.memory("VmRSS") < before + 32 * MEBIBYTE
