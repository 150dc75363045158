"""Properties that hold for every pod and every profile."""

from __future__ import annotations

import asyncio
import copy
import json
import random
import tempfile
from typing import Any

import jsonpatch
import pytest
from examples import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from server import patch_of, review_of
from strategies import VNODE, keys, label_selectors, maps, maybe, objects, policies, values

from handler.admission.admission import Admission
from handler.admission.executor import BoundedExecutor
from handler.admission.review import Response, read, write
from handler.admission.warnings import warnings
from handler.cluster.file import FileSource
from handler.cluster.store import Store
from handler.decision.decide import decide_pod, left_alone
from handler.decision.matching import Matcher
from handler.profiles.model import Profile, Requirement, Selector
from handler.profiles.parse import parse

pytestmark = pytest.mark.no_cover  # coverage doubles the time; the cases cover the code

side = st.sampled_from(["namespaceSelector", "objectSelector"])
selectors = st.builds(
    lambda side, selector, more: {side: selector, **more},
    side,
    label_selectors,
    objects(
        namespaceSelector=maybe(label_selectors),
        effect=maybe(objects(annotations=maybe(maps), labels=maybe(maps))),
        policy=maybe(policies),
        priority=maybe(st.integers(-2, 2)),
    ),
).filter(lambda s: s.get("namespaceSelector") is not None or "objectSelector" in s)
profiles = st.lists(selectors, max_size=6).map(
    lambda many: [{"name": f"s{number}", **each} for number, each in enumerate(many)]
)
tolerations = st.lists(
    objects(
        key=st.sampled_from(["", "dedicated", VNODE]),
        operator=st.sampled_from(["", "Equal", "Exists"]),
        value=st.sampled_from(["", "true", "gpu"]),
        effect=st.sampled_from(["", "NoSchedule", "NoExecute"]),
        tolerationSeconds=st.integers(0, 300),
    ),
    max_size=3,
)
terms = objects(
    matchExpressions=st.lists(
        st.fixed_dictionaries(
            {
                "key": st.sampled_from(["zone", VNODE]),
                "operator": st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]),
                "values": st.lists(st.sampled_from(["a", "true", "7"]), max_size=2),
            }
        ),
        max_size=2,
    ),
    matchFields=st.just([{"key": "metadata.name", "operator": "In", "values": ["n"]}]),
)
affinities = objects(
    nodeAffinity=maybe(
        objects(
            requiredDuringSchedulingIgnoredDuringExecution=maybe(
                objects(nodeSelectorTerms=maybe(st.lists(terms, max_size=2)))
            ),
            preferredDuringSchedulingIgnoredDuringExecution=maybe(
                st.lists(
                    st.fixed_dictionaries({"weight": st.integers(1, 100), "preference": terms}),
                    max_size=2,
                )
            ),
        )
    ),
    podAffinity=st.just({"x": 1}),
)
pods = objects(
    metadata=maybe(
        objects(
            name=st.text(max_size=5),
            labels=maybe(maps),
            annotations=maybe(st.dictionaries(st.text(max_size=4), st.text(max_size=4))),
        )
    ),
    spec=maybe(
        objects(
            nodeSelector=maybe(st.dictionaries(st.sampled_from(["zone", VNODE]), values)),
            tolerations=maybe(tolerations),
            affinity=maybe(affinities),
            containers=st.just([{"name": "web"}]),
        )
    ),
)


def answer(selectors: Any, pod: Any, namespace_labels: Any, uid: str = "1") -> dict[str, Any]:
    """Return the response to a serialized review."""
    review = read(json.dumps(review_of(pod, uid=uid)).encode())
    assert review.pod is not None
    assert left_alone(review.pod) is None
    profile = parse({"selectors": json.dumps(selectors)})
    matcher = Matcher(profile)
    labels = (review.pod.metadata and review.pod.metadata.labels) or {}
    matching = matcher.match(labels, namespace_labels)
    decision = decide_pod(review.pod, matching, matcher)
    given = Response(operations=decision.operations, warnings=warnings(decision))
    written = write(review, given.encoded())
    response: dict[str, Any] = json.loads(written)["response"]
    return response


def kept(after: Any, before: Any) -> bool:
    """Return whether no existing value is changed or lost; null counts as absent."""
    if before is None:
        return True
    if isinstance(before, dict):
        return all(kept(after.get(key), value) for key, value in before.items())
    if isinstance(before, list):
        return bool(after[: len(before)] == before)
    return bool(after == before)


