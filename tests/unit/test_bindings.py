"""Effects at binding: a Binding, its pod and its node in; what is merged into the pod out."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from bodies import json_values, paths
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local import Local, local
from reviews import REVIEWS
from server import DATA, binding_of, checked, patch_of, patched, review_of

RECORD = "eci-profile/selectors"
COST = "controller.kubernetes.io/pod-deletion-cost"
VIRTUAL = REVIEWS["pod-binding-to-virtual-node"]
WORKER = REVIEWS["pod-binding-to-worker"]


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / "objects" / f"{name}.json").read_text())
    return found


NODES = [recorded("node-virtual"), recorded("node-worker")]
BURST = {
    "name": "burst",
    "objectSelector": {"matchLabels": {"burst": "true"}},
    "policy": {"fair": {}},
    "effect": {"at": "binding", "annotations": {COST: "-1000"}, "labels": {"on": "eci"}},
}
EVERY = {"name": "every", "effect": {"at": "binding", "annotations": {"example.com/every": "1"}}}
ARM = {
    "arm": {"nodeSelector": {"k8s.aliyun.com/vnode": "true", "kubernetes.io/arch": "arm64"}},
}


def pod_of(
    review: Any = VIRTUAL,
    record: Any = ("burst",),
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """The recorded pod, as the one that a recorded Binding binds. ``record``: text or names."""
    pod = recorded("pod-pending")
    pod["metadata"] |= {
        key: review["request"]["object"]["metadata"][key] for key in ("name", "namespace", "uid")
    }
    pod["metadata"] |= metadata
    if record is not None:
        text = record if isinstance(record, str) else json.dumps(list(record))
        pod["metadata"]["annotations"][RECORD] = text
    pod["metadata"]["annotations"] |= annotations or {}
    pod["metadata"]["labels"] |= labels or {}
    return pod


def merged(pod: Any, binding: Any) -> Any:
    """The pod once it is bound (assignPod in pkg/registry/core/pod/storage)."""
    after = copy.deepcopy(pod)
    for field in ("annotations", "labels"):
        brought = binding["metadata"].get(field) or {}
        after["metadata"][field] = {**(after["metadata"].get(field) or {}), **brought}
    return after


class Cluster:
    """The function on a file that stands in for the cluster."""

    def __init__(self, function: Local, path: Path) -> None:
        self.function = function
        self.path = path

    def has(self, selectors: Any, *objects: Any, **data: Any) -> None:
        text = {key: json.dumps(value) for key, value in {"selectors": selectors, **data}.items()}
        profile = {"kind": "ConfigMap", "metadata": {"name": "eci-profile"}, "data": text}
        self.path.write_text("\n---\n".join(json.dumps(each) for each in (profile, *objects)))

    def bind(self, review: Any = VIRTUAL) -> dict[str, Any]:
        response = checked(self.function.post(review), review)
        assert response["allowed"]
        return response

    def bound(self, selectors: Any, pod: Any, review: Any = VIRTUAL, **data: Any) -> dict[str, str]:
        """What the binding of the pod adds to its annotations and labels."""
        self.has(selectors, *NODES, pod, **data)
        after = merged(pod, patched(review["request"]["object"], self.bind(review)))
        added: dict[str, str] = {}
        for field in ("annotations", "labels"):
            before = pod["metadata"].get(field) or {}
            for key, value in after["metadata"][field].items():
                if key not in before:
                    added[key] = value
                else:
                    assert value == before[key]
        return added


def settings_of(path: Path, **more: str) -> dict[str, str]:
    path.write_text("kind: List\n")
    return {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(path),
        "ECI_PROFILE_TTL": "0",
        "ECI_PROFILE_NODE_TTL": "0",
        "ECI_PROFILE_LOG_LEVEL": "DEBUG",
        **more,
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With effects at binding."""
    path = tmp_path_factory.mktemp("cluster") / "cluster.yaml"
    with local(settings_of(path, ECI_PROFILE_BINDING="1")) as function:
        yield Cluster(function, path)
        lines = function.log_lines()
        assert not [line for line in lines if line["message"] == "unexpected error"]


