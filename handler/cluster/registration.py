"""The registration, narrowed to a profile: for pods, a webhook for each selector."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..profiles.model import Profile, Requirement, Selector

__all__ = ["narrowed"]

_LONGEST_LABEL = 63  # of a DNS name, which a webhook's name has to be


def narrowed(wide: dict[str, Any], profile: Profile, ca_bundle: str = "") -> dict[str, Any]:
    """The registration with one webhook for each selector, in place of the only one for pods.

    The others, such as that for bindings, stay: of a binding kube-apiserver knows no pod's labels.
    Raises ValueError if it has several for pods, since then it has been narrowed before.
    """
    for_pods = [webhook for webhook in wide["webhooks"] if _is_for_pods(webhook)]
    if len(for_pods) != 1:
        raise ValueError(
            "the registration must have one webhook for pods, as `make install` makes it,"
            f" not {len(for_pods)}"
        )
    # One with an effect only is for pods that labels do not tell, so its webhook is wide.
    asking = [selector for selector in profile.selectors if selector.mode != "off"]
    narrow = [_webhook(for_pods[0], index, selector) for index, selector in enumerate(asking)]
    others = [copy.deepcopy(webhook) for webhook in wide["webhooks"] if not _is_for_pods(webhook)]
    for webhook in (*narrow, *others):
        if ca_bundle:
            webhook["clientConfig"]["caBundle"] = ca_bundle
    return {**wide, "webhooks": narrow + others}


def _is_for_pods(webhook: dict[str, Any]) -> bool:
    return any("pods" in rule["resources"] for rule in webhook["rules"])


def _webhook(wide: dict[str, Any], index: int, selector: Selector) -> dict[str, Any]:
    webhook = copy.deepcopy(wide)
    webhook["name"] = f"{_dns_label(f'{index}-{selector.name}')}.{wide['name']}"
    for field, requirements in (
        ("namespaceSelector", selector.namespace),
        ("objectSelector", selector.object),
    ):
        webhook[field]["matchExpressions"] += _match_expressions(requirements or ())
    return webhook


def _match_expressions(requirements: Iterable[Requirement]) -> Iterator[dict[str, Any]]:
    for requirement in requirements:
        expression: dict[str, Any] = {"key": requirement.key, "operator": requirement.operator}
        if requirement.values:
            expression["values"] = sorted(requirement.values)
        yield expression


def _dns_label(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:_LONGEST_LABEL].strip("-")
