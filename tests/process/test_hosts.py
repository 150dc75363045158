"""Every host returns byte-identical responses."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from apiserver import APIServer
from cases import read_case
from hosts import HOSTS
from local import local
from reviews import PROFILE, REVIEWS
from server import DATA, Server, Service, review_of, serving, wait_until

# unit/test_cases.py runs all cases.
SOME_CASES = (
    "a-mirror-pod-is-untouched",
    "a-namespace-can-be-chosen-by-its-name",
    "a-pod-of-a-deployment-is-placed",
    "a-pod-that-has-everything-is-unchanged",
    "a-refused-placement-is-the-first-warning",
    "a-required-affinity-by-a-bound-beyond-int64-refuses-placement",
    "a-virtual-node-of-ones-own-replaces-the-default",
    "empty-fields-of-the-pod-are-filled",
    "every-selector-that-loses-to-the-pod-is-told",
    "normal-node-prefer-appends-to-the-preferences-of-the-pod",
    "selectors-may-be-json-with-comments-and-tabs",
    "slashes-in-keys-and-tildes-in-values-arrive-unharmed",
    "unicode-values-arrive-whole-and-warnings-stay-ascii",
)


def asgi(environment: Mapping[str, str], log: Path) -> contextlib.AbstractContextManager[Server]:
    return serving(environment, log, "--asgi")


SERVERS = {**HOSTS, "functions-framework --asgi": asgi}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hosts") / "profile.yaml"


@pytest.fixture(scope="module")
def hosts(profile: Path) -> Iterator[Mapping[str, Service]]:
    """The hosts, and the function in process as the reference."""
    profile.write_text(PROFILE)
    settings = {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(profile),
        "ECI_PROFILE_TTL": "0",
        "ECI_PROFILE_MAX_BODY": "1000000",
    }
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(host(settings, profile.with_name(f"{name}.log")))
            for name, host in SERVERS.items()
        }
        yield {**servers, "none": stack.enter_context(local(settings))}


def alike(hosts: Mapping[str, Service], body: bytes, status: int = 200) -> bytes:
    found = {}
    for name, host in hosts.items():
        reply = host.request("POST", "/mutate?timeout=5s", body)
        found[name] = reply.status, reply.headers["content-type"], reply.body
    expected = found["none"]
    assert expected[:2] == (status, "application/json")
    assert found == dict.fromkeys(hosts, expected)
    return expected[2]


@pytest.mark.parametrize("review", sorted(REVIEWS))
def test_a_review(review: str, hosts: Mapping[str, Service], profile: Path) -> None:
    profile.write_text(PROFILE)
    alike(hosts, (DATA / "reviews" / f"{review}.json").read_bytes())


@pytest.mark.parametrize("name", SOME_CASES)
def test_a_case(name: str, hosts: Mapping[str, Service], profile: Path) -> None:
    case = read_case(name)
    shutil.copyfile(case.path, profile)
    alike(hosts, json.dumps(review_of(case.pod)).encode())


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 400), (b"\xff", 400), (b"{}", 400), (b" " * 1_000_001, 413)]
)
def test_a_body_that_is_not_a_review(
    body: bytes, status: int, hosts: Mapping[str, Service]
) -> None:
    assert json.loads(alike(hosts, body, status))["code"] == status


@pytest.mark.parametrize("host", HOSTS)
def test_the_uid_is_returned_unchanged(host: str, hosts: Mapping[str, Service]) -> None:
    review = review_of({"metadata": {}}, uid='ü ✓ 😀"\\\n')
    assert hosts[host].post(review).json["response"]["uid"] == review["request"]["uid"]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "path",
    ["/healthz", "/health/liveness", "/_/health", "/readyz", "/health/readiness", "/_/ready"],
)
def test_probes(host: str, path: str, hosts: Mapping[str, Service], profile: Path) -> None:
    profile.write_text(PROFILE)
    assert hosts[host].request("GET", path).status == 200


@pytest.mark.parametrize("host", HOSTS)
def test_metrics(host: str, hosts: Mapping[str, Service]) -> None:
    hosts[host].request("POST", "/", b"")
    assert hosts[host].metric("eci_profile_reviews_total", outcome="bad_request") >= 1


@pytest.mark.no_cover
@pytest.mark.parametrize("host", HOSTS)
def test_an_invalid_setting_fails_startup(host: str, log: Path) -> None:
    with (
        pytest.raises(
            RuntimeError, match=r"ended: eci-profile: ECI_PROFILE_TTL must be a number.*\n$"
        ),
        HOSTS[host]({"ECI_PROFILE_TTL": "soon"}, log),
    ):
        raise AssertionError


@pytest.mark.no_cover
def test_knative_func_reports_the_last_readiness_check(api: APIServer, log: Path) -> None:
    settings = {
        "KUBECONFIG": str(api.write_kubeconfig(log.with_name("kubeconfig"))),
        "ECI_PROFILE_TTL": "0",
    }
    api.put_config_map("kube-system", "eci-profile", {"selectors": "["})
    with HOSTS["knative-func"](settings, log) as server:

        def told(status: int, words: bytes) -> bool:
            reply = server.request("GET", "/health/readiness")
            return reply.status == status and words in reply.body

        wait_until(lambda: told(500, b"the profile is invalid"), 5)
        api.put_config_map("kube-system", "eci-profile", {"selectors": "[]"})
        wait_until(lambda: told(200, b"ready"), 5)
