"""Positions of keys and values in a profile's text, in JSON and in YAML."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.profiles.parse import ProfileError, parse
from handler.profiles.text import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    Location,
    Place,
    Position,
    TextError,
    locate,
    read,
    read_documents,
    too_large,
)

texts = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=4)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner),
    max_leaves=8,
)


def ways(value: Any, at: Location = ()) -> list[tuple[Location, Any]]:
    """Return all nested values, each with its path."""
    found = [(at, value)]
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            found += ways(item, (*at, key))
    return found


def place(text: str, *location: int | str) -> Place:
    found, exact = locate(text).find(location)
    assert exact
    return found


@given(values)
def test_positions_in_json_point_to_the_values(value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    places, lines = locate(text), text.split("\n")
    for way, item in ways(value):
        place, exact = places.find(way)
        assert exact
        line, column = place.value
        rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
        assert json.JSONDecoder().raw_decode(rest)[0] == item
        key = place.key
        if way and isinstance(way[-1], str):
            assert key is not None
            assert json.JSONDecoder().raw_decode(lines[key[0] - 1][key[1] - 1 :])[0] == way[-1]
        else:
            assert key is None


def test_positions_are_correct_with_comments_and_tabs() -> None:
    text = '[ # one\n\t{"a": "#\\t", # two\n\t "b": "\\ud83d\\ude00", "c":\t5}]'
    assert place(text, 0, "a").value == (2, 8)  # columns count characters; a tab is one
    assert place(text, 0, "b").value == (3, 8)
    assert place(text, 0, "c").value == (3, 29)
    assert place(text, 0, "c").key == (3, 24)


def test_text_that_is_valid_only_as_json_has_no_positions() -> None:
    text = '{"a"\n:\n5}'
    assert read(text).value == {"a": 5}
    assert locate(text) == Place((1, 1))
    assert locate("") == Place((1, 1))


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
def test_duplicate_keys_are_reported_with_their_path(text: str, duplicates: list[Location]) -> None:
    assert read(text).duplicates == duplicates


def test_a_duplicate_key_has_the_position_of_the_last_one() -> None:
    assert place('{"a": 1, "a": 2}', "a").key == (1, 10)
    assert place("a: 1\na: 2", "a").value == (2, 4)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("# c\na: |\n  #!/bin/sh\n  \tls # all\n", {"a": "#!/bin/sh\n\tls # all\n"}),
        ("# c\n- bob's\n- 'see #5'\n", ["bob's", "see #5"]),
        ("[bob's, 'see #5', \"#\"] # c", ["bob's", "see #5", "#"]),
        ("# it's\n[1] # c", [1]),
        ("{a: b#c}\t# d", {"a": "b#c"}),
        ('[1,#c\u2028"#" # d\n]', [1, "#"]),
        ('\ufeff["a"]', ["a"]),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_comments_are_removed_but_hash_signs_in_values_are_kept(text: str, value: Any) -> None:
    assert read(text).value == value
    for way, _ in ways(value):
        assert locate(text).find(way)[1]


pieces = st.sampled_from([*"[]{}\"'#,:|-\\\t\n a1", "# c\n", '"a"', '"#"', '"a":', "[]", "1.0"])


@pytest.mark.no_cover  # which takes several times as long
@settings(max_examples=examples(1000))
@given(
    st.sampled_from("[{#"), st.lists(pieces, max_size=9), st.sampled_from(["", "]", "}", "\n[]"])
)
def test_json_with_comments_reads_the_same_as_yaml(first: str, inner: list[str], last: str) -> None:
    text = "".join((first, *inner, last))
    try:
        value = read(text).value
        (reading,) = read_documents(text)
    except (TextError, ValueError):
        return
    assert value == reading.value


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ('["a",\n "b" "c"] # c', (2, 6)),
        ("a: b\nc: [", (2, 5)),
        ("- a: [\n\n\n", (3, 1)),
        ("# c\n- 'see #5'\n- \"x", (3, 5)),
    ],
)
def test_an_error_has_the_position_where_reading_stopped(text: str, position: Position) -> None:
    with pytest.raises(TextError) as error:
        read(text)
    assert error.value.position == position


def test_text_larger_than_a_config_map_is_rejected() -> None:
    assert too_large("é" * (MAX_BYTES // 2)) is None
    assert too_large("é" * (MAX_BYTES // 2) + "x") == MAX_BYTES + 1
    assert too_large(" " * (MAX_BYTES + 1)) == MAX_BYTES + 1
    assert locate("[1" + " " * MAX_BYTES + "]") == Place((1, 1))
    with pytest.raises(ProfileError, match=r"^selectors: has 1572865 bytes, but a ConfigMap"):
        parse({"selectors": "[" * (MAX_BYTES + 1)})


@pytest.mark.no_cover  # which takes several times as long
def test_the_number_and_depth_of_values_are_limited() -> None:
    for text in ("[" + "1," * MAX_VALUES + "1]", "[" + "a," * MAX_VALUES + "a]"):
        with pytest.raises(TextError, match="too many values, the limit is 150000"):
            read(text)
    read("[" + "1," * (MAX_VALUES - 2) + "1]")
    for quote in ('"', ""):
        text = f"{quote}a{quote}"
        read("[" * MAX_DEPTH + text + "]" * MAX_DEPTH)
        with pytest.raises(TextError, match="more than 100 levels"):
            read("[" * (MAX_DEPTH + 1) + text + "]" * (MAX_DEPTH + 1))


def test_literal_blocks_are_recognized() -> None:
    assert place(yaml.safe_dump({"a": "x\ny\n"}, default_style="|"), "a").literal
    assert not place("a: x", "a").literal
