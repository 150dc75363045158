"""``convert``: what becomes of the Selector objects in data/convert, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import APIServer
from apiserver.discovery import RESOURCES
from cli import run
from server import DATA

from handler.profiles.parse import ParsedProfile, parse

FOLDER = DATA / "convert"
CASES = sorted(path.name for path in FOLDER.glob("*.yaml"))


def selector(name: str = "a", version: str = "v1", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name}
    api_version = f"eci.aliyun.com/{version}"
    return {"apiVersion": api_version, "kind": "Selector", "metadata": metadata, "spec": spec}


def app(value: str) -> dict[str, Any]:
    return {"matchLabels": {"app": value}}


def profile_in(stdout: str) -> ParsedProfile:
    return parse(yaml.safe_load(stdout)["data"])


@pytest.mark.parametrize("case", CASES)
def test_what_becomes_of(case: str) -> None:
    result = run("convert", case, cwd=FOLDER)
    assert result.stdout == (FOLDER / f"{case}.out").read_text("utf-8")
    assert result.stderr == (FOLDER / f"{case}.err").read_text("utf-8")
    assert result.returncode == (1 if ": lost: " in result.stderr else 0)


@pytest.mark.parametrize("case", CASES)
def test_what_comes_out_is_a_valid_profile(case: str) -> None:
    text = (FOLDER / f"{case}.out").read_text("utf-8")
    assert "  selectors: |\n" in text
    found = profile_in(text)
    assert found.selectors
    assert not found.warnings
    names = [each["name"] for each in json.loads(yaml.safe_load(text)["data"]["selectors"])]
    assert [each.name for each in found.selectors] == names  # in the order in which they count
    assert run("check", "-", text=text).returncode == 0


def test_the_golden_files_have_each_policy_and_both_versions() -> None:
    found = [each for case in CASES for each in profile_in((FOLDER / f"{case}.out").read_text())
             .selectors]  # fmt: skip
    assert {(each.policy, each.at) for each in found if each.annotations} == {
        ("fair", "binding"),
        ("normalNodePrefer", "binding"),
        ("virtualNodeOnly", "creation"),
    }
    assert "normalNodeOnly" in {each.policy for each in found}
    text = "".join((FOLDER / case).read_text("utf-8") for case in CASES)
    assert "eci.aliyun.com/v1\n" in text
    assert "eci.aliyun.com/v1beta1\n" in text


@pytest.mark.parametrize(
    ("others", "told"),
    [
        (app("b"), False),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"other": "b"}}, True),
        (None, True),
    ],
)
def test_that_one_wins_is_told_if_two_can_match_a_pod(others: Any, told: bool) -> None:
    objects = [selector("a", objectLabels=app("a")), selector("b", objectLabels=others)]
    result = run("convert", "-", text=yaml.safe_dump_all(objects))
    assert result.returncode == 0
    assert result.stderr.count("only one of the matching selectors") == told


def test_names_of_several_namespaces_stay_apart() -> None:
    objects = [selector("a"), selector("a"), selector("b")]
    for number, each in enumerate(objects):
        each["metadata"]["namespace"] = f"team-{number}"
    result = run("convert", "-", text=yaml.safe_dump_all(objects))
    assert result.returncode == 0
    names = [each.name for each in profile_in(result.stdout).selectors]
    assert names == ["team-0/a", "team-1/a", "b"]


def test_odd_characters_survive() -> None:
    notes = {"a": " two\n lines \n", "b": "\x7f\u2028\ufeff\u0085", "c": "😀: #", "d": "1e3"}
    value = selector("无", objectLabels={}, effect={"annotations": notes})
    text = yaml.safe_dump(value, default_style='"')
    result = run("convert", "-", text=text)
    assert result.returncode == 0
    (found,) = profile_in(result.stdout).selectors
    assert (found.name, found.annotations) == ("无", notes)


def test_the_config_map_is_that_of_the_settings() -> None:
    settings = {"ECI_PROFILE_NAMESPACE": "acs", "ECI_PROFILE_NAME": "acs-profile"}
    result = run("convert", "-", text=json.dumps(selector()), environment=settings)
    metadata = yaml.safe_load(result.stdout)["metadata"]
    assert metadata == {"name": "acs-profile", "namespace": "acs"}


def test_a_profile_without_selectors_is_not_written() -> None:
    result = run("convert", "-", text=json.dumps(selector(objectLabels=5)))
    assert (result.returncode, result.stdout) == (1, "")
    assert "spec.objectLabels: must be an object, got 5; the Selector is left out" in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: ConfigMap", "<stdin> has no Selector objects of eci.aliyun.com"),
        ("kind: Selector", "<stdin> has no Selector objects of eci.aliyun.com"),
        ("", "<stdin> has no Selector objects of eci.aliyun.com"),
        ("- 1", "<stdin>: a document is not a Kubernetes object"),
        ("a: [", "<stdin>:1:5: did not find expected node content"),
    ],
)
def test_what_has_none_is_a_wrong_use(text: str, said: str) -> None:
    result = run("convert", "-", text=text)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"eci-profile: {said}")


@pytest.mark.no_cover  # which takes several times as long
def test_more_than_a_config_map_holds_is_a_wrong_use() -> None:
    effect = {"annotations": {"a": "x" * 250_000}}
    objects = [selector(str(number), effect=effect) for number in range(7)]
    result = run("convert", "-", text="\n---\n".join(map(json.dumps, objects)))
    assert (result.returncode, result.stdout) == (2, "")
    assert "a ConfigMap holds at most" in result.stderr


@pytest.mark.no_cover  # which takes several times as long
def test_thousands_are_converted_at_once() -> None:
    objects = [selector(f"s{n}", objectLabels=app(f"s{n}"), priority=n) for n in range(2000)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    result = run("convert", "-", text=text)
    assert result.returncode == 0
    assert profile_in(result.stdout).selectors[0].name == "s1999"


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_those_of_a_cluster(
    version: str, api: APIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = api.write_kubeconfig(tmp_path / "kubeconfig", admin=True)
    environment = {"KUBECONFIG": str(kubeconfig)}
    absent = run("convert", "cluster", environment=environment)
    assert (absent.returncode, absent.stdout) == (2, "")
    assert absent.stderr == (
        "eci-profile: the cluster has no Selector objects: its API server doesn't know"
        " eci.aliyun.com\n"
    )
    group = f"eci.aliyun.com/{version}"
    monkeypatch.setitem(RESOURCES, group, [("selectors", "Selector", False)])
    empty = run("convert", "cluster", environment=environment)
    assert (empty.returncode, empty.stdout) == (2, "")
    assert empty.stderr == "eci-profile: the cluster has no Selector objects of eci.aliyun.com\n"
    written = selector(version=version, objectLabels=app("a"), priority=1, owner="me")
    api.put(group, "selectors", "", written)
    result = run("convert", "cluster", environment=environment)
    assert result.returncode == 1
    assert result.stderr == "lost: Selector a: spec.owner: unknown field, left out\n"
    assert [each.name for each in profile_in(result.stdout).selectors] == ["a"]
    for fault, said in (
        ("wrong_kind", "did not return the requested list"),
        ("garbage", "did not return the requested object"),
    ):
        with api.fault(fault, f"/apis/{group}/"):  # type: ignore[arg-type]
            wrong = run("convert", "cluster", environment=environment)
        assert wrong.returncode == 2
        assert said in wrong.stderr


def test_who_may_not_list_them_is_told(api: APIServer, tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(api.write_kubeconfig(tmp_path / "kubeconfig"))}
    result = run("convert", "cluster", environment=environment)
    assert (result.returncode, result.stdout) == (2, "")
    assert "the API server returned 403" in result.stderr


def test_check_points_to_it() -> None:
    for text in (json.dumps(selector()), (FOLDER / "order.yaml").read_text("utf-8")):
        result = run("check", "-", text=text)
        assert (result.returncode, result.stdout) == (2, "")
        assert "to convert its Selector objects, run python -m handler convert" in result.stderr
    assert "convert" not in run("check", "-", text="kind: Pod").stderr
