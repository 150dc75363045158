"""The syntax of Kubernetes' labels: what a valid key and a valid value is.

The rules are those of k8s.io/apimachinery/pkg/util/validation.
"""

from __future__ import annotations

import re

from ..messages.message import Message, message_of
from ..shorten import shorten

__all__ = [
    "MAX_LABEL_VALUE",
    "NAME_LABEL",
    "check_dns_label",
    "check_label_key",
    "check_label_value",
    "is_label_key",
    "is_label_value",
    "is_namespace",
    "parse_labels",
]

_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAMESPACE = re.compile(_DNS_LABEL)
_SUBDOMAIN = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_SHOWN = 60
_SEPARATOR = re.compile("[=:]")
# Shared, because a text may have thousands of wrong labels.
_NAME_RULE = Message(
    "at most 63 letters, digits, '-', '_' or '.', with a letter or a digit at both ends"
)
_KEY = Message("{part} must be {rule}", part=Message("a key"), rule=_NAME_RULE)
_NAME_OF_KEY = Message("{part} must be {rule}", part=Message("the part after '/'"), rule=_NAME_RULE)
_PREFIX = Message("the part before '/' must be a DNS name in lower case, such as example.com")
_VALUE = Message("a label's value must be empty or {rule}", rule=_NAME_RULE)

MAX_LABEL_VALUE = 63
"""The most characters of a label's value."""
NAME_LABEL = "kubernetes.io/metadata.name"
"""The label that the API server adds to each namespace: its name."""


def is_label_key(key: str) -> bool:
    """Whether it is a qualified name, ``[prefix/]name``."""
    prefix, slash, name = key.rpartition("/")
    return (not slash or _is_prefix(prefix)) and _is_name(name)


def is_label_value(value: str) -> bool:
    """Whether it is a valid value of a label."""
    return not value or _is_name(value)


def _is_name(name: str) -> bool:
    return len(name) <= MAX_LABEL_VALUE and bool(_NAME.fullmatch(name))


def _is_prefix(prefix: str) -> bool:
    return len(prefix) <= 253 and bool(_SUBDOMAIN.fullmatch(prefix))


def is_namespace(name: str) -> bool:
    """Whether it is a valid name of a namespace: a DNS label."""
    return len(name) <= MAX_LABEL_VALUE and bool(_NAMESPACE.fullmatch(name))


def check_dns_label(name: str) -> str:
    """Return the name if it is a valid name of a namespace; else raise ValueError."""
    if not is_namespace(name):
        raise ValueError(
            Message(
                "must be the name of a namespace, at most 63 of a-z, 0-9 and '-' with a letter or"
                " a digit at both ends"
            )
        )
    return name


def check_label_key(key: str) -> str:
    """Return the key if it is a qualified name, ``[prefix/]name``; else raise ValueError."""
    prefix, slash, name = key.rpartition("/")
    if slash and not _is_prefix(prefix):
        raise ValueError(_PREFIX)
    if not _is_name(name):
        raise ValueError(_NAME_OF_KEY if slash else _KEY)
    return key


def check_label_value(value: str) -> str:
    """Return the value if it is valid for a label; else raise ValueError."""
    if not is_label_value(value):
        raise ValueError(_VALUE)
    return value


def parse_labels(text: str) -> dict[str, str]:
    """Read labels in the form ``key=value,key=value``; line breaks also separate them.

    ``key: "value"``, as in YAML and JSON, is accepted too. Raises ValueError.
    """
    labels = {}
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    for found in re.finditer(r"[^,\n]+", text):
        pair = found.group().strip()
        if not pair:
            continue
        written = _SEPARATOR.search(pair)
        key, value = (pair[: written.start()], pair[written.end() :]) if written else (pair, "")
        pair = shorten(pair, _SHOWN)
        try:
            labels[check_label_key(_bare(key))] = check_label_value(_bare(value))
        except ValueError as error:
            message = Message("{pair}: {problem}", pair=repr(pair), problem=message_of(error))
            raise ValueError(message) from None
        if not written:
            raise ValueError(Message("{pair}: write key=value", pair=repr(pair)))
    return labels


def _bare(text: str) -> str:
    """The text without the quotes around it."""
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
