"""What the log says of a pod that no selector matches, where the profile asks for it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping

from ..decision.failure import Failure, first_failure
from ..decision.matching import Matcher
from ..decision.pod import Pod
from ..profiles.model import NoMatchLog, Selector
from ..shorten import shorten
from .review import Envelope

__all__ = ["failures", "is_logged"]

_MOST_SELECTORS = 20
_MOST_VALUES = 10  # of a requirement, which may have thousands
_LONGEST_NAME = 100


def is_logged(wanted: NoMatchLog, request: Envelope) -> bool:
    """Whether the profile asks for the log line of a pod that no selector matches.

    The share is drawn from the uid of the review, so it takes no state.
    """
    if wanted.namespace not in (None, request.namespace):
        return False
    return zlib.crc32(request.uid.encode()) < wanted.rate * 2**32


def failures(matcher: Matcher, pod: Pod, namespace_labels: Mapping[str, str]) -> list[str]:
    """For each selector, the first 20, the first requirement that the pod does not meet."""
    labels = (pod.metadata and pod.metadata.labels) or {}
    found = [
        _sentence(selector, failure)
        for selector in matcher.asking[:_MOST_SELECTORS]
        if (failure := first_failure(selector, labels, namespace_labels))
    ]
    more = len(matcher.asking) - _MOST_SELECTORS
    return [*found, f"and {more} more"] if more > 0 else found


def _sentence(selector: Selector, failure: Failure) -> str:
    requirement = failure.requirement
    values = ""
    if len(requirement.values) > _MOST_VALUES:
        values = f" [{len(requirement.values)} values]"
    elif requirement.values:
        values = f" {json.dumps(sorted(requirement.values))}"
    actual = "is absent" if failure.actual is None else f"is {json.dumps(failure.actual)}"
    return (
        f"{shorten(selector.name, _LONGEST_NAME)}: {failure.side} requires"
        f" {requirement.key} {requirement.operator}{values}, but it {actual}"
    )
