"""What kube-apiserver decides by a webhook's registration: whether it is called for a request."""

from __future__ import annotations

import functools
from collections.abc import Mapping

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
    """As kube-apiserver: all have to be true, and an error is none of that."""
    variables = {
        "object": json_to_cel(request["object"]),
        "request": json_to_cel(request),
    }
    # One after another, since kube-apiserver evaluates them all, too.
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
