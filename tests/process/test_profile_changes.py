"""Changes while the profile is in use: broken, emptied, deleted, huge, edited; clock changes."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from apiserver import APIServer
from hosts import container
from local import Local, local
from server import (
    Server,
    Service,
    checked,
    exchange,
    patch_of,
    review_of,
    serving,
    wait_until,
)
from speed import slowness

TTL = 0.2
BY_NAMESPACE = (
    '[{"name": "eci", "namespaceSelector": {"matchLabels": {"eci": "true"}},'
    ' "effect": {"labels": {"a": "eci"}}}]'
)
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
POD = {
    "metadata": {"name": "web", "namespace": "team-a", "labels": {"app": "web"}},
    "spec": {"containers": []},
}


def version(number: int) -> str:
    """Return a profile in which every part carries the version number."""
    effect = {
        "annotations": {f"example.com/{place}": f"v{number}" for place in ("a", "b", "c")},
        "labels": {"version": f"v{number}"},
    }
    return json.dumps(
        [
            {
                "name": f"v{number}",
                "objectSelector": {"matchLabels": {"app": "web"}},
                "effect": effect,
            }
        ]
    )


def put(api: APIServer, selectors: str) -> None:
    api.put_config_map("kube-system", "eci-profile", {"selectors": selectors})


@pytest.fixture
def environment(api: APIServer, tmp_path: Path) -> dict[str, str]:
    put(api, version(0))
    return {
        "KUBECONFIG": str(api.write_kubeconfig(tmp_path / "kubeconfig")),
        "ECI_PROFILE_TTL": str(TTL),
    }


@pytest.fixture
def server(environment: dict[str, str], log: Path) -> Iterator[Server]:
    with container(environment, log) as server:
        assert in_force(server) == "v0"
        yield server


@pytest.fixture
def function(environment: dict[str, str]) -> Iterator[Local]:
    """The function in process, for tests that do not need a server."""
    with local(environment) as function:
        assert in_force(function) == "v0"
        yield function


def in_force(server: Service) -> str | None:
    """Return the version in force; check that the whole response belongs to it."""
    review = review_of(POD)
    response = checked(server.post(review), review)
    name = response.get("auditAnnotations", {}).get("selectors")
    found = {
        value
        for operation in patch_of(response)
        if operation["path"].startswith("/metadata/")
        for value in (
            operation["value"].values()
            if isinstance(operation["value"], dict)
            else [operation["value"]]
        )
    }
    assert found == ({name} if name else set())
    assert name is None or isinstance(name, str)
    return name


def becomes(server: Service, expected: str | None, seconds: float = 3.0) -> None:
    end = time.monotonic() + seconds
    while (found := in_force(server)) != expected:
        assert time.monotonic() < end, f"{found} is in force, not {expected}"
        time.sleep(0.02)


def stays(server: Service, expected: str | None) -> None:
    end = time.monotonic() + 4 * TTL
    while time.monotonic() < end:
        assert in_force(server) == expected
        time.sleep(0.02)


def test_a_broken_profile_changes_nothing_and_a_fixed_one_is_used(
    api: APIServer, function: Local
) -> None:
    for broken in ("[", '[{"name": 5}]', "[" * 100_000, '"' * 1000):
        put(api, broken)
        stays(function, "v0")
    put(api, version(1))
    becomes(function, "v1")


def test_an_empty_or_deleted_profile_changes_no_pod(api: APIServer, function: Local) -> None:
    put(api, "")
    becomes(function, None)
    put(api, version(1))
    becomes(function, "v1")
    kept = api.get("v1", "configmaps", "kube-system", "eci-profile")["metadata"]
    assert function.metric("eci_profile_profile_resource_version") == int(kept["resourceVersion"])
    api.delete_config_map("kube-system", "eci-profile")
    becomes(function, None)
    assert function.metric("eci_profile_profile_resource_version") == 0
    put(api, version(2))
    becomes(function, "v2")


def test_a_1_mib_profile_with_ten_thousand_selectors_is_used(
    api: APIServer, function: Local
) -> None:
    many: list[dict[str, Any]] = [
        {"name": f"s{number}", "objectSelector": {"matchLabels": {"n": str(number)}}}
        for number in range(10_000)
    ]
    text = json.dumps([*many, *json.loads(version(1))])
    text += " " * (2**20 - len(text))
    assert len(text) == 2**20
    put(api, text)
    becomes(function, "v1", 10)
    assert function.metric("eci_profile_profile_selectors") == 10_001


def delays(server: Server, seconds: float, selector: str = "none") -> list[float]:
    """Send reviews one after another, at most until one matches; return how long each took."""
    body = json.dumps(review_of(POD)).encode()
    found = []
    with contextlib.closing(server.connect()) as connection:
        end = time.monotonic() + seconds
        matched = False
        while time.monotonic() < end and not matched:
            began = time.perf_counter()
            reply = exchange(connection, "POST", "/mutate", body)
            found.append(time.perf_counter() - began)
            assert reply.status == 200
            matched = selector.encode() in reply.body
            time.sleep(0.001)
    return found


@pytest.mark.quiet
def test_no_review_waits_while_ten_thousand_selectors_load(tmp_path: Path) -> None:
    def written(number: int, count: int) -> str:
        effect = {"annotations": {"k8s.aliyun.com/eci-use-specs": "2-4Gi"}}
        many = [
            {
                "name": f"s{each}",
                "objectSelector": {"matchLabels": {"n": f"{number}-{each}"}},
                "effect": effect,
            }
            for each in range(count)
        ]
        many += json.loads(version(number))
        # PyYAML would take longer to write it than the server to read it.
        head = "kind: ConfigMap\nmetadata: {name: eci-profile}\ndata:\n  selectors: |\n"
        return f"{head}    {json.dumps(many)}\n"

    profile = tmp_path / "profile.yaml"
    profile.write_text(written(0, 0))
    longest = []  # of up to three times, because other load on the machine doesn't count
    # The profile is refreshed a tenth of the TTL before it expires, which exceeds the load time.
    environment = {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(profile),
        "ECI_PROFILE_TTL": "3",
    }
    with container(environment, tmp_path / "server.log") as server:
        assert server.post(review_of(POD)).status == 200
        usual = max(delays(server, 1))
        for number in range(1, 4):
            (tmp_path / "new.yaml").write_text(written(number, 9_999))
            (tmp_path / "new.yaml").replace(profile)
            longest.append(max(delays(server, 4, f'"v{number}"') + delays(server, 0.3)))
            assert server.metric("eci_profile_profile_selectors") == 10_000
            if longest[-1] < 0.025 * slowness() + 2 * usual:
                return
    raise AssertionError(f"{longest} seconds, and usually {usual}")


def test_during_edits_each_response_belongs_to_one_version(api: APIServer, server: Server) -> None:
    seen: list[str | None] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def load() -> None:
        try:
            while not done.is_set():
                seen.append(in_force(server))
                time.sleep(0.01)
        except BaseException as error:  # reported by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 101):
        put(api, version(number))
        time.sleep(0.03)
    becomes(server, "v100")
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert None not in seen
    assert len(set(seen)) > 10


def test_hundreds_of_namespaces_are_not_mixed_up(api: APIServer, function: Local) -> None:
    put(api, BY_NAMESPACE)
    names = [f"team-{number * 7919 % 300}" for number in range(300)]
    for number, name in enumerate(names):
        api.put_namespace(name, {"eci": str(number % 2 == 0).lower()})
    api.put_namespace("team-a", {"eci": "false"})
    becomes(function, None)
    for number, name in enumerate(names):
        review = review_of(POD, namespace=name)
        assert ("patch" in checked(function.post(review), review)) == (number % 2 == 0)


def test_a_recreated_namespace_has_its_new_labels(api: APIServer, function: Local) -> None:
    put(api, BY_NAMESPACE)
    api.put_namespace("team-a", {"eci": "true"})
    becomes(function, "eci")
    api.delete_namespace("team-a")
    api.put_namespace("team-a", {"eci": "false"})
    becomes(function, None)


def test_a_thousand_concurrent_reviews_on_a_cold_key_all_succeed(
    api: APIServer, server: Server
) -> None:
    put(api, BY_NAMESPACE)
    api.put_namespace("team-a", {"eci": "false"})
    becomes(server, None)
    api.put_namespace("cold", {"eci": "true"})
    review = json.loads(json.dumps(review_of(POD, namespace="cold")))
    answers: list[bool] = []

    def ask() -> None:
        answers.append("patch" in checked(server.post(review), review))

    with api.fault("slow", "/api/v1/namespaces/cold", delay=1):
        threads = [threading.Thread(target=ask) for _ in range(1000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [True] * 1000
    assert api.count("GET", "/api/v1/namespaces/cold") <= 5


@pytest.mark.skipif(FAKETIME is None, reason="Debian's libfaketime is not installed")
def test_setting_the_clock_back_or_forward_changes_nothing(
    api: APIServer, environment: dict[str, str], tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    faked = {
        **environment,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    # libfaketime breaks gunicorn's sleep; --debug serves without gunicorn.
    with serving(faked, tmp_path / "server.log", "--debug") as server:
        # Startup is slow under libfaketime.
        wait_until(lambda: server.request("GET", "/readyz").status == 200)
        assert in_force(server) == "v0"
        for number, offset in enumerate(("+30d", "-30d", "+0"), 1):
            began = last_log_line(server)
            clock.write_text(offset)
            put(api, version(number))
            becomes(server, f"v{number}", 5)
            assert abs((last_log_line(server) - began).days) > 20
            assert server.metric("eci_profile_profile_valid") == 1


def last_log_line(server: Server) -> datetime:
    server.log.seek(0)
    lines = [line for line in server.log.read().decode().splitlines() if line.startswith("{")]
    written = json.loads(lines[-1])["timestamp"]
    return datetime.strptime(written, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
