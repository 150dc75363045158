"""The JSON Schema for editors: made of the code, complete, and no stricter than the function."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from cases import CASES, FOLDER
from cli import run
from server import ROOT

from handler.author.json_schema import json_schema
from handler.profiles.text import read

COMMITTED = ROOT / "docs" / "profile.schema.json"
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def test_the_committed_file_is_what_make_schema_writes() -> None:
    assert run("schema").stdout == COMMITTED.read_text("utf-8")


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_every_form_and_field_is_described() -> None:
    for name, form in json_schema()["$defs"].items():
        assert form["description"], name
        for field, value in form["properties"].items():
            assert value["description"], (name, field)


def selectors() -> Iterator[tuple[str, Any]]:
    for name in CASES:
        documents = yaml.load_all((FOLDER / f"{name}.in.yaml").read_text("utf-8"), yaml.CSafeLoader)
        for each in documents:
            if each["kind"] == "ConfigMap" and (text := (each.get("data") or {}).get("selectors")):
                yield name, read(text).value


def test_it_takes_every_profile_of_the_cases() -> None:
    found = list(selectors())
    assert len(found) > 100
    for name, value in found:
        assert not [error.message for error in VALIDATOR.iter_errors(value or [])], name


@pytest.mark.parametrize(
    "text",
    [
        "[{}]",
        '[{"name": ""}]',
        '[{"name": "a", "objectselector": {}}]',
        '[{"name": "a", "objectSelector": {"matchLabels": {"a": true}}}]',
        '[{"name": "a", "objectSelector": {"matchExpressions": [{"key": "a", "operator": "in"}]}}]',
        '[{"name": "a", "effect": {"at": "bindng"}}]',
        '[{"name": "a", "policy": "fair"}]',
        '[{"name": "a", "policy": {"fare": {}}}]',
        '[{"name": "a", "percentage": 101}]',
        '{"name": "a"}',
    ],
)
def test_it_refuses_wrong_fields_and_types(text: str) -> None:
    assert not VALIDATOR.is_valid(json.loads(text))
