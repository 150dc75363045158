"""LabelSelectors, compared with recorded results of a real kube-apiserver."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from server import DATA

from handler.profiles.label_selector import LabelSelector
from handler.profiles.labels import parse_labels

RECORDED = json.loads((DATA / "labelselectors.json").read_text("utf-8"))
SELECTOR = TypeAdapter(LabelSelector)


def matches(selector: Any, labels: dict[str, str]) -> bool:
    parsed = SELECTOR.validate_python(selector)
    return all(requirement.matches(labels) for requirement in parsed.requirements())


@pytest.mark.no_cover  # which takes several times as long
def test_selectors_match_like_the_api_server() -> None:
    label_sets = RECORDED["label_sets"]
    assert len(RECORDED["selectors"]) * len(label_sets) == 24_000
    for recorded in RECORDED["selectors"]:
        found = [
            index
            for index, labels in enumerate(label_sets)
            if matches(recorded["selector"], labels)
        ]
        assert found == recorded["matches"], recorded["selector"]


@pytest.mark.parametrize("selector", RECORDED["valid"], ids=json.dumps)
def test_selectors_accepted_by_the_api_server_are_valid(selector: Any) -> None:
    SELECTOR.validate_python(selector)


@pytest.mark.parametrize(
    "recorded", RECORDED["invalid"], ids=lambda recorded: json.dumps(recorded["selector"])[:80]
)
def test_selectors_rejected_by_the_api_server_are_invalid(recorded: Any) -> None:
    with pytest.raises(ValidationError):
        SELECTOR.validate_python(recorded["selector"])


@pytest.mark.parametrize(
    "text",
    [
        "a/b=true,c=",
        "a/b=true\nc=\n",
        'a/b: "true"\nc: ""',
        "a/b: 'true', c:",
        '{"a/b": "true", "c": ""}',
        " { a/b: true , c: } ",
    ],
)
def test_labels_may_be_written_as_in_yaml(text: str) -> None:
    assert parse_labels(text) == {"a/b": "true", "c": ""}


@pytest.mark.parametrize("text", ["a", "a b=c", '"a=b', "a: b: c", "a=b=c", "{a=b", ": b"])
def test_what_is_no_label_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"^['\"]"):
        parse_labels(text)
