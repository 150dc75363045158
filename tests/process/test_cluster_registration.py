"""The registration that follows the profile, over real sockets: what is written, when, by whom."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import USER, APIServer
from hosts import SERVE
from local import Local, local
from manifests import K8S
from registration import selects
from server import Server, Service, free_port, running, wait_until

from handler.cluster.registration import narrowed
from handler.profiles.parse import parse

PATH = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/eci-profile"
PROFILE = "/api/v1/namespaces/kube-system/configmaps/eci-profile"
WIDE = yaml.safe_load((K8S / "base" / "mutating-webhook-configuration.yaml").read_text())
TTL = 5.0
PERIOD = 5.0  # of a look at the registration, and of the readiness probe in k8s/


@pytest.fixture
def api(api: APIServer) -> APIServer:
    """With the rights of the component, the wide registration, and a profile."""
    api.narrow_registration = True
    api.put_registration(WIDE)
    put_profile(api, "a")
    return api


def put_profile(api: APIServer, *values: str) -> None:
    """A profile with a selector for each value of the label app."""
    api.put_config_map("kube-system", "eci-profile", data_of(*values))


def data_of(*values: str) -> dict[str, str]:
    selectors = [
        {"name": f"{index}", "objectSelector": {"matchLabels": {"app": value}}}
        for index, value in enumerate(values)
    ]
    return {"selectors": json.dumps(selectors)}


def narrow(*values: str) -> list[dict[str, Any]]:
    """The webhooks for a profile with these selectors."""
    webhooks: list[dict[str, Any]] = narrowed(WIDE, parse(data_of(*values)))["webhooks"]
    return webhooks


def webhooks(api: APIServer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.registration()["webhooks"]
    return found


def sends(api: APIServer, value: str) -> bool:
    """Whether a pod with this value of the label app is sent to the function."""
    pod = {"metadata": {"labels": {"app": value}}}
    return any(selects(webhook, pod, {}) for webhook in webhooks(api))


def settings_for(api: APIServer, directory: Path, **settings: str) -> dict[str, str]:
    return {
        "KUBECONFIG": str(api.write_kubeconfig(directory / "kubeconfig")),
        "ECI_PROFILE_TTL": str(TTL),
        "ECI_PROFILE_REGISTRATION": "eci-profile",
        **settings,
    }


def on(api: APIServer, directory: Path, **settings: str) -> AbstractContextManager[Local]:
    """The function in this process, whose clock can be put forward."""
    return local(settings_for(api, directory, **settings))


def checks(server: Service, result: str) -> float:
    return server.metric("eci_profile_registration_checks_total", result=result)


def probed(server: Local, result: str, path: str = "/readyz") -> None:
    """Probe it, and wait for its look at the registration, which ends like this."""
    before = checks(server, result)
    assert server.request("GET", path).status == 200
    wait_until(lambda: checks(server, result) > before)


def later(server: Local, result: str) -> None:
    """Probe it after the time in which a changed profile is noticed."""
    server.pass_time(TTL + 0.1)
    probed(server, result)


def test_it_becomes_as_narrow_as_the_profile_and_follows_it(api: APIServer, tmp_path: Path) -> None:
    with on(api, tmp_path) as server:
        probed(server, "written")
        assert webhooks(api) == narrow("a")
        assert sends(api, "a")
        assert not sends(api, "b")
        put_profile(api, "a", "b")
        later(server, "written")
        assert webhooks(api) == narrow("a", "b")
        put_profile(api)
        later(server, "written")
        assert webhooks(api) == narrow()
        api.delete_config_map("kube-system", "eci-profile")
        later(server, "unchanged")
        put_profile(api, "b")
        later(server, "written")
        assert sends(api, "b")
        metadata = api.registration()["metadata"]
        assert metadata["labels"] == WIDE["metadata"]["labels"]
        (line, *_) = [
            each for each in server.log_lines() if "updated for the profile" in each["message"]
        ]
        assert (line["level"], line["registration"], line["webhooks"]) == ("INFO", "eci-profile", 2)


@pytest.mark.parametrize("path", ["/readyz", "/healthz", "/_/health"])
def test_any_probe_keeps_it_going(path: str, api: APIServer, tmp_path: Path) -> None:
    """OpenFaaS asks for liveness only."""
    with on(api, tmp_path) as server:
        probed(server, "written", path)
        assert webhooks(api) == narrow("a")


def test_nothing_is_written_when_nothing_has_changed(api: APIServer, tmp_path: Path) -> None:
    with on(api, tmp_path) as server:
        probed(server, "written")
        api.clear_requests()
        for _ in range(5):
            server.request("GET", "/readyz")
        assert api.requests == []
        for _ in range(5):
            later(server, "unchanged")
        assert api.count("PATCH") == 0
        assert api.count("GET", PATH) == 5
    with on(api, tmp_path) as server:  # a new process
        probed(server, "unchanged")
        assert api.count("PATCH") == 0


def test_what_others_write_is_kept_or_put_right(api: APIServer, tmp_path: Path) -> None:
    with on(api, tmp_path) as server:
        probed(server, "written")
        changed = api.registration()
        wide = {**changed["webhooks"][0], "failurePolicy": "Fail", "timeoutSeconds": 3}
        wide["clientConfig"] = {**wide["clientConfig"], "caBundle": "QUJD"}
        wide["matchConditions"] = [{"name": "mine", "expression": "true"}]
        api.put_registration({**changed, "webhooks": [wide, *changed["webhooks"][1:]]})
        later(server, "written")
        assert webhooks(api)[0] == wide
        for field in ("failurePolicy", "timeoutSeconds", "clientConfig", "matchConditions"):
            assert [each[field] for each in webhooks(api)] == 2 * [wide[field]]
        api.put_registration(WIDE)  # as `make install` does
        later(server, "written")
        assert webhooks(api) == narrow("a")


def test_65_pairs_are_wide_and_64_narrow_again(api: APIServer, tmp_path: Path) -> None:
    values = [str(number) for number in range(65)]
    put_profile(api, *values)
    with on(api, tmp_path) as server:
        probed(server, "unchanged")
        assert webhooks(api) == WIDE["webhooks"]
        put_profile(api, *values[:64])
        later(server, "written")
        assert len(webhooks(api)) == 1 + 64
        put_profile(api, *values)
        later(server, "written")
        assert webhooks(api) == WIDE["webhooks"]


def test_an_invalid_profile_leaves_it_as_it_is_or_makes_it_wide(
    api: APIServer, tmp_path: Path
) -> None:
    broken = {"selectors": "[{"}
    with on(api, tmp_path) as server:
        probed(server, "written")
        api.put_config_map("kube-system", "eci-profile", broken)
        later(server, "unchanged")
        assert webhooks(api) == narrow("a")  # the last good profile's, which is in force
        # Another replica has read a valid one in between, and has that in force.
        api.put_registration({**WIDE, "webhooks": narrow("b")})
        later(server, "written")
        assert webhooks(api) == WIDE["webhooks"]
        later(server, "unchanged")
    api.put_registration({**WIDE, "webhooks": narrow("b")})
    with on(api, tmp_path) as server:  # without a last good one
        assert server.request("GET", "/readyz").status == 503
        wait_until(lambda: checks(server, "unchanged") == 1)
        assert webhooks(api) == narrow("b")


@pytest.mark.parametrize(
    ("break_it", "message", "reason"),
    [
        (
            lambda api: setattr(api, "narrow_registration", False),
            "the registration can't be updated and stays as it is",
            f'forbidden: User "{USER}" cannot get resource "mutatingwebhookconfigurations"',
        ),
        (
            lambda api: api.delete(WIDE["apiVersion"], *PATH.split("/")[4:5], "", "eci-profile"),
            "the registration does not exist",
            "the API server returned 404",
        ),
        (
            lambda api: api.put_registration({**WIDE, "webhooks": [{"name": "a.b.c"}]}),
            "the registration can't be updated and stays as it is",
            "must have one webhook for pods, as `make install` creates it, not 0",
        ),
        (
            lambda api: api.put_registration({**WIDE, "kind": "ValidatingWebhookConfiguration"}),
            "the registration can't be updated and stays as it is",
            "did not return the requested object",
        ),
    ],
    ids=["403", "404", "no-webhook-for-pods", "another-kind"],
)
def test_what_can_not_be_done_is_counted_told_once_and_tried_again(
    break_it: Callable[[APIServer], None],
    message: str,
    reason: str,
    api: APIServer,
    tmp_path: Path,
) -> None:
    break_it(api)
    with on(api, tmp_path) as server:
        probed(server, "failed")
        for _ in range(3):
            server.pass_time(1.1)
            probed(server, "failed")
        (line,) = [each for each in server.log_lines() if each["level"] == "WARNING"]
        assert line["message"] == message
        assert reason in line["reason"]
        assert api.count("PATCH") == 0
        api.narrow_registration = True
        api.put_registration(WIDE)
        server.pass_time(1.1)
        probed(server, "written")
        assert webhooks(api) == narrow("a")
        assert "the registration can be updated again" in [
            each["message"] for each in server.log_lines()
        ]


def test_one_without_webhooks_waits_for_those_of_the_installation(
    api: APIServer, tmp_path: Path
) -> None:
    """The one file creates it so, and its Job adds the wide webhook once the function is ready."""
    empty = {field: value for field, value in WIDE.items() if field != "webhooks"}
    api.put_registration(empty)
    with on(api, tmp_path) as server:
        probed(server, "unchanged")
        later(server, "unchanged")
        assert "webhooks" not in api.registration()
        api.put_registration(WIDE)
        later(server, "written")
        assert webhooks(api) == narrow("a")
        assert not [each for each in server.log_lines() if each["level"] == "WARNING"]


FAULTS: list[tuple[Any, dict[str, Any]]] = [
    ("status", {"code": 403}),
    ("status", {"code": 429, "retry_after": 1}),
    ("status", {"code": 500}),
    ("silent", {}),
    ("trickle", {"delay": 0.3}),
    ("garbage", {}),
    ("wrong_kind", {}),
    ("reset", {}),
]


@pytest.mark.parametrize(
    ("kind", "options"), FAULTS, ids=[f"{kind}-{each.get('code')}" for kind, each in FAULTS]
)
def test_an_outage_leaves_the_old_one_and_holds_up_no_pod(
    kind: Any, options: dict[str, Any], api: APIServer, tmp_path: Path
) -> None:
    with on(api, tmp_path) as server:
        probed(server, "written")
        put_profile(api, "b")
        with api.fault(kind, PATH, **options):
            began = time.monotonic()
            server.pass_time(TTL + 0.1)
            assert server.request("GET", "/readyz").status == 200
            assert time.monotonic() - began < 1
            wait_until(lambda: checks(server, "failed") == 1)
            assert webhooks(api) == narrow("a")
        server.pass_time(1.1)
        probed(server, "written")
        assert webhooks(api) == narrow("b")


def test_a_conflict_is_looked_at_again_at_once(api: APIServer, tmp_path: Path) -> None:
    def change() -> None:
        (webhook,) = WIDE["webhooks"]
        api.put_registration({**WIDE, "webhooks": [{**webhook, "timeoutSeconds": 9}]})

    with on(api, tmp_path) as server, api.meanwhile(change):
        probed(server, "written")
        assert checks(server, "conflict") == 1
        assert [webhook["timeoutSeconds"] for webhook in webhooks(api)] == [9, 9]


def test_a_replica_with_an_older_profile_does_not_undo_what_another_wrote(
    api: APIServer, tmp_path: Path
) -> None:
    """Between its look at the profile and its write, there is a newer profile, and its form."""

    def change() -> None:
        put_profile(api, "new")
        api.put_registration({**WIDE, "webhooks": narrow("new")})

    with on(api, tmp_path) as server, api.meanwhile(change):
        probed(server, "unchanged")
        assert checks(server, "conflict") == 1
        assert checks(server, "written") == 0
        assert webhooks(api) == narrow("new")
    # The same, with a profile that it has in its cache for long.
    with on(api, tmp_path, ECI_PROFILE_TTL="3600") as server:
        probed(server, "unchanged")
        put_profile(api, "newer")
        api.put_registration({**WIDE, "webhooks": narrow("newer")})
        later(server, "unchanged")
        assert webhooks(api) == narrow("newer")


def test_one_that_is_deleted_meanwhile_is_not_created(api: APIServer, tmp_path: Path) -> None:
    def change() -> None:
        api.delete(WIDE["apiVersion"], "mutatingwebhookconfigurations", "", "eci-profile")

    with on(api, tmp_path) as server, api.meanwhile(change):
        probed(server, "failed")
        assert "mutatingwebhookconfigurations/eci-profile" not in api.names()


def test_one_of_kubernetes_1_15_is_v1beta1(api: APIServer, tmp_path: Path) -> None:
    api.registration_versions = ["v1beta1"]
    api.put_registration({**WIDE, "apiVersion": "admissionregistration.k8s.io/v1beta1"})
    with on(api, tmp_path) as server:
        probed(server, "written")
        assert api.registration(version="v1beta1")["webhooks"] == narrow("a")
        assert webhooks(api) == WIDE["webhooks"]


def test_without_the_setting_it_is_not_even_read(api: APIServer, tmp_path: Path) -> None:
    with on(api, tmp_path, ECI_PROFILE_REGISTRATION="") as server:
        for path in ("/readyz", "/healthz"):
            server.request("GET", path)
        server.pass_time(TTL + 0.1)
        server.request("GET", "/readyz")
        assert api.count("GET", PROFILE) == 2
        assert len(api.requests) == 2


@contextmanager
def replicas(api: APIServer, directory: Path, ttl: float) -> Iterator[list[Server]]:
    environment = settings_for(api, directory, ECI_PROFILE_TTL=str(ttl), ECI_PROFILE_DRAIN="0")
    with ExitStack() as stack, ThreadPoolExecutor(3) as threads:

        def started(number: int) -> Server:
            port = free_port()
            settings = {**environment, "PORT": str(port)}
            log = directory / f"{number}.log"
            return stack.enter_context(running(SERVE, port, settings, log))

        yield list(threads.map(started, range(3)))


def test_three_replicas_write_once_and_no_pod_is_lost_for_longer_than_documented(
    api: APIServer, tmp_path: Path
) -> None:
    """No review comes: the only requests are probes."""
    ttl, period = 1.0, 0.5
    over = threading.Event()

    def probe(server: Server) -> None:
        while not over.is_set():
            assert server.request("GET", "/readyz").status == 200
            time.sleep(period)

    with replicas(api, tmp_path, ttl) as servers, ThreadPoolExecutor(3) as threads:
        probes = [threads.submit(probe, server) for server in servers]
        try:
            wait_until(lambda: webhooks(api) == narrow("a"))
            values, took = ["a"], []
            for number in range(8):
                values.append(f"value-{number}")
                put_profile(api, *values)
                began = time.monotonic()
                wait_until(lambda: sends(api, values[-1]))
                took.append(time.monotonic() - began)
                assert webhooks(api) == narrow(*values)
            time.sleep(2 * ttl)
        finally:
            over.set()
        for each in probes:
            each.result()
        assert max(took) < ttl + period + 0.5, took
        done = [request for request in api.requests if request.method == "PATCH"]
        assert sum(request.status == 200 for request in done) == 9
        assert all(request.status in (200, 409) for request in done)
        assert webhooks(api) == narrow(*values)


def test_a_process_that_ends_begins_no_write(api: APIServer, tmp_path: Path) -> None:
    """`make install` without the component makes it wide, while old replicas still drain."""
    port = free_port()
    drains = settings_for(api, tmp_path, ECI_PROFILE_TTL="0.1", ECI_PROFILE_DRAIN="4")
    with running(SERVE, port, {**drains, "PORT": str(port)}, tmp_path / "server.log") as server:
        server.request("GET", "/readyz")
        wait_until(lambda: webhooks(api) == narrow("a"))
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.request("GET", "/readyz").status == 503)
        put_profile(api, "b")
        looks = api.count("GET", PROFILE)
        for _ in range(15):
            assert server.request("GET", "/healthz").status == 200
            time.sleep(0.1)
        assert api.count("GET", PROFILE) > looks
        assert webhooks(api) == narrow("a")
