"""Properties that hold for every pod and profile, from creation to binding."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch
import pytest
from examples import examples
from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec import convert
from strategies import VNODE, keys, label_selectors, maps, maybe, objects, policies, values

from handler.decision.binding import Binding, decide_binding, labels_to_match, nodes_of
from handler.decision.decide import decide_pod
from handler.decision.draw import read_record
from handler.decision.matching import Matcher
from handler.decision.pod import Metadata, Pod
from handler.profiles.parse import parse

pytestmark = pytest.mark.no_cover  # coverage doubles the time; the cases cover the code

RECORD = "eci-profile/selectors"
NAMES = [f"s{number}" for number in range(6)]
NODE_LABELS = {VNODE: "true", "kubernetes.io/arch": "amd64"}
ARM = {"arm": {"nodeSelector": {VNODE: "true", "kubernetes.io/arch": "arm64"}, "tolerations": []}}

# Mostly at binding; otherwise few selectors would apply then.
moments = st.sampled_from(["binding", "binding", "creation"])
modes = st.sampled_from(["enforce", "enforce", "enforce", "audit", "off"])
asked: st.SearchStrategy[Any] = (
    st.just({}) | maps.map(lambda labels: {"matchLabels": labels}) | label_selectors
)
entries = st.dictionaries(keys, values, min_size=1, max_size=3)
placing = st.builds(
    lambda side, selector, more: {side: selector, **more},
    st.sampled_from(["namespaceSelector", "objectSelector", "objectSelector"]),
    asked,
    st.fixed_dictionaries(
        {"effect": st.fixed_dictionaries({"annotations": entries, "labels": maps, "at": moments})},
        optional={
            "policy": policies,
            "priority": st.integers(-2, 2),
            "mode": modes,
            "percentage": st.sampled_from([0, 30, 70, 100]),
            "virtualNode": st.just("arm"),
        },
    ),
)
effect_only = st.fixed_dictionaries(
    {"effect": st.fixed_dictionaries({"annotations": entries, "at": moments})},
    optional={"mode": modes},
)
profiles = st.lists(placing | placing | effect_only, min_size=1, max_size=len(NAMES)).map(
    lambda many: [{"name": name, **each} for name, each in zip(NAMES, many, strict=False)]
)
names = st.just(NAMES) | st.lists(st.sampled_from(NAMES), max_size=4)
records = names.map(json.dumps) | st.sampled_from(["", "[", "{}", "[1]", '"s0"', "null"])
own_annotations = st.builds(
    lambda entries, record: entries if record is None else {**entries, RECORD: record},
    maps,
    maybe(records),
)
pods = st.fixed_dictionaries(
    {
        "metadata": objects(labels=maybe(maps), annotations=maybe(own_annotations)),
        "spec": objects(
            nodeSelector=maybe(st.dictionaries(st.sampled_from(["zone", VNODE]), values))
        ),
    }
)
bindings = objects(labels=maybe(maps), annotations=maybe(maps))
node_labels = st.sampled_from(
    [NODE_LABELS, NODE_LABELS, {**NODE_LABELS, "kubernetes.io/arch": "arm64"}, {}]
)


def created(matcher: Matcher, pod: Any, namespace: dict[str, str], uid: str) -> Any:
    """Return the pod after the review of its creation."""
    matching = matcher.match(pod["metadata"].get("labels") or {}, namespace)
    return jsonpatch.apply_patch(
        pod, decide_pod(convert(pod, Pod), matching, matcher, uid).operations
    )


def bound(
    matcher: Matcher, pod: Any, binding: Any, node: dict[str, str], namespace: dict[str, str]
) -> tuple[set[str], Any]:
    """Return the selectors applied at binding, and the Binding's metadata after the review."""
    found = convert({"metadata": pod["metadata"]}, Pod)
    nodes = nodes_of(node, matcher)
    if not nodes:
        return set(), binding
    matching = {
        each.rank: each
        for labels in labels_to_match(found, matcher)
        for each in matcher.match(labels, namespace)
    }
    brought = Binding(convert(binding, Metadata), "node", "uid")
    decision = decide_binding(found, brought, nodes, list(matching.values()), matcher)
    assert all(operation["op"] == "add" for operation in decision.operations)
    after = jsonpatch.apply_patch({"metadata": binding}, decision.operations)["metadata"]
    return {each.name for each in decision.selectors}, after


def merged(pod: Any, binding: Any) -> Any:
    """Return the pod as the API server stores it after binding."""
    after = copy.deepcopy(pod)
    for field in ("annotations", "labels"):
        if binding.get(field):
            after["metadata"][field] = {**(after["metadata"].get(field) or {}), **binding[field]}
    return after


