"""What people write by mistake is named as what it is, and only where the text can't be read."""

# ruff: noqa: RUF001

from __future__ import annotations

import pytest

from handler.profiles.parse import ProfileError, parse
from handler.profiles.text import TextError, read

SELECTOR = '{"name": "a", "objectSelector": {}}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[{“name”：“a”，"objectSelector":{}}]',
            """line 1, column 3: full-width “ instead of '"': [{“name”：“a”，"object""",
        ),
        ("- name：a\n  objectSelector: {}", "line 1, column 7: full-width ： instead of ':'"),
        ("【" + SELECTOR + "】", "line 1, column 1: full-width 【 instead of '['"),
        (
            "[\n" + SELECTOR + "，\n" + SELECTOR + "]",
            "line 2, column 36: full-width ， instead of ','",
        ),
        (
            "- name: a // b\n  effect: {} // c",
            'line 2, column 14: "//" does not start a comment here',
        ),
        ("/* c */\n[" + SELECTOR + "]", 'line 1, column 1: "/*" does not start a comment here'),
        ("- name: 一：二\n\teffect: {}", "line 2, column 1: the line is indented with a tab"),
        (
            '[{"name": "' + "a" * 90 + '"，"effect": {"a": "' + "b" * 90 + '"}}]',
            f"column 103: full-width ， instead of ',': ...{'a' * 29}\"，\"effect",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ProfileError) as raised:
        parse({"selectors": text})
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "[{'a': '：' '//'}]",  # in strings
        "- a: it's // so： \n  b: {",  # in plain text
        "- // a\n\n\n\n- {]",  # long before
        "[\n\t{]",  # a tab that counts as blanks
        "# “a”： //\n- {",  # in a comment
        "- http://a: {",
    ],
)
def test_what_is_no_mistake_is_not_blamed(text: str) -> None:
    with pytest.raises(TextError) as raised:
        read(text)
    for said in ("full-width", "no comment", "a tab"):
        assert said not in str(raised.value)


@pytest.mark.parametrize("text", ["- name: “一：二” // a\n", '[{"name": "一：//"}]', "[\t1]"])
def test_what_can_be_read_is_no_mistake(text: str) -> None:
    assert read(text).value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("selectors: []", "write only the list, without the key selectors around it"),
        (SELECTOR, "write the selector as the entry of a list"),
        ("{apiVersion: eci.aliyun.com/v1, kind: Selector}", "python -m handler convert"),
        ("[{apiVersion: eci.aliyun.com/v1, kind: Selector}]", "selectors[0]: is a Selector object"),
        ('[{“name”: "a"}]', 'selectors[0]["“name”"]: unknown field, it has full-width punctuation'),
    ],
)
def test_what_is_pasted_whole_is_told_where_it_belongs(text: str, said: str) -> None:
    with pytest.raises(ProfileError) as raised:
        parse({"selectors": text})
    assert said in str(raised.value)
