"""The metrics for Prometheus."""

from __future__ import annotations

import platform

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from ..version import VERSION
from .matches import Matches
from .tally import Durations, Tally

__all__ = [
    "BINDING_EFFECTS_OFF",
    "CERTIFICATE_EXPIRY",
    "CONTENT_TYPE",
    "LOADS",
    "MATCHES",
    "PLACEMENTS",
    "PROFILE_CHANGED",
    "PROFILE_SELECTORS",
    "PROFILE_VALID",
    "PROFILE_VERSION",
    "REGISTRATION_CHECKS",
    "REVIEWS",
    "SECONDS",
    "USES",
    "exposition",
]

CONTENT_TYPE = CONTENT_TYPE_LATEST

disable_created_metrics()  # type: ignore[no-untyped-call]

# Not the global registry: hosts may import this package more than once, under other names.
_REGISTRY = CollectorRegistry()
ProcessCollector(registry=_REGISTRY)

Info("eci_profile_build", "The versions of the function and Python.", registry=_REGISTRY).info(
    {"version": VERSION, "python": platform.python_version()}
)
REVIEWS = Tally("eci_profile_reviews", "Requests answered, by outcome.", ["outcome"])
_REGISTRY.register(REVIEWS)
MATCHES = Matches(
    "eci_profile_selector_matches",
    "Pods that a selector matched, by result, without dry runs. The empty selector stands for all "
    "after the first 200.",
)
_REGISTRY.register(MATCHES)
PLACEMENTS = Counter(
    "eci_profile_placements",
    "Pods for which a selector decided the placement, without dry runs: its policy, refused (the "
    "pod excludes the virtual node) or unsupported (refused because ECI can't run it).",
    ["placement"],
    registry=_REGISTRY,
)
for _placement in (
    *("virtualNodeOnly", "fair", "normalNodePrefer", "normalNodeOnly"),
    *("refused", "unsupported"),
):
    PLACEMENTS.labels(_placement)
SECONDS = Durations(
    "eci_profile_review_duration_seconds",
    "Time from receiving the body of a request to the response.",
    (
        *(0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
        *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
    ),
)
_REGISTRY.register(SECONDS)
USES = Tally(
    "eci_profile_cache_uses",
    "Look-ups of the profile and of namespaces: fresh (from memory), loaded (waited for a read), "
    "stale (the last good value, because the read failed) or failed (no value).",
    ["cache", "result"],
)
_REGISTRY.register(USES)
LOADS = Counter(
    "eci_profile_loads",
    "Reads from the API server or the file, by result: ok or failed.",
    ["cache", "result"],
    registry=_REGISTRY,
)
PROFILE_VALID = Gauge(
    "eci_profile_profile_valid",
    "1 if the current profile is in force; 0 if it has errors, and the last good one or none is "
    "in force.",
    registry=_REGISTRY,
)
PROFILE_SELECTORS = Gauge(
    "eci_profile_profile_selectors",
    "Selectors in force.",
    registry=_REGISTRY,
)
BINDING_EFFECTS_OFF = Gauge(
    "eci_profile_binding_effects_off",
    "Selectors in force whose effects at binding are never added, because ECI_PROFILE_BINDING "
    "is 0.",
    registry=_REGISTRY,
)
PROFILE_CHANGED = Gauge(
    "eci_profile_profile_changed_timestamp_seconds",
    "When the profile in force was first read, in Unix time.",
    registry=_REGISTRY,
)
PROFILE_VERSION = Gauge(
    "eci_profile_profile_resource_version",
    "The resourceVersion of the ConfigMap when it was last read; 0 if there is none.",
    registry=_REGISTRY,
)
REGISTRATION_CHECKS = Counter(
    "eci_profile_registration_checks",
    "Comparisons of the registration with the profile, by result: unchanged, written, conflict "
    "(somebody else wrote it; it is compared again) or failed (it stays as it is).",
    ["result"],
    registry=_REGISTRY,
)
CERTIFICATE_EXPIRY = Gauge(
    "eci_profile_certificate_expiry_timestamp_seconds",
    "When the certificate that new connections get expires, in Unix time; 0 without TLS.",
    registry=_REGISTRY,
)


def exposition() -> bytes:
    """Return all metrics of this process in the text format of Prometheus."""
    return generate_latest(_REGISTRY)
