"""``plan`` says that nothing changes if and only if each pod's patch is the same under both.

The patches are those of reviews; what is added at binding is that of reviews of Bindings.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch
import pytest
from examples import examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import convert
from server import review_of
from strategies import VNODE, label_selectors, maps, maybe, objects, policies

from handler.admission.review import read
from handler.author.comparison import compare_on
from handler.author.inventory import Inventory, Relevant
from handler.decision.binding import Binding, decide_binding, labels_to_match
from handler.decision.decide import decide_pod, left_alone
from handler.decision.matching import Matcher
from handler.decision.pod import Metadata, Pod
from handler.profiles.model import Profile
from handler.profiles.parse import parse

pytestmark = pytest.mark.no_cover  # examples take twice the time; the cases cover the code

effects = objects(
    annotations=maybe(maps), labels=maybe(maps), at=st.sampled_from(["creation", "binding"])
)
selectors = st.builds(
    lambda side, selector, more: {side: selector, **more},
    st.sampled_from(["namespaceSelector", "objectSelector"]),
    label_selectors,
    objects(
        effect=maybe(effects),
        policy=maybe(policies),
        priority=st.integers(-1, 1),
        mode=st.sampled_from(["enforce", "enforce", "audit", "off"]),
        percentage=st.sampled_from([0, 30, 60, 100]),
        virtualNode=st.just("arm"),
    ),
)
effect_only = st.builds(
    lambda effect, more: {"effect": effect, **more},
    st.fixed_dictionaries({"annotations": maps.filter(bool)}, optional={"at": st.just("binding")}),
    objects(mode=st.sampled_from(["enforce", "audit"])),
)
profiles = st.lists(selectors | selectors | effect_only, max_size=4).map(
    lambda many: [{"name": f"s{number}", **each} for number, each in enumerate(many)]
)
unsupported = st.sampled_from(["warn", "refuse", "ignore"])
specs = objects(
    nodeSelector=st.dictionaries(
        st.sampled_from(["zone", VNODE]), st.sampled_from(["true", "false"])
    ),
    tolerations=st.lists(
        st.sampled_from([{"operator": "Exists"}, {"key": VNODE, "value": "true"}, {"key": "a"}]),
        max_size=2,
    ),
    hostNetwork=st.booleans(),
)
plain_specs = objects(
    nodeSelector=st.just({"zone": "a"}),
    tolerations=st.just([{"key": "a"}]),
    hostNetwork=st.booleans(),
)


def parsed(selectors: Any, unsupported: str = "warn") -> Profile:
    node = {"unsupported": unsupported}
    arm = {"nodeSelector": {VNODE: "true", "arch": "arm64"}}
    nodes = {"virtualNode": json.dumps(node), "virtualNodes": json.dumps({"arm": arm})}
    return parse({"selectors": json.dumps(selectors), **nodes})


def reviewed(pod: Any, uid: str, namespace_labels: Any, profile: Profile) -> tuple[Any, Any]:
    """The patch of the pod's creation, and the pod then."""
    given = read(json.dumps(review_of(pod, uid=uid)).encode()).pod or Pod()
    if left_alone(given):
        return [], pod
    matcher = Matcher(profile)
    labels = (given.metadata and given.metadata.labels) or {}
    decision = decide_pod(given, matcher.match(labels, namespace_labels), matcher, uid)
    return decision.operations, jsonpatch.apply_patch(copy.deepcopy(pod), decision.operations)


def bound(pod: Any, uid: str, namespace_labels: Any, profile: Profile) -> Any:
    """What is added to the pod when it is bound, by the virtual node."""
    matcher, created = Matcher(profile), convert(pod, Pod)
    found: dict[str, Any] = {}
    if left_alone(created):
        return found
    ranks = {
        selector.rank: selector
        for labels in labels_to_match(created, matcher)
        for selector in matcher.match(labels, namespace_labels)
    }
    matching = [ranks[rank] for rank in sorted(ranks)]
    tolerations = (created.spec and created.spec.tolerations) or ()
    for node in profile.virtual_nodes:
        binding = Binding(Metadata(annotations={}, labels={}), node.name, uid)
        if all(any(own.covers(each) for own in tolerations) for each in node.tolerations):
            decision = decide_binding(created, binding, [node], matching, matcher)
            found[node.name] = decision.operations
    return {name: operations for name, operations in found.items() if operations}


