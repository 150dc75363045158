"""Every host gives the same answers, byte by byte."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from apiserver import APIServer
from hosts import HOSTS
from server import DATA, Server, review_of, wait_until
from test_cases import CASES
from test_reviews import SELECTORS

PROFILE = yaml.safe_dump(
    {
        "kind": "ConfigMap",
        "metadata": {"name": "eci-profile", "namespace": "kube-system"},
        "data": {"selectors": json.dumps(SELECTORS)},
    }
)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hosts") / "profile.yaml"


@pytest.fixture(scope="module")
def hosts(profile: Path) -> Iterator[Mapping[str, Server]]:
    profile.write_text(PROFILE)
    settings = {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(profile),
        "ECI_PROFILE_TTL": "0",
        "ECI_PROFILE_MAX_BODY": "1000000",
    }
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(host(settings, profile.with_name(f"{name}.log")))
            for name, host in HOSTS.items()
        }


def answers(hosts: Mapping[str, Server], body: bytes) -> Mapping[str, tuple[int, str, bytes]]:
    """The hosts' answers; those that are not the first host's are what fails a test."""
    found = {}
    for name, server in hosts.items():
        reply = server.request("POST", "/mutate?timeout=5s", body)
        found[name] = reply.status, reply.headers["content-type"], reply.body
    return found


def alike(hosts: Mapping[str, Server], body: bytes, status: int = 200) -> bytes:
    found = answers(hosts, body)
    expected = found["functions-framework"]
    assert expected[:2] == (status, "application/json")
    assert found == dict.fromkeys(HOSTS, expected)
    return expected[2]


@pytest.mark.parametrize("review", sorted(path.name for path in DATA.glob("reviews/*.json")))
def test_a_review(review: str, hosts: Mapping[str, Server], profile: Path) -> None:
    profile.write_text(PROFILE)
    alike(hosts, (DATA / "reviews" / review).read_bytes())


@pytest.mark.parametrize("case", CASES)
def test_a_case(case: str, hosts: Mapping[str, Server], profile: Path) -> None:
    given = (DATA / "cases" / f"{case}.in.yaml").read_text("utf-8")
    profile.write_text(given, "utf-8")
    (pod,) = (each for each in yaml.safe_load_all(given) if each["kind"] == "Pod")
    alike(hosts, json.dumps(review_of(pod)).encode())


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 400), (b"\xff", 400), (b"{}", 400), (b" " * 1_000_001, 413)]
)
def test_no_review(body: bytes, status: int, hosts: Mapping[str, Server]) -> None:
    assert json.loads(alike(hosts, body, status))["code"] == status


@pytest.mark.parametrize("host", HOSTS)
def test_the_uid_comes_back_as_it_was(host: str, hosts: Mapping[str, Server]) -> None:
    review = review_of({"metadata": {}}, uid='ü ✓ 😀"\\\n')
    assert hosts[host].post(review).json["response"]["uid"] == review["request"]["uid"]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "path",
    ["/healthz", "/health/liveness", "/_/health", "/readyz", "/health/readiness", "/_/ready"],
)
def test_probes(host: str, path: str, hosts: Mapping[str, Server], profile: Path) -> None:
    profile.write_text(PROFILE)
    assert hosts[host].request("GET", path).status == 200


@pytest.mark.parametrize("host", HOSTS)
def test_metrics(host: str, hosts: Mapping[str, Server]) -> None:
    hosts[host].request("POST", "/", b"")
    assert hosts[host].metric("eci_profile_reviews_total", outcome="bad_request") >= 1


@pytest.mark.parametrize("host", HOSTS)
def test_a_wrong_setting_ends_the_start(host: str, log: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"eci-profile: ECI_PROFILE_TTL must be a number"),
        HOSTS[host]({"ECI_PROFILE_TTL": "soon"}, log),
    ):
        raise AssertionError


def test_knative_func_tells_readiness_by_its_last_look(api: APIServer, log: Path) -> None:
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
