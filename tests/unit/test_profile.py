"""Profiles: what is taken, and how each problem is named."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
from cases import INVALID

from handler.cluster.current import ProfileLoader
from handler.cluster.file import FileSource
from handler.profiles.collection import put_off
from handler.profiles.model import Toleration, VirtualNode
from handler.profiles.parse import ParsedProfile, ProfileError, parse


def names(text: str) -> list[str]:
    return [selector.name for selector in parse({"selectors": text}).selectors]


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case["name"])
def test_every_problem_is_named(case: dict[str, Any]) -> None:
    with pytest.raises(ProfileError) as error:
        parse(case.get("data") or {"selectors": case["selectors"]})
    assert [str(problem) for problem in error.value.problems] == case["problems"]


@pytest.mark.parametrize("data", [None, {}, {"selectors": ""}, {"selectors": '""'}])
@pytest.mark.parametrize("node", [{}, {"virtualNode": ""}, {"virtualNode": "null"}])
def test_nothing_means_no_selectors(data: dict[str, str] | None, node: dict[str, str]) -> None:
    assert parse(data and {**data, **node}) == ParsedProfile()


@pytest.mark.parametrize("text", ["[]", "null", "\n", "# only a comment\n", "[ ] # none"])
def test_so_do_an_empty_list_and_a_comment(text: str) -> None:
    assert parse({"selectors": text}) == ParsedProfile()


def test_other_keys_belong_to_others() -> None:
    assert (
        parse({"vpcId": "vpc-1", "enableClusterIp": "true", "vSwitchIds": "["}) == ParsedProfile()
    )


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("selector", "selectors"),
        ("Selectors", "selectors"),
        ("virtualnode", "virtualNode"),
        ("virtual-nodes", "virtualNodes"),
        ("records", "record"),
        ("logs", "log"),
    ],
)
def test_a_key_that_looks_misspelt_gets_a_warning(key: str, meant: str) -> None:
    (warning,) = parse({key: "["}).warnings
    expected = f"{key}: unknown key, ignored; did you mean {meant}?"
    assert str(warning) == expected


def test_comments_and_tabs_may_come_together() -> None:
    text = (
        '[\t# the first\n\t{"name":\t"a # no\\tcomment",\n\t"objectSelector":\t{}},\t# the last\n]'
    )
    assert names(text) == ["a # no\tcomment"]


def test_yaml_reads_as_one_expects() -> None:
    text = """
    - name: 'a'   # a comment
      objectSelector:
        matchLabels: {on: yes, date: 2024-01-01, hex: 0x1F, octal: 017, quoted: "true"}
      effect:
        annotations:
          note: |
            two
            lines
    """
    (selector,) = parse({"selectors": text}).selectors
    assert {
        requirement.key: list(requirement.values) for requirement in selector.object or ()
    } == {"on": ["yes"], "date": ["2024-01-01"], "hex": ["0x1F"], "octal": ["017"],
          "quoted": ["true"]}  # fmt: skip
    assert selector.annotations == {"note": "two\nlines\n"}


def test_escapes_of_json_survive_comments() -> None:
    text = '[{"name": "\\ud83d\\ude00 \\u00e9 \\/", "objectSelector": {}}] # a comment'
    assert names(text) == ["😀 é /"]


def test_priority_orders_and_ties_keep_the_lists_order() -> None:
    priorities: list[dict[str, Any]] = [{"priority": 1}, {}, {"priority": 5}, {"priority": -1}, {}]
    selectors = [
        {"name": str(index), "objectSelector": {}, **each} for index, each in enumerate(priorities)
    ]
    assert names(json.dumps(selectors)) == ["2", "0", "1", "4", "3"]


def test_a_key_given_twice_is_doubted() -> None:
    for text in (
        '[{"name": "a", "name": "b", "objectSelector": {}}]',
        "- {name: a, name: b, objectSelector: {}}",
    ):
        profile = parse({"selectors": text})
        assert [selector.name for selector in profile.selectors] == ["b"]
        (warning,) = profile.warnings
        assert str(warning) == ('selectors[0] "b": name: duplicate key, the last value is used')


def test_the_virtual_node_may_be_given_in_part() -> None:
    default = VirtualNode()
    node = parse({"virtualNode": "nodeSelector: {type: virtual-kubelet}"}).virtual_nodes[0]
    assert node.node_selector == {"type": "virtual-kubelet"}
    assert node.tolerations == default.tolerations
    node = parse({"virtualNode": "tolerations: [{operator: Exists}]"}).virtual_nodes[0]
    assert node.node_selector == default.node_selector
    assert node.tolerations == (Toleration(operator="Exists"),)
    assert parse({"virtualNode": '{"tolerations": []}'}).virtual_nodes[0].tolerations == ()


def test_effects_may_be_as_large_as_the_api_server_allows_and_no_larger() -> None:
    def profile(size: int) -> dict[str, str]:
        effect = {"annotations": {"k": "é" * ((size - 1) // 2)}}
        return {"selectors": json.dumps([{"name": "a", "objectSelector": {}, "effect": effect}])}

    parse(profile(262_144 - 1))
    with pytest.raises(ProfileError, match="262145 bytes"):
        parse(profile(262_145))


def test_keys_of_annotations_may_have_a_prefix_in_upper_case() -> None:
    effect = {"annotations": {"Example.COM/Key": "", "k" * 63: ""}}
    text = json.dumps([{"name": "a", "objectSelector": {}, "effect": effect}])
    assert parse({"selectors": text}).selectors[0].annotations == effect["annotations"]


@pytest.mark.parametrize("number", ["e1", ".", "-", "1e", "1e99999999999999999999", "-.5", "1_0"])
def test_what_looks_like_a_number_is_one_or_is_text(number: str) -> None:
    for text in (f'[{{"name": {number}}}]', f"- name: {number}", f"[{{name: {number}}}] # c"):
        with pytest.raises(ProfileError, match=r"name|line"):
            parse({"selectors": text})


def test_what_nests_too_deeply_or_has_too_many_digits_is_refused() -> None:
    for text in ("[" * 100_000, "- " * 100_000, '{"a":' * 100_000, "[" + "1" * 5000 + "]"):
        with pytest.raises(ProfileError):
            parse({"selectors": text})


def problems(data: dict[str, str]) -> list[str]:
    with pytest.raises(ProfileError) as error:
        parse(data)
    return [str(problem) for problem in error.value.problems]


def selector(**fields: Any) -> dict[str, str]:
    return {"selectors": json.dumps([{"name": "a", "objectSelector": {}, **fields}])}


@pytest.mark.parametrize("seconds", [2**63 - 1, -(2**63), 0, -1])
def test_seconds_of_64_bits_are_taken(seconds: int) -> None:
    text = json.dumps({"tolerations": [{"operator": "Exists", "effect": "NoExecute"}]})
    text = text.replace('"NoExecute"', f'"NoExecute", "tolerationSeconds": {seconds}')
    (toleration,) = parse({"virtualNode": text}).virtual_nodes[0].tolerations
    assert toleration.seconds == seconds


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (str(2**63), "must be a 64-bit integer, from -9223372036854775808 to"),
        (str(-(2**63) - 1), "must be a 64-bit integer"),
        ("9" * 5000, "is too large, got 99999"),
        ("1e3", "must be an integer, got 1E+3"),
        ("1.5", "must be an integer, got 1.5"),
        ('"5"', 'must be an integer, got "5"'),
        ("true", "must be an integer, got true"),
    ],
)
def test_seconds_that_the_api_server_does_not_decode_are_refused(written: str, said: str) -> None:
    toleration = f'{{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": {written}}}'
    (problem,) = problems({"virtualNode": f'{{"tolerations": [{toleration}]}}'})
    assert problem.startswith(f"virtualNode.tolerations[0].tolerationSeconds: {said}")


def test_a_priority_has_32_bits() -> None:
    assert parse(selector(priority=2**31 - 1)).selectors
    (problem,) = problems(selector(priority=2**31))
    assert "priority: must be a 32-bit integer, from -2147483648 to 2147483647, got" in problem


@pytest.mark.parametrize(
    "cost", ["9" * 5000, "2147483648", "-2147483649", "+1", "01", "1_0", "", "1\n"]
)
def test_a_deletion_cost_that_is_no_int32_is_refused(cost: str) -> None:
    annotations = {"controller.kubernetes.io/pod-deletion-cost": cost}
    (problem,) = problems(selector(effect={"annotations": annotations}))
    assert "must be a 32-bit integer" in problem
    assert len(problem) < 250


def test_values_that_the_api_server_takes_are_taken() -> None:
    """Annotations may hold any text that is UTF-8, and a cost may be of any int32."""
    values = {
        "a": "\x00\x7f\u2028\ufffe",
        "controller.kubernetes.io/pod-deletion-cost": "-2147483648",
    }
    profile = parse(selector(effect={"annotations": values}))
    assert profile.selectors[0].annotations == values


def test_labels_are_limited_in_size_and_values_in_number() -> None:
    labels = {f"k{number}": "v" * 60 for number in range(1000)}
    parse(selector(effect={"labels": labels}))
    labels |= {f"l{number}": "v" * 60 for number in range(100)}
    (problem,) = problems(selector(effect={"labels": labels}))
    assert problem == 'selectors[0] "a": effect.labels: 70180 bytes; a pod can have at most 65536'
    values = [f"v{number}" for number in range(10_000)]
    expressions = [{"key": "a", "operator": "In", "values": values}]
    (problem,) = problems(selector(objectSelector={"matchExpressions": expressions}))
    assert problem == 'selectors[0] "a": has 10007 values, at most 10000; write several selectors'
    (problem,) = problems({"virtualNode": json.dumps({"tolerations": [{}] * 1001})})
    assert problem == "virtualNode: has 1002 values, at most 1000"


def test_of_many_problems_the_first_are_told_and_all_are_counted() -> None:
    selectors = [
        {"name": f"s{n}", "objectSelector": {}, "effect": {"labels": {f"k{n}": 1}}}
        for n in range(2000)
    ]
    with pytest.raises(ProfileError) as error:
        parse({"selectors": json.dumps(selectors, separators=(",", ":")), "virtualNode": "5"})
    assert error.value.count == 2001
    assert len(error.value.problems) == 100
    assert error.value.problems[99].location == (99, "effect", "labels", "k99")
    assert str(error.value).endswith("\nand 1901 more")
    assert error.value.lines(20)[20] == "and 1981 more"


def test_of_many_problems_in_one_selector_too() -> None:
    labels: dict[str, Any] = {f"k{number}": 1 for number in range(9000)}
    with pytest.raises(ProfileError) as error:
        parse(selector(effect={"labels": labels}))
    assert error.value.count == 9000
    assert [problem.location[-1] for problem in error.value.problems] == list(labels)[:100]
    labels = {f"k{number}": "" if number < 1000 else 1 for number in range(9000)}
    assert problems(selector(effect={"labels": labels})) == ['selectors[0] "a": has 8000 problems']


def test_a_long_unknown_field_is_compared_with_none() -> None:
    (problem,) = problems(selector(**{"objectselector" * 10_000: {}}))
    assert "unknown field; known fields are name, namespaceSelector" in problem


def test_what_is_logged_of_a_wrong_profile_is_short(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    selectors = [{"name": f"s{n}", "effect": {"labels": {f"k{n}": 1}}} for n in range(1000)]
    path = tmp_path / "profile.yaml"
    data = {"selectors": json.dumps(selectors)}
    document = {"kind": "ConfigMap", "metadata": {"name": "eci-profile"}, "data": data}
    path.write_text(json.dumps(document))
    state = ProfileLoader(FileSource(str(path)), "kube-system", "eci-profile").load()
    (record,) = caplog.records
    shown = vars(record)["problems"]
    assert len(shown) == 21
    assert shown[20] == "and 980 more"
    assert state.errors.splitlines() == shown
    assert sum(map(len, shown)) < 4000


def test_collection_is_put_off_until_the_last_profile_is_made() -> None:
    with put_off():
        parse({})
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ProfileError):
        parse({"selectors": "["})
    assert gc.isenabled()
