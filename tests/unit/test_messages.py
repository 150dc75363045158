"""Messages: each has its Chinese, and the command line, the page and refusals tell it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import yaml
from server import ROOT

from handler.messages.message import Message, Quoted, message_of, translated

OF_LIBRARIES = ("json", "yaml", "system")
CHINESE = re.compile("[\u3000-\u9fff\uff00-\uffef]")  # with its punctuation
PLACEHOLDER = re.compile(r"\{(\w+)\}")


@cache
def calls() -> list[tuple[str, ast.Call]]:
    """Each place in the code that makes a message."""
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno}", node)
        for path in sorted((ROOT / "handler").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Message"
    ]


def templates() -> Iterator[tuple[str, str, set[str]]]:
    """Where each template is, and the names that it is given."""
    for where, call in calls():
        (template,) = call.args
        text = template.value if isinstance(template, ast.Constant) else None
        assert isinstance(text, str), f"{where}: a template must be a literal"
        yield where, text, {str(each.arg) for each in call.keywords}


@cache
def catalogue() -> dict[str, dict[str, str]]:
    text = (ROOT / "handler" / "messages" / "zh.yaml").read_text("utf-8")
    sections: dict[str, dict[str, str]] = yaml.safe_load(text)
    return sections


def ours() -> dict[str, str]:
    return {
        english: chinese
        for name, section in catalogue().items()
        if name not in OF_LIBRARIES
        for english, chinese in section.items()
    }


def test_no_message_is_missing_and_none_is_left_over() -> None:
    assert {template for _, template, _ in templates()} == ours().keys()


def test_no_message_is_there_twice() -> None:
    """YAML would take the last one."""
    text = (ROOT / "handler" / "messages" / "zh.yaml").read_text("utf-8")
    lines = re.findall(r"^  ['\"]", text, re.MULTILINE)
    sections = catalogue().values()
    assert len(lines) == sum(map(len, sections)) == len({key for each in sections for key in each})


def test_each_placeholder_has_its_argument() -> None:
    for where, template, names in templates():
        if names:
            assert set(PLACEHOLDER.findall(template)) == names, where
            assert set(re.findall(r"\{([^}]*)", template)) == names, where


def test_the_chinese_has_the_same_placeholders() -> None:
    for english, chinese in ours().items():
        assert set(PLACEHOLDER.findall(english)) == set(PLACEHOLDER.findall(chinese)), english


def test_the_chinese_is_chinese() -> None:
    """But for what has no words, or is spelt in English in Chinese as well."""
    alike = {english for english, chinese in ours().items() if english == chinese}
    assert alike == {
        "    {effect}",
        "hostNetwork",
        "selector {name}",
        "{before} -> {after}",
        "{field}: {problem}",
        "{kind} {key}",
    }
    for english, chinese in ours().items():
        assert chinese.replace("\n", "").isprintable(), english
        if english not in alike and PLACEHOLDER.sub("", english).strip(" .,:;()->"):
            assert CHINESE.search(chinese), english


def test_arguments_are_told_in_the_language_too() -> None:
    message = Message("must be {expected}, got {value}", expected=Message("a list"), value="5")
    assert message == "must be a list, got 5"
    assert translated(message, "en") == "must be a list, got 5"
    assert translated(message, "zh") == "必须为 一个列表，当前值：5"
    listed = Message("unknown field; known fields are {known}", known=("a", "b"))
    assert translated(listed, "en").endswith("known fields are a, b")
    assert translated(listed, "zh").endswith("a、b")


def test_what_others_wrote_is_no_template() -> None:
    message = Message("must be a list, got {value}", value="{0.__class__} {expected} %s")
    assert translated(message, "zh") == "必须是列表，当前值：{0.__class__} {expected} %s"


def test_text_that_is_no_message_stays() -> None:
    assert translated("{x}", "zh") == "{x}"
    assert type(translated(Message("none"), "en")) is str  # what msgspec and YAML take


def test_what_a_library_says_is_told_or_quoted() -> None:
    assert translated(Quoted("Expecting value"), "zh") == "此处应为一个值"
    assert translated(Quoted("something {new}"), "zh") == "“something {new}”（原文）"
    assert translated(message_of(OSError(2, "x", "y")), "zh") == "“[Errno 2] x: 'y'”（原文）"
    assert message_of(ValueError(Message("none"))).template == "none"