def without_feeding(profile: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Remove labels from the effects, since they could make another selector match."""
    for selector in profile:
        if selector.get("effect"):
            selector["effect"].pop("labels", None)
    return profile


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(list(value))}
    if isinstance(value, list):
        return [reversed_keys(item) for item in value]
    return value


@settings(max_examples=examples(250))
@given(profiles, pods, maps)
def test_the_patch_applies_and_keeps_existing_values(
    profile: Any, pod: Any, namespace_labels: Any
) -> None:
    before = copy.deepcopy(pod)
    after = jsonpatch.apply_patch(pod, patch_of(answer(profile, pod, namespace_labels)))
    assert pod == before
    assert kept(after, before)


@settings(max_examples=examples(100))
@given(profiles.map(without_feeding), pods, maps)
def test_a_second_pass_gives_no_patch(profile: Any, pod: Any, namespace_labels: Any) -> None:
    after = jsonpatch.apply_patch(pod, patch_of(answer(profile, pod, namespace_labels)))
    assert "patch" not in answer(profile, after, namespace_labels)


@settings(max_examples=examples(150))
@given(profiles, pods, maps)
def test_the_order_of_keys_does_not_matter(profile: Any, pod: Any, namespace_labels: Any) -> None:
    assert answer(profile, pod, namespace_labels) == answer(
        reversed_keys(profile), reversed_keys(pod), reversed_keys(namespace_labels)
    )


@given(st.text(min_size=1), pods)
def test_the_uid_is_returned(uid: str, pod: Any) -> None:
    assert answer([], pod, {}, uid)["uid"] == uid


drawn_profiles = st.tuples(
    profiles,
    st.lists(
        objects(
            mode=st.sampled_from(["enforce", "audit", "off"]), percentage=st.sampled_from([50, 100])
        ),
        min_size=6,
        max_size=6,
    ),
    st.lists(st.just({"name": "effect only", "effect": {"labels": {"only": "a"}}}), max_size=1),
).map(
    lambda parts: (
        [{**selector, **more} for selector, more in zip(*parts[:2], strict=False)] + parts[2]
    )
)


@settings(max_examples=examples(40))
@given(
    drawn_profiles,
    st.lists(pods, min_size=2, max_size=2),
    st.lists(maps, min_size=2, max_size=2),
    st.randoms(),
)
@example(
    [
        {"name": app, "namespaceSelector": {"matchLabels": {"app": app}}, "policy": {policy: {}}}
        for app, policy in (("web", "fair"), ("gpu", "virtualNodeOnly"))
    ],
    [{"spec": {}}, {"metadata": {}}],
    [{"app": "web"}, {"app": "gpu"}],
    random.Random(1),  # noqa: S311
)
def test_the_pods_before_make_no_difference(
    profile: Any, pods: list[Any], namespaces: list[Any], order: Any
) -> None:
    reviews = [
        json.dumps(review_of(pod, uid=str(uid), namespace=f"n{number}")).encode()
        for pod in (*pods, pods[0] | pods[1], pods[1] | pods[0])
        for number in range(len(namespaces))
        for uid in range(3)
    ]
    order.shuffle(reviews)
    objects = [
        {"kind": "ConfigMap", "metadata": {"name": "eci-profile", "namespace": "kube-system"}}
        | {"data": {"selectors": json.dumps(profile)}},
        *(
            {"kind": "Namespace", "metadata": {"name": f"n{number}", "labels": labels}}
            for number, labels in enumerate(namespaces)
        ),
    ]

    async def compare() -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write("\n---\n".join(map(json.dumps, objects)))
            file.flush()
            store = Store(FileSource(file.name), "kube-system", "eci-profile", 60.0)
            judged = BoundedExecutor("judging", 1)
            warm = Admission(store, judged)
            for review in reviews:
                assert await warm.review(review) == await Admission(store, judged).review(review)

    asyncio.run(compare())


requirements = st.lists(
    st.builds(
        Requirement,
        keys,
        st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
        st.frozensets(values, min_size=1, max_size=2),
    ),
    max_size=3,
).map(tuple)
sides = st.tuples(maybe(requirements), maybe(requirements)).filter(
    lambda both: both != (None, None)
)


@settings(max_examples=examples(200))
@given(st.lists(sides, max_size=8), maps, maps)
def test_the_index_agrees_with_the_plain_definition(
    sides: list[tuple[Any, Any]], pod_labels: dict[str, str], namespace_labels: dict[str, str]
) -> None:
    profile = Profile(
        tuple(Selector(str(index), *side, rank=index) for index, side in enumerate(sides))
    )
    matcher = Matcher(profile)

    def matching(pod_labels: dict[str, str], namespace_labels: dict[str, str]) -> list[Selector]:
        return [
            selector
            for selector in profile.selectors
            if not selector.effect_only
            and all(requirement.matches(pod_labels) for requirement in selector.object or ())
            and all(
                requirement.matches(namespace_labels) for requirement in selector.namespace or ()
            )
        ]

    expected = matching(pod_labels, namespace_labels)
    assert matcher.match(pod_labels, namespace_labels) == expected
    needed = any(
        selector.namespace and all(r.matches(pod_labels) for r in selector.object or ())
        for selector in profile.selectors
    )
    assert matcher.match_by_pod(pod_labels) == (None if needed else expected)
