"""Positions in a profile's text: those of each key and value, in JSON and in YAML."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from handler.text import Location, locate, read

texts = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=4)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner),
    max_leaves=8,
)


def ways(value: Any, at: Location = ()) -> list[tuple[Location, Any]]:
    """Each value in a value, with the way to it."""
    found = [(at, value)]
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            found += ways(item, (*at, key))
    return found


@given(values)
def test_at_each_position_of_json_is_the_value(value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    places, lines = locate(text), text.split("\n")
    for way, item in ways(value):
        line, column = places[way].value
        rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
        assert json.JSONDecoder().raw_decode(rest)[0] == item
        key = places[way].key
        if way and isinstance(way[-1], str):
            assert key is not None
            assert json.JSONDecoder().raw_decode(lines[key[0] - 1][key[1] - 1 :])[0] == way[-1]
        else:
            assert key is None


def test_positions_hold_in_spite_of_comments_and_tabs() -> None:
    text = '[ # one\n\t{"a": "#\\t", # two\n\t "b": "\\ud83d\\ude00", "c":\t5}]'
    places = locate(text)
    assert places[0, "a"].value == (2, 8)  # a column is a character, a tab too
    assert places[0, "b"].value == (3, 8)
    assert places[0, "c"].value == (3, 29)
    assert places[0, "c"].key == (3, 24)


def test_text_that_only_json_takes_has_no_positions() -> None:
    text = '{"a"\n:\n5}'
    assert read(text).value == {"a": 5}
    assert locate(text) == {}
    assert locate("") == {}


@pytest.mark.parametrize(
    ("text", "duplicates"),
    [
        ('{"a": 1, "a": 2}', [("a",)]),
        ('[{"b": {"a": 1, "a": 2, "a": 3}}]', [(0, "b", "a")]),
        ('[{"b": {"a": 1, "a": 2}, "b": 1}]', [(0, "b")]),
        ('{"a": {"x": 1, "x": 1}, "b": {"y": 1, "y": 1}}', [("a", "x"), ("b", "y")]),
        ("a: 1\nb: {c: 1, c: 2, c: 3}", [("b", "c")]),
        ('{"a": {"x": 1}, "b": {"x": 1}}', []),
    ],
)
def test_keys_given_twice_are_told_with_their_way(text: str, duplicates: list[Location]) -> None:
    assert read(text).duplicates == duplicates


def test_the_later_of_two_keys_is_the_one_located() -> None:
    assert locate('{"a": 1, "a": 2}')["a",].key == (1, 10)
    assert locate("a: 1\na: 2")["a",].value == (2, 4)


def test_literal_blocks_are_known() -> None:
    places = locate(yaml.safe_dump({"a": "x\ny\n"}, default_style="|"))
    assert places["a",].literal
    assert not locate("a: x")["a",].literal
