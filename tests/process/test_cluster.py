"""The ``cm`` provider: the real kubernetes client against a fake kube-apiserver."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from apiserver import APIServer
from hosts import container
from local import Local, local
from server import Reply, Server, Service, checked, patch_of, review_of, wait_until

from handler.version import VERSION

PROFILE = "/api/v1/namespaces/kube-system/configmaps/eci-profile"
NAMESPACE = "/api/v1/namespaces/team-a"
EVENTS = "/api/v1/namespaces/kube-system/events"

BY_POD = [{"name": "by-pod", "objectSelector": {"matchLabels": {"eci": "true"}}}]
BY_NAMESPACE = [{"name": "by-namespace", "namespaceSelector": {"matchLabels": {"eci": "true"}}}]
BOTH = [*BY_POD, *BY_NAMESPACE]
BROKEN = '[{"name": "x"'

LONG = 30.0
TTL = 1.0


def put_profile(api: APIServer, selectors: Any) -> None:
    text = selectors if isinstance(selectors, str) else json.dumps(selectors)
    api.put_config_map("kube-system", "eci-profile", {"selectors": text})


def pod(namespace: str = "team-a", **labels: str) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "web", "image": "nginx:1.27"}]},
    }


def settings_for(api: APIServer, directory: Path, ttl: float, **settings: str) -> dict[str, str]:
    return {
        "KUBECONFIG": str(api.write_kubeconfig(directory / "kubeconfig")),
        "ECI_PROFILE_TTL": str(ttl),
        **settings,
    }


def on(
    api: APIServer, directory: Path, ttl: float = LONG, **settings: str
) -> AbstractContextManager[Local]:
    """Run the function in this process, with a clock that the test can advance."""
    return local(settings_for(api, directory, ttl, **settings))


def server_on(api: APIServer, directory: Path, ttl: float = LONG) -> AbstractContextManager[Server]:
    """Start a real server, for tests with concurrent requests or real time."""
    return container(settings_for(api, directory, ttl), directory / "server.log")


def placed(server: Service, pod: dict[str, Any], **request: Any) -> bool:
    review = review_of(pod, **request)
    return bool(patch_of(checked(server.post(review), review)))


def send(server: Service, pod: dict[str, Any], **request: Any) -> Reply:
    return server.post(review_of(pod, **request))


def uses_of_profile(server: Service) -> float:
    results = ("fresh", "loaded", "stale", "failed")
    name = "eci_profile_cache_uses_total"
    return sum(server.metric(name, cache="profile", result=result) for result in results)


def test_an_existing_profile_is_in_force(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, BY_POD)
    with on(api, tmp_path) as server:
        assert placed(server, pod(eci="true"))
        assert not placed(server, pod(eci="false"))
        assert server.request("GET", "/readyz").json == {"status": "ready", "selectors": 1}


def test_an_absent_profile_has_no_selectors(api: APIServer, tmp_path: Path) -> None:
    with on(api, tmp_path) as server:
        assert not placed(server, pod(eci="true"))
        assert server.request("GET", "/readyz").status == 200
        started, absent = server.log_lines()[:2]
        assert (started["message"], started["version"]) == ("starting", VERSION)
        assert "no profile" in absent["message"]


def test_namespace_and_config_map_name_can_be_configured(api: APIServer, tmp_path: Path) -> None:
    api.put_namespace("eci")
    api.put_config_map("eci", "mine", {"selectors": json.dumps(BY_POD)})
    settings: dict[str, Any] = {"ECI_PROFILE_NAMESPACE": "eci", "ECI_PROFILE_NAME": "mine"}
    with on(api, tmp_path, **settings) as server:
        assert placed(server, pod(eci="true"))


def test_a_selector_without_namespace_selector_reads_no_namespace(
    api: APIServer, tmp_path: Path
) -> None:
    put_profile(api, BY_POD)
    api.put_namespace("team-a")
    with on(api, tmp_path) as server:
        placed(server, pod(eci="true"))
        placed(server, pod())
        assert api.count("GET", NAMESPACE) == 0


def test_a_namespace_is_read_only_if_the_pods_labels_do_not_decide(
    api: APIServer, tmp_path: Path
) -> None:
    put_profile(
        api,
        [
            {
                "name": "both",
                "objectSelector": {"matchLabels": {"app": "web"}},
                "namespaceSelector": {"matchLabels": {"eci": "true"}},
            },
            {"name": "all", "objectSelector": {}, "namespaceSelector": {}},
        ],
    )
    api.put_namespace("team-a", {"eci": "true"})
    with on(api, tmp_path) as server:
        review = review_of(pod(app="db"))
        response = checked(server.post(review), review)
        assert response["auditAnnotations"]["selectors"] == "all"
        assert api.count("GET", NAMESPACE) == 0
        review = review_of(pod(app="web"))
        response = checked(server.post(review), review)
        assert response["auditAnnotations"]["selectors"] == "both,all"
        assert api.count("GET", NAMESPACE) == 1


def test_opted_out_pods_need_no_api_server(api: APIServer, tmp_path: Path) -> None:
    api.refuse()
    with on(api, tmp_path) as server:
        assert not placed(server, pod(**{"alibabacloud.com/eci": "false"}))


@pytest.mark.no_cover
def test_concurrent_reviews_on_a_cold_cache_read_each_object_once(
    api: APIServer, tmp_path: Path
) -> None:
    put_profile(api, BOTH)
    names = [f"team-{number}" for number in range(10)]
    for name in names:
        api.put_namespace(name, {"eci": "true"})
    with server_on(api, tmp_path) as server, ThreadPoolExecutor(200) as threads:
        answers = threads.map(lambda n: placed(server, pod(names[n % 10])), range(200))
        assert all(answers)
        assert api.count("GET", PROFILE) == 1
        assert [api.count("GET", f"/api/v1/namespaces/{name}") for name in names] == [1] * 10
        assert len(api.requests) == 11


def test_an_edit_is_in_force_after_the_ttl(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, BOTH)
    api.put_namespace("team-a")
    with on(api, tmp_path, ttl=TTL) as server:
        assert placed(server, pod(eci="true"))
        assert not placed(server, pod())
        put_profile(api, BY_NAMESPACE)
        api.put_namespace("team-a", {"eci": "true"})
        server.pass_time(TTL)
        assert placed(server, pod())
        put_profile(api, [])
        server.pass_time(TTL)
        assert not placed(server, pod(eci="true"))


@pytest.mark.no_cover
def test_under_steady_load_no_review_waits_and_each_object_is_read_once_per_ttl(
    api: APIServer, tmp_path: Path
) -> None:
    put_profile(api, BY_NAMESPACE)
    api.put_namespace("team-a", {"eci": "true"})
    with server_on(api, tmp_path, ttl=TTL) as server:
        assert placed(server, pod())
        end = time.monotonic() + 5 * TTL
        while time.monotonic() < end:
            assert placed(server, pod())
            time.sleep(0.01)
        assert server.metric("eci_profile_cache_uses_total", cache="profile", result="loaded") == 1
        assert (
            server.metric("eci_profile_cache_uses_total", cache="namespace", result="loaded") == 1
        )
        for path in (PROFILE, NAMESPACE):
            assert 5 <= api.count("GET", path) <= 8


def test_an_unused_entry_is_not_refreshed(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, BY_POD)
    with on(api, tmp_path, ttl=0.2) as server:
        assert placed(server, pod(eci="true"))
        time.sleep(1)
        assert api.count("GET", PROFILE) == 1


@pytest.mark.parametrize(
    ("fault", "options", "reason"),
    [
        ("status", {"code": 401}, "credentials are wrong"),
        ("status", {"code": 403}, "is forbidden: User"),
        ("status", {"code": 429, "retry_after": 1}, "returned 429"),
        ("status", {"code": 500}, "returned 500"),
        ("status", {"code": 503}, "returned 503"),
        ("silent", {}, "timed out"),
        ("slow", {"delay": 5}, "timed out"),
        ("drip", {"delay": 0.3}, "timed out"),
        ("trickle", {"delay": 0.3}, ""),
        ("garbage", {"body": b" " * 9_000_000}, "too large"),
        ("cut", {}, "can't be reached"),
        ("reset", {}, "can't be reached"),
        ("garbage", {}, "did not return the requested object"),
        ("wrong_kind", {}, "did not return the requested object"),
    ],
)
def test_api_server_errors_give_503_or_keep_the_last_good_profile(
    fault: Any, options: dict[str, Any], reason: str, api: APIServer, tmp_path: Path
) -> None:
    put_profile(api, BOTH)
    api.put_namespace("team-a", {"eci": "true"})
    with on(api, tmp_path, ttl=TTL) as server:
        with api.fault(fault, **options):
            began = time.monotonic()
            reply = send(server, pod(eci="true"))
            assert reply.status == 503
            assert reason in reply.json["message"]
            assert time.monotonic() - began < 2.5
            assert server.request("GET", "/readyz").status == 503
        wait_until(lambda: send(server, pod()).status == 200, 3)
        assert placed(server, pod())
        with api.fault(fault, **options):
            api.clear_requests()
            server.pass_time(TTL)
            began = time.monotonic()
            while time.monotonic() < began + 2:
                assert placed(server, pod())
                time.sleep(0.05)
            ready = server.request("GET", "/readyz")
            assert ready.status == 200
            assert reason in ready.json["outdated"]
            assert 1 <= api.count("GET", PROFILE) <= 6
            used = server.metric("eci_profile_cache_uses_total", cache="profile", result="stale")
            assert used > 0


@pytest.mark.no_cover
def test_reviews_do_not_wait_for_an_api_server_known_to_be_unreachable(
    api: APIServer, tmp_path: Path
) -> None:
    put_profile(api, BY_POD)
    with server_on(api, tmp_path, ttl=0.5) as server:
        assert placed(server, pod(eci="true"))
        with api.fault("silent"):
            time.sleep(1.5)  # no requests meanwhile: the first review discovers the outage
            placed(server, pod(eci="true"))
            for _ in range(100):
                began = time.monotonic()
                assert placed(server, pod(eci="true"))
                assert time.monotonic() - began < 1  # a read takes 1.5 s
                time.sleep(0.02)


@pytest.mark.no_cover
def test_an_idle_namespace_is_not_waited_for_in_a_known_outage(
    api: APIServer, tmp_path: Path
) -> None:
    put_profile(api, BY_NAMESPACE)
    api.put_namespace("team-a", {"eci": "true"})
    api.put_namespace("team-b", {"eci": "true"})
    with server_on(api, tmp_path, ttl=0.5) as server:
        assert placed(server, pod("team-b"))
        with api.fault("silent"):
            wait_until(
                lambda: "can't be loaded" in str(server.log_lines()) or not send(server, pod())
            )
            began = time.monotonic()
            assert placed(server, pod("team-b"))  # first use since the outage began
            assert time.monotonic() - began < 1


def test_a_failing_namespace_beside_a_healthy_one_is_logged_once(
    api: APIServer, tmp_path: Path
) -> None:
    put_profile(api, BY_NAMESPACE)
    api.put_namespace("team-a", {"eci": "true"})
    api.put_namespace("team-b", {"eci": "true"})
    with on(api, tmp_path, ttl=0.2) as server:
        assert placed(server, pod("team-a"))
        assert placed(server, pod("team-b"))
        with api.fault("status", NAMESPACE, code=500):
            end = time.monotonic() + 3
            while time.monotonic() < end:
                assert placed(server, pod("team-a"))
                assert placed(server, pod("team-b"))
                time.sleep(0.05)
            messages = [line["message"] for line in server.log_lines()]
            told = [each for each in messages if "loaded" in each]
            assert told == ["can't be loaded, the last good one stays in force"]
        wait_until(
            lambda: placed(server, pod()) and "can be loaded again" in str(server.log_lines())
        )


def test_refused_connections_are_retried_within_the_ttl(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, BY_POD)
    api.refuse()
    with on(api, tmp_path, ttl=TTL) as server:
        assert send(server, pod(eci="true")).status == 503
        for _ in range(50):
            assert send(server, pod(eci="true")).status == 503
        api.accept()
        began = time.monotonic()
        wait_until(lambda: send(server, pod(eci="true")).status == 200, 2 * TTL)
        assert time.monotonic() - began < TTL + 0.5
        warnings = [line for line in server.log_lines() if line["level"] == "WARNING"]
        assert len(warnings) == 1
        assert warnings[0]["message"] == "can't be loaded, and there is none yet"
        assert warnings[0]["reason"] == (
            f"the API server {api.url} can't be reached: Failed to establish a new connection:"
            " [Errno 111] Connection refused"
        )
        assert any("can be loaded again" in line["message"] for line in server.log_lines())


def test_a_deleted_namespace_is_no_longer_used(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, BY_NAMESPACE)
    api.put_namespace("team-a", {"eci": "true"})
    with on(api, tmp_path, ttl=TTL) as server:
        assert placed(server, pod())
        api.delete_namespace("team-a")
        server.pass_time(TTL)
        reply = send(server, pod())
        assert reply.status == 503
        assert 'namespaces "team-a" not found' in reply.json["message"]
        assert [line for line in server.log_lines() if line["message"] == "does not exist"]
        api.put_namespace("team-a")
        wait_until(lambda: send(server, pod()).status == 200, 2 * TTL)
        assert not placed(server, pod())


def test_a_profile_that_becomes_malformed_leaves_the_last_good_one_in_force(
    api: APIServer, tmp_path: Path
) -> None:
    put_profile(api, BY_POD)
    with on(api, tmp_path, ttl=0.2) as server:
        assert placed(server, pod(eci="true"))
        put_profile(api, BROKEN)
        server.pass_time(0.3)
        looked_up = uses_of_profile(server)
        for _ in range(10):
            assert placed(server, pod(eci="true"))
            server.pass_time(0.1)
        assert uses_of_profile(server) == looked_up + 10
        assert server.request("GET", "/readyz").status == 200
        assert server.metric("eci_profile_profile_valid") == 0
        wait_until(lambda: len(api.events) == 1, 3)
        (event,) = api.events
        assert (event["reason"], event["type"]) == ("InvalidProfile", "Warning")
        assert event["involvedObject"]["name"] == "eci-profile"
        assert event["message"].startswith("the last good profile stays in force; this one")
        assert "line 1, column 14" in event["message"]
        errors = [line for line in server.log_lines() if line["level"] == "ERROR"]
        assert len(errors) == 1
        assert "last good one stays" in errors[0]["message"]

        put_profile(api, "[5]")
        wait_until(lambda: placed(server, pod(eci="true")) and len(api.events) == 2, 3)
        put_profile(api, [])
        wait_until(lambda: not placed(server, pod(eci="true")), 3)
        assert server.metric("eci_profile_profile_valid") == 1


def test_a_malformed_first_profile_is_503(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, BROKEN)
    with on(api, tmp_path, ttl=0.2) as server:
        reply = send(server, pod(eci="true"))
        assert reply.status == 503
        assert "line 1, column 14" in reply.json["message"]
        assert server.request("GET", "/readyz").status == 503
        put_profile(api, BY_POD)
        wait_until(lambda: send(server, pod(eci="true")).status == 200, 3)
        assert placed(server, pod(eci="true"))


def test_a_dry_run_creates_no_event(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, BROKEN)
    with on(api, tmp_path) as server:
        assert send(server, pod(), dryRun=True).status == 503
        time.sleep(0.5)
        assert api.events == []
        assert send(server, pod()).status == 503
        wait_until(lambda: len(api.events) == 1, 3)


def test_everything_else_works_without_permission_to_create_events(
    api: APIServer, tmp_path: Path
) -> None:
    put_profile(api, BY_POD)
    with on(api, tmp_path, ttl=0.2) as server, api.fault("status", EVENTS, code=403):
        assert placed(server, pod(eci="true"))
        put_profile(api, BROKEN)
        server.pass_time(0.3)
        assert placed(server, pod(eci="true"))
        wait_until(lambda: api.count("POST", EVENTS) == 1, 3)
        time.sleep(0.5)
        assert placed(server, pod(eci="true"))
        assert api.count("POST", EVENTS) == 1


@pytest.mark.no_cover
def test_a_second_replica_adds_no_second_event(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, BROKEN)
    (tmp_path / "other").mkdir()
    with server_on(api, tmp_path) as one, server_on(api, tmp_path / "other") as two:
        send(one, pod())
        wait_until(lambda: len(api.events) == 1, 3)
        send(two, pod())
        wait_until(lambda: api.count("POST", EVENTS) == 2, 3)
        assert len(api.events) == 1


def test_a_rotated_token_is_reloaded(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, BY_POD)
    with on(api, tmp_path, ttl=0.2) as server:
        assert placed(server, pod(eci="true"))
        api.token = "another"
        api.write_kubeconfig(tmp_path / "kubeconfig")
        put_profile(api, [])
        wait_until(lambda: not placed(server, pod(eci="true")), 3)
        assert server.metric("eci_profile_loads_total", cache="profile", result="failed") == 0


def test_a_response_is_used_before_the_timeout_but_not_after_it(
    api: APIServer, tmp_path: Path
) -> None:
    put_profile(api, BY_POD)
    with on(api, tmp_path) as server:
        with api.fault("slow", delay=1.8):
            began = time.monotonic()
            assert send(server, pod(eci="true")).status == 503
            assert time.monotonic() - began < 2
        with api.fault("slow", delay=1.2):
            server.pass_time(1.1)
            assert placed(server, pod(eci="true"))


@pytest.mark.no_cover
def test_an_api_server_name_that_does_not_resolve_is_503(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, BY_POD)
    with on(api, tmp_path, ttl=TTL) as server:
        assert placed(server, pod(eci="true"))
    api.write_kubeconfig(tmp_path / "kubeconfig", server="https://no-such-host.invalid")
    environment = {"KUBECONFIG": str(tmp_path / "kubeconfig")}
    with container(environment, tmp_path / "server.log") as server:
        reply = send(server, pod(eci="true"))
        assert reply.status == 503
        assert re.search("no-such-host.invalid|in time", reply.json["message"])


def test_profile_and_namespace_reads_share_one_timeout(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, BY_NAMESPACE)
    api.put_namespace("team-a")
    with (
        on(api, tmp_path) as server,
        api.fault("slow", PROFILE, delay=1.2),
        api.fault("slow", NAMESPACE, delay=1.2),
    ):
        began = time.monotonic()
        assert send(server, pod()).status == 503
        assert time.monotonic() - began < 2.2
        wait_until(lambda: send(server, pod()).status == 200, 3)


def test_an_api_server_certificate_from_another_ca_is_rejected(
    api: APIServer, tmp_path: Path
) -> None:
    put_profile(api, BY_POD)
    api.rotate_certificate(other_ca=True)
    with on(api, tmp_path) as server:
        reply = send(server, pod(eci="true"))
        assert reply.status == 503
        assert "certificate" in reply.json["message"].lower()


def test_only_single_objects_are_read(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, BOTH)
    api.put_namespace("team-a")
    with on(api, tmp_path) as server:
        placed(server, pod())
        assert {(r.method, r.path) for r in api.requests} == {("GET", PROFILE), ("GET", NAMESPACE)}


def test_the_page_knows_the_namespaces_of_the_cluster(api: APIServer, tmp_path: Path) -> None:
    put_profile(api, BY_NAMESPACE)
    api.put_namespace("team-a", {"eci": "true"})
    pods = "\n---\n".join(json.dumps(pod(name)) for name in ("team-a", "gone"))
    profile = {"selectors": json.dumps(BY_NAMESPACE)}
    question = {"profile": profile, "pod": pods, "namespaces": {}}
    with on(api, tmp_path, ECI_PROFILE_PAGE="1") as function:
        assert function.request("GET", "/profile").json["provider"] == "cluster"
        answer = function.request("POST", "/explain", json.dumps(question).encode()).json
        api.stop()
        later = function.request("POST", "/explain", json.dumps(question).encode()).json
    known, gone = answer["namespaces"]
    assert known["known"]
    assert known["labels"]["eci"] == "true"
    assert gone == {
        "name": "gone",
        "labels": {"kubernetes.io/metadata.name": "gone"},
        "known": False,
    }
    assert [each["selectors"][0]["matches"] for each in answer["pods"]] == [True, None]
    assert answer["pods"][1]["selectors"][0]["unknown"]
    assert answer["changes"] == []
    assert later["pods"] == answer["pods"]
