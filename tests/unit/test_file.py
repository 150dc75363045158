"""The ``file`` provider, and startup errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from local import Local, local
from server import checked, patch_of, review_of

from handler.cluster.cache import LoadError
from handler.cluster.current import ProfileLoader
from handler.cluster.file import FileSource
from handler.cluster.source import SourceError
from handler.profiles.parse import ParsedProfile
from handler.profiles.text import MAX_FILE_BYTES

PROFILE = """
kind: ConfigMap
metadata: {{name: eci-profile, namespace: kube-system}}
data:
  selectors: |
    [{{"name": "a", "namespaceSelector": {{"matchLabels": {{"{key}": "{value}"}}}}}}]
---
kind: Namespace
metadata: {{name: team-a, labels: {{eci: "true"}}}}
"""
POD = {"metadata": {"name": "web", "namespace": "team-a"}, "spec": {"containers": []}}


def on(profile: Path, **settings: str) -> Any:
    return local(
        {
            "ECI_PROFILE_PROVIDER": "file",
            "ECI_PROFILE_FILE": str(profile),
            "ECI_PROFILE_TTL": "0.1",
            **settings,
        }
    )


def placed(server: Local, namespace: str = "team-a") -> bool:
    review = review_of(POD, namespace=namespace)
    return bool(patch_of(checked(server.post(review), review)))


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "profile.yaml"
    path.write_text(PROFILE.format(key="eci", value="true"))
    return path


def test_the_file_is_read_again_when_it_changes(profile: Path) -> None:
    with on(profile) as server:
        assert placed(server)
        profile.write_text(PROFILE.format(key="eci", value="not"))
        server.pass_time(0.2)
        assert not placed(server)


def test_an_invalid_or_deleted_file_leaves_the_last_good_one_in_force(profile: Path) -> None:
    with on(profile) as server:
        assert placed(server)
        profile.write_text("kind: [")
        server.pass_time(0.2)
        assert placed(server)
        profile.unlink()
        server.pass_time(0.2)
        assert placed(server)
        profile.write_text(PROFILE.format(key="eci", value="not"))
        server.pass_time(1.5)
        assert not placed(server)


@pytest.mark.parametrize(
    "truncated",
    [
        "",
        "\n  \n",
        "# a comment\n",
        "---\n",
        "kind: ConfigMap\nmetadata: {name: eci-pro",
        "kind: ConfigMap\nmet",
    ],
)
def test_a_partially_written_file_leaves_the_last_good_one_in_force(
    truncated: str, profile: Path
) -> None:
    source = FileSource(str(profile))
    loader = ProfileLoader(source, "kube-system", "eci-profile")
    good = loader.load().matcher
    assert good
    profile.write_text(truncated)
    for _ in range(2):  # the second time, the error comes from the cache
        with pytest.raises(LoadError, match=re.escape(str(profile))):
            loader.load()
    profile.write_text(PROFILE.format(key="eci", value="not"))
    assert loader.load().matcher not in (None, good)


def test_a_file_truncated_within_the_selectors_leaves_the_last_good_ones(profile: Path) -> None:
    loader = ProfileLoader(FileSource(str(profile)), "kube-system", "eci-profile")
    good = loader.load().matcher
    profile.write_text(profile.read_text().partition('"eci"')[0])
    state = loader.load()
    assert state.matcher is good
    assert "selectors: line 1" in state.errors


def test_a_file_with_only_other_objects_has_no_profile(profile: Path) -> None:
    loader = ProfileLoader(FileSource(str(profile)), "kube-system", "eci-profile")
    loader.load()
    profile.write_text("{kind: Namespace, metadata: {name: a}}")
    matcher = loader.load().matcher
    assert matcher
    assert matcher.profile == ParsedProfile()


def test_a_file_may_begin_with_a_byte_order_mark(profile: Path) -> None:
    profile.write_text(profile.read_text(), "utf-8-sig")
    loader = ProfileLoader(FileSource(str(profile)), "kube-system", "eci-profile")
    assert loader.load().matcher


def test_a_file_above_the_size_limit_is_rejected(profile: Path) -> None:
    profile.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    for path in (str(profile), "/dev/zero"):
        with pytest.raises(SourceError, match=r"the limit is 8388608 bytes \(8 MiB\); split it"):
            FileSource(path).namespace_labels("a")


def test_every_namespace_has_the_label_with_its_name(profile: Path) -> None:
    profile.write_text(PROFILE.format(key="kubernetes.io/metadata.name", value="team-b"))
    with on(profile) as server:
        assert not placed(server)
        assert placed(server, "team-b")


def test_other_kinds_lists_and_a_config_map_without_namespace_are_accepted(
    tmp_path: Path,
) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text(
        """
kind: List
items:
- {kind: ConfigMap, metadata: {name: other}, data: {selectors: '['}}
- {kind: ConfigMap, metadata: {name: eci-profile}, data: {selectors: '[{"name": "a",
    "objectSelector": {}}]'}}
