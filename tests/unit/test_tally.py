"""Counters and histograms as Prometheus reads them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import generate_latest

from handler.telemetry.tally import Durations, Tally


def test_a_histogram_is_exposed_like_that_of_the_client() -> None:
    bounds = (0.001, 0.1, 1)
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    durations = Durations("seconds", "Time.", bounds)
    ours.register(durations)
    histogram = Histogram("seconds", "Time.", buckets=bounds, registry=theirs)
    for seconds in (0.0, 0.0005, 0.001, 0.0011, 0.1, 0.5, 1, 1.5, 60):
        durations.observe(seconds)
        histogram.observe(seconds)
    assert generate_latest(ours) == generate_latest(theirs)


def test_series_are_counted_separately_and_escaped() -> None:
    registry = CollectorRegistry()
    tally = Tally("uses", "Uses.", ("cache", "result"))
    registry.register(tally)
    tally.labels("profile", "fresh").value += 2
    tally.labels("profile", "fresh").value += 1
    tally.labels('a"\n', "stale").value += 1
    text = generate_latest(registry).decode()
    assert 'uses_total{cache="profile",result="fresh"} 3.0\n' in text
    assert 'uses_total{cache="a\\"\\n",result="stale"} 1.0\n' in text
