"""Profiles: what is taken, and how each problem is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from server import DATA

from handler.profile import Profile, ProfileError, VirtualNode, parse
from handler.scheduling import Toleration

INVALID = yaml.safe_load((DATA / "invalid-profiles.yaml").read_text("utf-8"))


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
    assert parse(data and {**data, **node}) == Profile()


@pytest.mark.parametrize("text", ["[]", "null", "\n", "# only a comment\n", "[ ] # none"])
def test_so_do_an_empty_list_and_a_comment(text: str) -> None:
    assert parse({"selectors": text}) == Profile()


def test_other_keys_belong_to_others() -> None:
    assert parse({"vpcId": "vpc-1", "enableClusterIp": "true", "selector": "["}) == Profile()


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
        (doubt,) = profile.doubts
        assert str(doubt) == (
            'selectors[0] "b": name: is given twice in one object, the last one counts'
        )


def test_the_virtual_node_may_be_given_in_part() -> None:
    default = VirtualNode()
    node = parse({"virtualNode": "nodeSelector: {type: virtual-kubelet}"}).virtual_node
    assert node.node_selector == {"type": "virtual-kubelet"}
    assert node.tolerations == default.tolerations
    node = parse({"virtualNode": "tolerations: [{operator: Exists}]"}).virtual_node
    assert node.node_selector == default.node_selector
    assert node.tolerations == (Toleration(operator="Exists"),)
    assert parse({"virtualNode": '{"tolerations": []}'}).virtual_node.tolerations == ()


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