---
---
kind: Deployment
spec: anything
"""
    )
    with on(profile) as server:
        assert placed(server)


def test_a_file_without_a_profile_changes_no_pod(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("")
    with on(profile) as server:
        assert not placed(server)


def test_service_environment_variables_are_not_settings(profile: Path) -> None:
    service = {
        "ECI_PROFILE_SERVICE_HOST": "10.0.0.1",
        "ECI_PROFILE_SERVICE_PORT": "443",
        "ECI_PROFILE_PORT": "tcp://10.0.0.1:443",
        "ECI_PROFILE_NAME_PORT": "tcp://10.0.0.1:443",
        "ECI_PROFILE_NAME_SERVICE_PORT_HTTPS": "443",
        "ECI_PROFILE_PORT_443_TCP": "tcp://10.0.0.1:443",
        "ECI_PROFILE_PORT_443_TCP_PROTO": "tcp",
        "ECI_PROFILE_PORT_443_TCP_PORT": "443",
        "ECI_PROFILE_PORT_443_TCP_ADDR": "10.0.0.1",
    }
    with on(profile, **service) as server:
        assert placed(server)


def test_an_invalid_profile_does_not_fail_startup_but_is_503(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("{kind: ConfigMap, metadata: {name: eci-profile}, data: {selectors: '[5]'}}")
    with on(profile) as server:
        reply = server.post(review_of(POD))
        assert reply.status == 503
        assert "selectors[0]: must be an object, got 5" in reply.json["message"]


def ends(**settings: str) -> str:
    """Return the startup error; process/test_start.py runs real processes."""
    with pytest.raises(SystemExit) as ended, local({"HOME": "/nonexistent", **settings}):
        pass
    line = ended.value.code
    assert isinstance(line, str)
    assert line.startswith("eci-profile: ")
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ECI_PROFILE_PROVIDER": "crd"}, ["ECI_PROFILE_PROVIDER", "'crd'", "cm"]),
        ({"ECI_PROFILE_TTL": "5s"}, ["ECI_PROFILE_TTL", "'5s'", "seconds"]),
        ({"ECI_PROFILE_TTL": "-1"}, ["ECI_PROFILE_TTL", "'-1'"]),
        ({"ECI_PROFILE_TTL": "nan"}, ["ECI_PROFILE_TTL", "'nan'"]),
        ({"ECI_PROFILE_PAGE": "on top"}, ["ECI_PROFILE_PAGE", "'on top'", "1 or 0"]),
        ({"ECI_PROFILE_MAX_BODY": "8Mi"}, ["ECI_PROFILE_MAX_BODY", "'8Mi'", "bytes"]),
        ({"ECI_PROFILE_MAX_BODY": "1"}, ["ECI_PROFILE_MAX_BODY", "'1'"]),
        ({"ECI_PROFILE_NAMESPACE": "Kube"}, ["ECI_PROFILE_NAMESPACE", "'Kube'"]),
        ({"ECI_PROFILE_NAME": "a/b"}, ["ECI_PROFILE_NAME", "'a/b'"]),
        ({"ECI_PROFILE_REGISTRATION": "a/b"}, ["ECI_PROFILE_REGISTRATION", "'a/b'", "Mutating"]),
        (
            {
                "ECI_PROFILE_PROVIDER": "file",
                "ECI_PROFILE_FILE": "README.md",
                "ECI_PROFILE_REGISTRATION": "eci-profile",
            },
            ["ECI_PROFILE_REGISTRATION must not be set", "PROVIDER is file", "'eci-profile'"],
        ),
        ({"ECI_PROFILE_LOG_LEVEL": "loud"}, ["ECI_PROFILE_LOG_LEVEL", "'loud'", "DEBUG"]),
        ({"ECI_PROFILE_LANGUAGE": "fr"}, ["ECI_PROFILE_LANGUAGE", "'fr'", "zh (Chinese)"]),
        ({"ECI_PROFILE_TLL": "5"}, ["ECI_PROFILE_TLL", "did you mean ECI_PROFILE_TTL?"]),
        ({"ECI_PROFILE_ttl": "5"}, ["did you mean ECI_PROFILE_TTL?"]),
        ({"ECI_PROFILE_MAXBODY": "5"}, ["did you mean ECI_PROFILE_MAX_BODY?"]),
        ({"ECI_PROFILE_PROVIDER": "file"}, ["ECI_PROFILE_FILE"]),
        (
            {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": "/no/such"},
            ["/no/such", "No such file"],
        ),
        ({"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": "/"}, ["/", "directory"]),
        ({}, ["no access to the API server", "KUBECONFIG"]),
        ({"KUBECONFIG": ""}, ["~/.kube/config"]),
        ({"KUBECONFIG": "/no/such"}, ["no access to the API server", "/no/such"]),
        ({"KUBECONFIG": "README.md"}, ["KUBECONFIG=README.md"]),
        ({"KUBECONFIG": "LICENSE"}, ["KUBECONFIG=LICENSE"]),
        (
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"},
            ["no access to the API server", "token"],
        ),
    ],
)
def test_an_invalid_setting_fails_startup_with_one_sentence(
    settings: dict[str, str], words: list[str]
) -> None:
    line = ends(**settings)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"kind: [", ["line 1, column 8"]),
        (b"\xff", ["not UTF-8"]),
        (b"- 5", ["not a Kubernetes object"]),
        (b"kind: Namespace", ["a Namespace has no metadata.name"]),
        (b"{kind: Namespace, metadata: {name: a, labels: {b: true}}}", ["label b", "quotes"]),
        (b"{kind: Namespace, metadata: {name: a, labels: []}}", []),
        (b"{kind: Namespace, metadata: {name: a, labels: x}}", ["labels must be an object"]),
        (b"{kind: ConfigMap, metadata: {name: a}, data: x}", ["data must be an object"]),
        (b"[" * 100_000, ["nested too deeply"]),
        (b"{kind: ConfigMap, metadata: {name: a, namespace: [b]}}", ["metadata.namespace", "list"]),
    ],
)
def test_a_file_that_is_not_a_stream_of_objects_fails_startup(
    text: bytes, words: list[str], tmp_path: Path
) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_bytes(text)
    if not words:
        with on(profile) as server:
            assert not placed(server)
        return
    line = ends(ECI_PROFILE_PROVIDER="file", ECI_PROFILE_FILE=str(profile))
    for word in [str(profile), *words]:
        assert word in line