def kept(after: Any, before: Any) -> bool:
    return all(after.get(key) == value for key, value in (before or {}).items())


def matcher_of(profile: Any) -> Matcher:
    return Matcher(parse({"selectors": json.dumps(profile), "virtualNodes": json.dumps(ARM)}))


@settings(max_examples=examples(150))
@given(profiles, pods, maps, node_labels, st.text(min_size=1, max_size=3))
def test_creation_and_binding_keep_the_pods_values(
    profile: Any, pod: Any, namespace: Any, node: Any, uid: str
) -> None:
    matcher, before = matcher_of(profile), copy.deepcopy(pod)
    new = created(matcher, pod, namespace, uid)
    applied, binding = bound(matcher, new, {}, node, namespace)
    after = merged(new, binding)
    event(f"applied at binding: {bool(applied)}")
    assert pod == before
    for stage, earlier in ((new, pod), (after, new), (after, pod)):
        for field in ("annotations", "labels"):
            assert kept(stage["metadata"].get(field) or {}, earlier["metadata"].get(field))
    assert node or not applied


@settings(max_examples=examples(150))
@given(profiles, pods, bindings, maps, node_labels)
def test_values_of_the_binding_and_the_pod_are_not_overwritten(
    profile: Any, pod: Any, binding: Any, namespace: Any, node: Any
) -> None:
    matcher = matcher_of(profile)
    _, after = bound(matcher, pod, binding, node, namespace)
    for field in ("annotations", "labels"):
        brought, had = binding.get(field) or {}, pod["metadata"].get(field) or {}
        found = after.get(field) or {}
        assert kept(found, brought)
        assert not (found.keys() - brought.keys()) & had.keys()


@settings(max_examples=examples(150))
@given(profiles, pods, maps, node_labels, st.text(min_size=1, max_size=3))
def test_a_second_pass_at_binding_adds_nothing(
    profile: Any, pod: Any, namespace: Any, node: Any, uid: str
) -> None:
    matcher = matcher_of(profile)
    new = created(matcher, pod, namespace, uid)
    _, once = bound(matcher, new, {}, node, namespace)
    assert bound(matcher, new, once, node, namespace)[1] == once


def readable(pod: Any) -> bool:
    """Return whether the pod has no record, or a readable one."""
    annotations = pod["metadata"].get("annotations") or {}
    return RECORD not in annotations or read_record(annotations) is not None


def without_labels(profile: Any) -> Any:
    """Remove labels from the effects, since they could make another selector match."""
    for selector in profile:
        if selector.get("effect"):
            selector["effect"].pop("labels", None)
    return profile


@settings(max_examples=examples(150))
@given(profiles.map(without_labels), pods.filter(readable), maps, st.lists(st.text(), min_size=3))
def test_a_second_pass_at_creation_adds_nothing_with_any_uid(
    profile: Any, pod: Any, namespace: Any, uids: list[str]
) -> None:
    matcher = matcher_of(profile)
    new = created(matcher, pod, namespace, uids[0])
    for uid in uids[1:]:
        assert created(matcher, new, namespace, uid) == new


@settings(max_examples=examples(150))
@given(profiles, pods, records, maps, node_labels)
def test_a_record_never_widens_what_matches(
    profile: Any, pod: Any, record: str, namespace: Any, node: Any
) -> None:
    matcher = matcher_of(profile)
    own = pod["metadata"].get("labels") or {}
    forged = copy.deepcopy(pod)
    forged["metadata"]["annotations"] = {RECORD: record}
    matches = {each.name for each in matcher.match(own, namespace)}
    only = {each.name for each in matcher.effect_only}

    decision = decide_pod(convert(forged, Pod), matcher.match(own, namespace), matcher, "uid")
    names = {each.name for each in decision.selectors}
    assert names <= matches | only

    new = created(matcher, forged, namespace, "uid")
    applied, _ = bound(matcher, new, {}, node, namespace)
    # The pod's current labels, and those it may have had before effects at creation.
    names_at_creation = read_record(new["metadata"]["annotations"]) or frozenset()
    fed = [
        each.labels
        for each in matcher.profile.selectors
        if each.at == "creation" and each.name in names_at_creation
    ]
    now = new["metadata"].get("labels") or {}
    before = {k: v for k, v in now.items() if not any(each.get(k) == v for each in fed)}
    for labels in (now, before):
        matches |= {each.name for each in matcher.match(labels, namespace)}
    assert applied <= (matches & names_at_creation) | only
    if not any(fed):
        assert applied - only <= {each.name for each in matcher.match(now, namespace)}
