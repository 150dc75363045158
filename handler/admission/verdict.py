"""The result of a review, before the response is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ..decision.pod import Metadata, Pod
from ..shorten import shorten
from ..telemetry.matches import Share
from ..telemetry.records import Outcome
from .review import Envelope, Response

__all__ = ["LONGEST_FACT", "Verdict", "facts_of"]

LONGEST_FACT = 253
"""The most characters of a fact in the log: as many as a name may have."""

_ALLOWED = Response().encoded()


class Verdict(Struct, frozen=True):
    """The outcome of a review, the encoded response, and the facts for its log line.

    ``share``: what it adds to the metrics of selectors and placements, if a pod is created.
    """

    outcome: Outcome
    facts: Mapping[str, Any]
    response: bytes = _ALLOWED
    share: Share | None = None


def facts_of(request: Envelope, pod: Pod | None = None) -> dict[str, Any]:
    """The facts in the log line of every review."""
    metadata = (pod and pod.metadata) or Metadata()
    name = request.name or metadata.name or metadata.generate_name or ""
    return {
        "uid": shorten(request.uid, LONGEST_FACT),
        "namespace": request.namespace and shorten(request.namespace, LONGEST_FACT),
        "object": shorten(name, LONGEST_FACT) or None,
        "dry_run": bool(request.dry_run),
    }
