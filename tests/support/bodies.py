"""Hypothesis strategies for bodies that no kube-apiserver sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from reviews import REVIEWS
from server import Service

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**400, -(2**63), 1e308, "\u0000", "\u2028", "CREATE", "pods"]),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3)
    ),
    max_leaves=5,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each nested value."""
    yield at
    if isinstance(value, dict):
        for key, child in value.items():
            yield from paths(child, (*at, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from paths(child, (*at, index))


RECORDED = [REVIEWS[name] for name in sorted(REVIEWS)]
PLACES = [(index, path) for index, review in enumerate(RECORDED) for path in paths(review) if path]


def _changed(place: tuple[int, tuple[Any, ...]], value: Any, remove: bool) -> Any:
    index, path = place
    review = json.loads(json.dumps(RECORDED[index]))
    parent = review
    for key in path[:-1]:
        parent = parent[key]
    if remove:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return review


reviews_with_a_wrong_value = st.builds(
    _changed, st.sampled_from(PLACES), json_values, st.booleans()
)
no_reviews = st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode())


def answered_or_refused(service: Service, review: Any) -> None:
    reply = service.request("POST", "/mutate", json.dumps(review).encode())
    assert reply.status in (200, 400)
    if reply.status == 200:
        assert reply.json["response"]["uid"] == review["request"]["uid"]
    else:
        assert reply.json["message"]