def differs(pod: Any, uid: str, namespace_labels: Any, current: Profile, new: Profile) -> bool:
    before, after = (reviewed(pod, uid, namespace_labels, each)[0] for each in (current, new))
    return bool(before != after)


def planned(current: Profile, new: Profile, namespace_labels: Any, *values: Any) -> bool:
    inventory = Inventory(Relevant(current, new))
    namespace = {"name": "shop", "labels": namespace_labels}
    for value in (*values, {"kind": "Namespace", "metadata": namespace}):
        inventory.add(value)
    comparison = compare_on(inventory, current, new)
    assert not comparison.unknown_namespaces
    return comparison.changes


def without_binding(selectors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for selector in selectors:
        (selector.get("effect") or {}).pop("at", None)
    return selectors


def of_deployment(pod: Any, uid: str) -> Any:
    owner = {"kind": "ReplicaSet", "name": "web-1", "controller": True}
    metadata = {"name": uid, "namespace": "shop", "uid": uid, "ownerReferences": [owner]}
    labels = {**pod["metadata"].get("labels", {}), "pod-template-hash": "1"}
    spec = {**pod["spec"], "nodeName": "n"}
    return {
        "kind": "Pod",
        "metadata": {**pod["metadata"], **metadata, "labels": labels},
        "spec": spec,
    }


uids = st.lists(st.sampled_from("abcdef"), max_size=3, unique=True)
templates = st.fixed_dictionaries(
    {"metadata": objects(labels=maps, annotations=maps), "spec": specs}
)


@settings(max_examples=examples(150))
@given(profiles, profiles, unsupported, templates, maps, uids)
def test_pods_of_a_workload(
    old: Any, edited: Any, unsupported: str, template: Any, namespace_labels: Any, uids: list[str]
) -> None:
    current, new = parsed(without_binding(old)), parsed(without_binding(edited), unsupported)
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": template},
    }
    pods = [of_deployment(template, uid) for uid in uids]
    created = copy.deepcopy(template)
    created["metadata"].setdefault("labels", {})["pod-template-hash"] = "1"
    expected = any(differs(created, uid, namespace_labels, current, new) for uid in uids)
    if uids:
        assert planned(current, new, namespace_labels, *pods, deployment) == expected
    else:
        inventory = planned(current, new, namespace_labels, deployment)
        if all(each.percentage in (0, 100) for p in (current, new) for each in p.selectors):
            assert inventory == differs(template, "1", namespace_labels, current, new)


@settings(max_examples=examples(150))
@given(
    profiles,
    profiles,
    st.fixed_dictionaries({"metadata": objects(labels=maps), "spec": plain_specs}),
    maps,
)
def test_a_pod_that_went_through_the_function_is_decided_as_it_came(
    old: Any, edited: Any, pod: Any, namespace_labels: Any
) -> None:
    current, new = parsed(without_binding(old)), parsed(without_binding(edited))
    labels = pod["metadata"].get("labels", {}).items()
    assume(not any(labels & each.labels.items() for each in current.selectors))
    _, created = reviewed(pod, "a", namespace_labels, current)
    created["metadata"] |= {"name": "a", "namespace": "shop", "uid": "a"}
    created["spec"]["nodeName"] = "n"
    expected = differs(pod, "a", namespace_labels, current, new)
    assert planned(current, new, namespace_labels, {"kind": "Pod", **created}) == expected


@settings(max_examples=examples(150))
@given(profiles, profiles, templates, maps)
def test_effects_at_binding_count_too(
    old: Any, edited: Any, template: Any, namespace_labels: Any
) -> None:
    current, new = parsed(old), parsed(edited)
    pod = of_deployment(template, "a")
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": template},
    }
    found = planned(current, new, namespace_labels, pod, deployment)
    created = copy.deepcopy(template)
    created["metadata"].setdefault("labels", {})["pod-template-hash"] = "1"
    before, after = (reviewed(created, "a", namespace_labels, each) for each in (current, new))
    (first, second) = (
        bound(each, "a", namespace_labels, profile)
        for (_, each), profile in ((before, current), (after, new))
    )
    assert found == (before[0] != after[0] or first != second)