def test_the_recorded_binding_to_a_virtual_node_brings_the_effects(cluster: Cluster) -> None:
    cluster.has([BURST], *NODES, pod_of())
    before = copy.deepcopy(VIRTUAL)
    response = cluster.bind()
    assert patch_of(response) == [
        {"op": "add", "path": "/metadata/annotations", "value": {COST: "-1000"}},
        {"op": "add", "path": "/metadata/labels", "value": {"on": "eci"}},
    ]
    assert response["auditAnnotations"] == {"selectors": "burst"}
    assert "warnings" not in response
    assert before == VIRTUAL
    line = next(x for x in reversed(cluster.function.log_lines()) if x["message"] == "review")
    assert line["outcome"] == "patched"
    assert (line["object"], line["node"]) == ("web-698f8df587-n92qp", "virtual-kubelet-1")
    assert line["selectors"] == ["burst"]


@pytest.mark.parametrize("name", ["pod-binding-to-worker", "pod-binding"])
def test_a_binding_to_a_normal_node_is_untouched_and_reads_no_pod(
    name: str, cluster: Cluster
) -> None:
    review = REVIEWS[name]
    node = {"kind": "Node", "metadata": {"name": review["request"]["object"]["target"]["name"]}}
    cluster.has([BURST, EVERY], NODES[0], node)  # no pod: reading one would be 503
    assert cluster.bind(review).keys() == {"uid", "allowed"}


def test_the_same_pod_on_a_normal_node_gets_nothing(cluster: Cluster) -> None:
    assert cluster.bound([BURST, EVERY], pod_of(WORKER), WORKER) == {}


@pytest.mark.parametrize("setting", [{}, {"ECI_PROFILE_BINDING": "0"}, {"ECI_PROFILE_BINDING": ""}])
def test_off_by_default_and_nothing_is_read(setting: dict[str, str], tmp_path: Path) -> None:
    with local(settings_of(tmp_path / "cluster.yaml", **setting)) as function:
        cluster = Cluster(function, tmp_path / "cluster.yaml")
        cluster.has([BURST, EVERY])  # neither the node nor the pod: reading one would be 503
        assert cluster.bind().keys() == {"uid", "allowed"}
        assert cluster.bind(binding_of("UPPER", "_", "/")).keys() == {"uid", "allowed"}


@pytest.mark.parametrize(
    ("setting", "value"),
    [("BINDING", "maybe"), ("NODE_TTL", "-1"), ("NODE_TTL", "86401"), ("NODE_TTL", "nan")],
)
def test_a_wrong_setting_ends_the_start(setting: str, value: str, tmp_path: Path) -> None:
    given = settings_of(tmp_path / "cluster.yaml") | {f"ECI_PROFILE_{setting}": value}
    with pytest.raises(SystemExit, match=f"ECI_PROFILE_{setting} must be .*{value!r}"):
        local(given).__enter__()


def test_a_profile_without_effects_at_binding_reads_nothing(cluster: Cluster) -> None:
    now = {**BURST, "effect": {"annotations": {"a": "b"}}}
    none = {**BURST, "name": "none", "effect": {"at": "binding"}}
    off = {**BURST, "name": "off", "mode": "off"}
    for selectors in ([], [now], [none], [off], [{**EVERY, "mode": "off"}]):
        cluster.has(selectors)
        assert cluster.bind().keys() == {"uid", "allowed"}


def test_without_a_record_only_selectors_with_an_effect_only_apply(cluster: Cluster) -> None:
    assert cluster.bound([BURST, EVERY], pod_of(record=None)) == {"example.com/every": "1"}
    assert cluster.bound([BURST], pod_of(record=None)) == {}


