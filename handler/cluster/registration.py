"""The registration, narrowed to a profile: for pods, a webhook for each pair of selectors."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..messages.message import Message
from ..profiles.model import Profile, Requirement, Selector

__all__ = ["MOST_WEBHOOKS", "narrowed", "widened"]

MOST_WEBHOOKS = 64
"""The most webhooks for pods in a narrow registration, apart from the closed one."""
_MOST_BYTES = 512 * 1024  # of their JSON: etcd stores objects of up to about 1.5 MiB
_LONGEST_LABEL = 63  # of a DNS name, as which a webhook must be named
# No labels meet both.
_CLOSED = [{"key": "eci-profile/narrowed", "operator": each} for each in ("Exists", "DoesNotExist")]

Webhook = dict[str, Any]


def narrowed(
    registration: Mapping[str, Any], profile: Profile, ca_bundle: str = ""
) -> dict[str, Any]:
    """The registration, wide or narrow, with a webhook for each distinct pair of selectors.

    The wide webhook for pods is kept, but closed: its objectSelector selects no pod. The other
    webhooks for pods are copies of it with the requirements of a pair added, so changes by an
    administrator apply to all of them. The wide one is open, and the only one, if a selector
    matches everything or has an effect only, and beyond `MOST_WEBHOOKS` pairs or 512 KiB. Webhooks
    for other objects are kept: kube-apiserver does not know the labels of the pod of a binding.

    Raises ValueError unless there is exactly one wide webhook for pods.
    """
    wide, others = _parts(registration)
    narrow = _narrow(wide, profile)
    for_pods = [wide] if narrow is None else [_closed(wide), *narrow]
    webhooks = [copy.deepcopy(each) for each in (*for_pods, *others)]
    for webhook in webhooks if ca_bundle else ():
        webhook["clientConfig"]["caBundle"] = ca_bundle
    return {**registration, "webhooks": webhooks}


def widened(registration: Mapping[str, Any]) -> dict[str, Any]:
    """The registration with only its wide webhook for pods, open. Raises ValueError as above."""
    wide, others = _parts(registration)
    return {**registration, "webhooks": [wide, *others]}


def _parts(registration: Mapping[str, Any]) -> tuple[Webhook, list[Webhook]]:
    """The wide webhook for pods, open, and those for other objects."""
    webhooks: list[Webhook] = registration.get("webhooks") or []
    for_pods = [each for each in webhooks if _is_for_pods(each)]
    suffixes = tuple(f".{each['name']}" for each in for_pods)
    wide = [each for each in for_pods if not each["name"].endswith(suffixes)]
    if len(wide) != 1:
        raise ValueError(
            Message(
                "the registration must have one webhook for pods, as `make install` creates it,"
                " not {count}",
                count=len(wide),
            )
        )
    selector = dict(wide[0].get("objectSelector") or {})
    before = selector.pop("matchExpressions", None) or ()
    expressions = [each for each in before if each not in _CLOSED]
    others = [each for each in webhooks if not _is_for_pods(each)]
    return _with(wide[0], "objectSelector", expressions, selector), others


def _is_for_pods(webhook: Webhook) -> bool:
    return any("pods" in (rule.get("resources") or ()) for rule in webhook.get("rules") or ())


def _narrow(wide: Webhook, profile: Profile) -> list[Webhook] | None:
    """Return a webhook for each pair; None if the registration has to be wide."""
    pairs: dict[tuple[frozenset[Requirement], frozenset[Requirement]], Selector] = {}
    for selector in profile.selectors:
        if selector.mode == "off":
            continue
        pair = frozenset(selector.namespace or ()), frozenset(selector.object or ())
        pairs.setdefault(pair, selector)
        if not any(pair) or len(pairs) > MOST_WEBHOOKS:
            return None
    webhooks, size = [], 0
    for index, ((namespace, pod), selector) in enumerate(pairs.items()):
        webhook = _added(_added(wide, "namespaceSelector", namespace), "objectSelector", pod)
        webhook["name"] = f"{_dns_label(f'{index}-{selector.name}')}.{wide['name']}"
        webhooks.append(webhook)
        size += len(json.dumps(webhook))
        if size > _MOST_BYTES:
            return None
    return webhooks


def _closed(wide: Webhook) -> Webhook:
    return _with(wide, "objectSelector", _CLOSED)


def _added(webhook: Webhook, field: str, requirements: Iterable[Requirement]) -> Webhook:
    # Sorted, so that replicas write the same.
    ordered = sorted(requirements, key=lambda each: (each.key, each.operator, sorted(each.values)))
    expressions: list[dict[str, Any]] = []
    for requirement in ordered:
        expression: dict[str, Any] = {"key": requirement.key, "operator": requirement.operator}
        if requirement.values:
            expression["values"] = sorted(requirement.values)
        expressions.append(expression)
    return _with(webhook, field, expressions)


def _with(
    webhook: Webhook,
    field: str,
    expressions: Iterable[Mapping[str, Any]],
    selector: Mapping[str, Any] | None = None,
) -> Webhook:
    """The webhook with expressions added to a selector; the API server drops empty lists."""
    before = dict((webhook.get(field) or {}) if selector is None else selector)
    all_of_them = [*(before.pop("matchExpressions", None) or ()), *expressions]
    return {**webhook, field: before | ({"matchExpressions": all_of_them} if all_of_them else {})}


def _dns_label(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:_LONGEST_LABEL].strip("-")
