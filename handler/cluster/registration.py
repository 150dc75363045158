"""The registration, narrowed to a profile: a webhook for each selector."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..profiles.model import Profile, Requirement, Selector

__all__ = ["narrowed"]

_LONGEST_LABEL = 63  # of a DNS name, which a webhook's name has to be


def narrowed(wide: dict[str, Any], profile: Profile, ca_bundle: str = "") -> dict[str, Any]:
    """The registration with one webhook for each selector, in place of its only one.

    Raises ValueError if it has several, since then it has been narrowed before.
    """
    if len(wide["webhooks"]) != 1:
        raise ValueError("the registration must have one webhook, as `make install` makes it")
    return {
        **wide,
        "webhooks": [
            _webhook(wide["webhooks"][0], index, selector, ca_bundle)
            for index, selector in enumerate(profile.selectors)
        ],
    }


def _webhook(
    wide: dict[str, Any], index: int, selector: Selector, ca_bundle: str
) -> dict[str, Any]:
    webhook = copy.deepcopy(wide)
    webhook["name"] = f"{_dns_label(f'{index}-{selector.name}')}.{wide['name']}"
    for field, requirements in (
        ("namespaceSelector", selector.namespace),
        ("objectSelector", selector.object),
    ):
        webhook[field]["matchExpressions"] += _match_expressions(requirements or ())
    if ca_bundle:
        webhook["clientConfig"]["caBundle"] = ca_bundle
    return webhook


def _match_expressions(requirements: Iterable[Requirement]) -> Iterator[dict[str, Any]]:
    for requirement in requirements:
        expression: dict[str, Any] = {"key": requirement.key, "operator": requirement.operator}
        if requirement.values:
            expression["values"] = sorted(requirement.values)
        yield expression


def _dns_label(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:_LONGEST_LABEL].strip("-")