@pytest.mark.parametrize(
    "record",
    [
        *(
            "",
            "[]",
            "{}",
            "null",
            "1e999",
            '"burst"',
            '["burst"',
            "burst",
            '["burst", 1]',
            "\ufeff[]",
        ),
        *(
            '[["burst"]]',
            '{"burst": true}',
            "[" * 100_000,
            '["' + "x" * 100_000 + '"]',
            "9" * 5_000,
        ),
        json.dumps(["burst"] * 10_000),
    ],
    ids=lambda record: record[:12],
)
def test_a_record_that_names_nothing_or_cannot_be_read_applies_nothing(
    record: str, cluster: Cluster
) -> None:
    assert cluster.bound([BURST], pod_of(record=record)) == {}


def test_a_record_does_not_widen_what_matches(cluster: Cluster) -> None:
    team = {**BURST, "name": "team", "namespaceSelector": {"matchLabels": {"team": "a"}}}
    record = ("burst", "team", "gone", "every")
    pod = pod_of(record=record, labels={"burst": "false"})
    assert cluster.bound([BURST, team], pod) == {}
    pod = pod_of(record=record)
    assert cluster.bound([team], pod) == {}
    namespace = {"kind": "Namespace", "metadata": {"name": "bindt", "labels": {"team": "a"}}}
    cluster.has([team], *NODES, pod, namespace)
    assert cluster.bind()["auditAnnotations"] == {"selectors": "team"}


def test_a_label_that_an_effect_added_at_creation_does_not_hide_the_match(cluster: Cluster) -> None:
    labels = {"name": "l", "objectSelector": {}, "effect": {"labels": {"burst": "false"}}}
    absent = {"matchExpressions": [{"key": "burst", "operator": "DoesNotExist"}]}
    later = {**BURST, "objectSelector": absent}
    pod = pod_of(record=("l", "burst"), labels={"burst": "false"})
    assert cluster.bound([labels, later], pod) == {COST: "-1000", "on": "eci"}
    other = pod_of(record=("l", "burst"), labels={"burst": "own"})
    assert cluster.bound([labels, later], other) == {}


def test_what_creation_records_binding_applies(cluster: Cluster) -> None:
    pod = pod_of(record=None)
    cluster.has([BURST], *NODES)
    creation = review_of({**pod, "metadata": {**pod["metadata"], "uid": None}})
    response = checked(cluster.function.post(creation), creation)
    created = patched(pod, response)
    assert created["metadata"]["annotations"] == {"mine": "kept", RECORD: '["burst"]'}
    assert created["metadata"]["labels"] == pod["metadata"]["labels"]  # effects come later
    assert cluster.bound([BURST], created) == {COST: "-1000", "on": "eci"}


def test_own_values_of_the_pod_and_of_the_binding_stay(cluster: Cluster) -> None:
    wanted = {"example.com/pod": "1", "example.com/binding": "1", "mine": "1", COST: "1"}
    selector = {**BURST, "effect": {"at": "binding", "annotations": wanted, "labels": {"on": "x"}}}
    pod = pod_of(annotations={"example.com/pod": ""}, labels={"on": ""})
    review = copy.deepcopy(VIRTUAL)
    review["request"]["object"]["metadata"]["annotations"] = {"example.com/binding": "own"}
    cluster.has([selector], *NODES, pod)
    response = cluster.bind(review)
    assert patch_of(response) == [
        {
            "op": "add",
            "path": "/metadata/annotations/controller.kubernetes.io~1pod-deletion-cost",
            "value": "1",
        }
    ]
    assert [warning.split(":")[0] for warning in response["warnings"]] == [
        "annotation example.com/binding",
        "annotation example.com/pod",
        "annotation mine",
        "label on",
    ]


