"""Hypothesis strategies for parts of pods and profiles."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

KEYS = ["app", "eci", "k8s.aliyun.com/x", "example.com/a"]
VALUES = ["", "true", "web", "gpu"]
VNODE = "k8s.aliyun.com/vnode"

keys = st.sampled_from(KEYS)
values = st.sampled_from(VALUES)
maps = st.dictionaries(keys, values, max_size=3)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


expressions = st.one_of(
    st.fixed_dictionaries(
        {
            "key": keys,
            "operator": st.sampled_from(["In", "NotIn"]),
            "values": st.lists(values, min_size=1, max_size=2),
        }
    ),
    st.fixed_dictionaries({"key": keys, "operator": st.sampled_from(["Exists", "DoesNotExist"])}),
)
label_selectors = objects(
    matchLabels=maybe(maps), matchExpressions=maybe(st.lists(expressions, max_size=2))
)
policies: st.SearchStrategy[Any] = st.sampled_from(
    [{policy: {}} for policy in ("virtualNodeOnly", "fair", "normalNodePrefer", "normalNodeOnly")]
)
