"""Decides like kube-apiserver, from a webhook's registration, whether to call it for a request."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import celpy
from celpy.adapter import json_to_cel
from manifests import Document
from pydantic import TypeAdapter

from handler.profiles.label_selector import LabelSelector

_SELECTOR = TypeAdapter(LabelSelector)


@functools.cache
def program(expression: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(environment.compile(expression))


def conditions_hold(webhook: Document, request: Document) -> bool:
    """Return whether all match conditions are true, as in kube-apiserver; errors are raised."""
    given: Any = json_to_cel(request)
    variables = {"object": given["object"], "request": given}
    # A list, to evaluate all conditions as kube-apiserver does.
    verdicts = [
        program(condition["expression"]).evaluate(variables)
        for condition in webhook.get("matchConditions", [])
    ]
    return all(verdicts)


def selects(webhook: Document, written: Document, namespace_labels: Mapping[str, str]) -> bool:
    return all(
        requirement.matches(labels)
        for field, labels in (
            ("namespaceSelector", namespace_labels),
            ("objectSelector", written["metadata"].get("labels") or {}),
        )
        for requirement in _SELECTOR.validate_python(webhook.get(field) or {}).requirements()
    )


def concerned(webhook: Document, request: Document) -> bool:
    (rule,) = webhook["rules"]
    named = (request["resource"]["resource"], request.get("subResource"))
    return "/".join(filter(None, named)) in rule["resources"] and (
        request["operation"] in rule["operations"]
    )