def test_the_first_selectors_value_counts_and_a_second_pass_adds_nothing(cluster: Cluster) -> None:
    second = {**BURST, "name": "second", "priority": 1}
    second["effect"] = {"at": "binding", "annotations": {COST: "7", "example.com/x": "2"}}
    cluster.has([BURST, second], *NODES, pod_of(record=("burst", "second")))
    response = cluster.bind()
    assert response["auditAnnotations"] == {"selectors": "second,burst"}
    review = copy.deepcopy(VIRTUAL)
    review["request"]["object"] = patched(VIRTUAL["request"]["object"], response)
    brought = review["request"]["object"]["metadata"]["annotations"]
    assert brought == {COST: "7", "example.com/x": "2"}
    assert "patch" not in cluster.bind(review)
    # And bound again, as after a Binding that the API server could not write.
    cluster.has(
        [BURST, second],
        *NODES,
        merged(pod_of(record=("burst", "second")), review["request"]["object"]),
    )
    assert "patch" not in cluster.bind()


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"burst": "true", "alibabacloud.com/eci": "false"}},
        {"ownerReferences": [{"kind": "DaemonSet", "name": "d", "controller": True}]},
        {"annotations": {RECORD: '["burst"]', "kubernetes.io/config.mirror": "x"}},
    ],
    ids=["opt-out", "daemonset", "mirror"],
)
def test_pods_that_are_left_alone_at_creation_are_left_alone(
    metadata: dict[str, Any], cluster: Cluster
) -> None:
    cluster.has(
        [BURST, EVERY],
        *NODES,
        pod_of(**metadata) if "ownerReferences" in metadata else _with(metadata),
    )
    assert cluster.bind().keys() == {"uid", "allowed"}


def _with(metadata: dict[str, Any]) -> dict[str, Any]:
    pod = pod_of()
    pod["metadata"] |= metadata
    return pod


def test_a_pod_owned_but_not_controlled_by_a_daemonset_gets_the_effects(cluster: Cluster) -> None:
    owners = [{"kind": "DaemonSet", "name": "d"}, {"kind": "ReplicaSet", "controller": True}]
    assert cluster.bound([BURST], pod_of(ownerReferences=owners))


@pytest.mark.parametrize("size", [0, 20_000], ids=["small", "large"])
def test_another_pod_by_the_same_name_gets_nothing(size: int, cluster: Cluster) -> None:
    review = copy.deepcopy(VIRTUAL)
    review["request"]["object"]["metadata"]["annotations"] = {"x": "x" * size}
    cluster.has([BURST, EVERY], *NODES, pod_of())
    assert "patch" in cluster.bind(review)
    cluster.has([BURST, EVERY], *NODES, pod_of(uid="00000000-0000-0000-0000-000000000000"))
    assert cluster.bind(review).keys() == {"uid", "allowed"}
    del review["request"]["object"]["metadata"]["uid"]  # a scheduler that does not say which
    assert "patch" in cluster.bind(review)


def test_annotations_for_which_the_pod_would_be_refused_are_left_out(cluster: Cluster) -> None:
    wanted = {"a": "1" * 100, "b": "2" * 200, "c": "3" * 30}
    selector = {**BURST, "effect": {"at": "binding", "annotations": wanted}}
    own = {"own": "x" * 261_000, "more": "x" * 950}
    cluster.has([selector], *NODES, pod_of(annotations=own))
    response = cluster.bind()
    (operation,) = patch_of(response)
    assert operation["value"].keys() == {"a", "c"}
    assert response["warnings"] == [
        "annotation b: not added, because the pod's annotations would exceed 262144 bytes"
    ]


def test_a_pod_is_counted_once_for_each_selector(cluster: Cluster) -> None:
    """At creation, and for a selector with an effect only at binding."""

    def matches(name: str, mode: str, result: str) -> float:
        labels = {"mode": mode, "result": result, "selector": name}
        return cluster.function.metric("eci_profile_selector_matches_total", **labels)

    tried = {**EVERY, "name": "tried", "mode": "audit"}
    cluster.has([BURST, EVERY, tried], *NODES, pod_of())
    cluster.bind()
    counted = ("burst", "enforce"), ("every", "enforce"), ("tried", "audit")
    before = [matches(*each, "audited" if "audit" in each else "applied") for each in counted]
    assert cluster.bind()["auditAnnotations"]["selectors"] == "burst,every"
    dry_run = copy.deepcopy(VIRTUAL)
    dry_run["request"]["dryRun"] = True
    cluster.bind(dry_run)
    after = [matches(*each, "audited" if "audit" in each else "applied") for each in counted]
    assert after == [before[0], before[1] + 1, before[2] + 1]


@pytest.mark.parametrize("record", [None, ("other",), ("burst",)])
def test_audit_changes_nothing_and_is_told(record: Any, cluster: Cluster) -> None:
    audit = {**BURST, "mode": "audit"}
    cluster.has([audit, {**EVERY, "mode": "audit"}], *NODES, pod_of(record=record))
    response = cluster.bind()
    assert "patch" not in response
    assert response["auditAnnotations"] == {"audited-selectors": "burst,every"}
    cluster.has([audit], *NODES, pod_of(record=record, labels={"burst": "false"}))
    assert cluster.bind().keys() == {"uid", "allowed"}


def test_audit_is_told_for_its_share_of_the_bindings(cluster: Cluster) -> None:
    cluster.has([{**BURST, "mode": "audit", "percentage": 25}], *NODES, pod_of())
    told = 0
    for number in range(200):
        review = copy.deepcopy(VIRTUAL)
        review["request"]["uid"] = f"uid-{number}"
        told += "auditAnnotations" in cluster.bind(review)
    assert 20 <= told <= 85  # 50, and five and a half standard deviations


def test_each_kind_of_virtual_node_gets_what_is_for_it(cluster: Cluster) -> None:
    arm_node = recorded("node-virtual")
    arm_node["metadata"]["labels"]["kubernetes.io/arch"] = "arm64"
    on_arm = {**BURST, "name": "arm", "virtualNode": "arm"}
    every_arm = {**EVERY, "name": "every-arm", "virtualNode": "arm"}
    selectors = [BURST, on_arm, EVERY, every_arm]
    for node, expected in ((NODES[0], "burst,every"), (arm_node, "burst,arm,every,every-arm")):
        cluster.has(selectors, node, pod_of(record=("burst", "arm")), virtualNodes=ARM)
        assert cluster.bind()["auditAnnotations"]["selectors"] == expected


@pytest.mark.parametrize(
    "labels", [{}, {"k8s.aliyun.com/vnode": "false"}, {"k8s.aliyun.com/vnode": "True"}]
)
def test_a_node_with_other_labels_is_no_virtual_node(
    labels: dict[str, str], cluster: Cluster
) -> None:
    node = {"kind": "Node", "metadata": {"name": "virtual-kubelet-1", "labels": labels}}
    cluster.has([BURST, EVERY], node, pod_of())
    assert cluster.bind().keys() == {"uid", "allowed"}


def test_a_virtual_node_without_a_node_selector_is_told_by_no_label(cluster: Cluster) -> None:
    empty: dict[str, Any] = {"nodeSelector": {}, "tolerations": []}
    assert cluster.bound([BURST, EVERY], pod_of(), virtualNode=empty) == {}


def test_what_is_not_there_is_503(cluster: Cluster) -> None:
    cluster.has([BURST], NODES[1], pod_of())
    reply = cluster.function.post(VIRTUAL)
    assert (reply.status, "no Node virtual-kubelet-1" in reply.json["message"]) == (503, True)
    cluster.has([BURST], *NODES)
    reply = cluster.function.post(VIRTUAL)
    assert (reply.status, "no Pod bindt/web-698f8df587-n92qp" in reply.json["message"]) == (
        503,
        True,
    )
    cluster.has([BURST], *NODES, pod_of(annotations={"a": 5}))  # type: ignore[dict-item]
    reply = cluster.function.post(VIRTUAL)
    assert (reply.status, "a must be a string" in reply.json["message"]) == (503, True)


LONG = "a" * 254


@pytest.mark.parametrize(
    ("field", "name"),
    [
        *(
            ("node", each)
            for each in ("", "A", "a_b", "a/b", "..", "../../x", "a%2fb", "a b", LONG)
        ),
        *(("name", each) for each in ("", "Web", "web/..", ".", "-web", "web\n", "w\u00e9b", LONG)),
        *(("namespace", each) for each in ("", "A", "a.b", "a/b", "..", "a" * 64)),
    ],
    ids=lambda value: ascii(value)[:12],
)
def test_names_that_are_none_are_400(field: str, name: str, cluster: Cluster) -> None:
    cluster.has([BURST, EVERY], *NODES, pod_of())
    given = {"namespace": "bindt", "name": "web", "node": "virtual-kubelet-1", field: name}
    reply = cluster.function.post(binding_of(**given))
    assert reply.status == 400
    path = {"node": "object.target.name", "name": "object.metadata.name"}.get(field, field)
    assert reply.json["message"].startswith(f"request.{path}: must be")


@pytest.mark.parametrize(
    "change",
    [
        {"object": None},
        {"object": {}},
        {"object": {"metadata": {"name": "web"}}},
        {"object": {"metadata": None, "target": {"name": "n"}}},
        {"object": {"metadata": {"name": "web"}, "target": None}},
        {"object": {"metadata": {"name": "web"}, "target": {"name": 5}}},
        {"object": {"metadata": {"name": "web", "uid": 5}, "target": {"name": "n"}}},
        {"object": {"metadata": {"name": "web", "labels": {"a": 1}}, "target": {"name": "n"}}},
        {"object": {"metadata": {"name": "web", "labels": []}, "target": {"name": "n"}}},
    ],
    ids=json.dumps,
)
def test_an_object_that_is_no_binding_is_400(change: dict[str, Any], cluster: Cluster) -> None:
    review = copy.deepcopy(VIRTUAL)
    review["request"].update(change)
    reply = cluster.function.post(review)
    assert reply.status == 400
    assert "object" in reply.json["message"]


def test_large_and_deep_bindings_are_bounded(cluster: Cluster) -> None:
    cluster.has([BURST], *NODES, pod_of())
    many = binding_of("bindt", "web", "n", annotations={f"k{n}": "" for n in range(20_000)})
    reply = cluster.function.post(many)
    assert (reply.status, "more than 10000 entries" in reply.json["message"]) == (400, True)
    text = json.dumps(binding_of("bindt", "web", "n", labels=0))
    deep = text.replace('"labels": 0', '"labels": ' + '{"a":' * 100_000 + "1" + "}" * 100_000)
    assert cluster.function.request("POST", "/bind", deep.encode()).status == 400


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "UPDATE"},
        {"subResource": "bindings"},
        {"subResource": "eviction"},
        {"resource": {"group": "x.io", "version": "v1", "resource": "pods"}},
        {"resource": {"group": "", "version": "v1", "resource": "bindings"}, "subResource": ""},
    ],
    ids=json.dumps,
)
def test_only_the_creation_of_a_pods_binding_counts(
    change: dict[str, Any], cluster: Cluster
) -> None:
    cluster.has([BURST, EVERY], *NODES, pod_of())
    review = copy.deepcopy(VIRTUAL)
    review["request"].update(change)
    assert cluster.bind(review).keys() == {"uid", "allowed"}


PLACES = [path for path in paths(VIRTUAL) if path]


@pytest.mark.no_cover  # which takes several times as long
@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), json_values, st.booleans())
def test_any_value_in_any_field_gets_an_answer(
    cluster: Cluster, path: tuple[Any, ...], value: Any, remove: bool
) -> None:
    review = copy.deepcopy(VIRTUAL)
    parent = review
    for key in path[:-1]:
        parent = parent[key]
    if remove:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    reply = cluster.function.request("POST", "/bind", json.dumps(review).encode())
    assert reply.status in (200, 400, 503)  # 503: of another name, so there is no such object
    if reply.status == 200:
        assert reply.json["response"]["allowed"]
