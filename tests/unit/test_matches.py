"""Who moved what: the metrics of selectors and placements, and the lists in the log line."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from local import Local, local
from prometheus_client.parser import text_string_to_metric_families
from server import review_of

from handler.profiles.model import POLICIES, Mode
from handler.telemetry.matches import Matches
from handler.version import VERSION

NAME = "eci_profile_selector_matches_total"
LABELS = ("selector", "mode", "result", "placement")
Counts = dict[tuple[str, ...], float]


@pytest.fixture
def exported(function: Local, profile: Path) -> Exported:
    return Exported(function, profile)


class Exported:
    """What the function exports, from a profile on."""

    def __init__(self, function: Local, profile: Path) -> None:
        self.function = function
        self.profile = profile
        self.before: Counts = {}

    def has(self, *selectors: Mapping[str, Any], **data: str) -> None:
        written = {"data": {"selectors": json.dumps(selectors), **data}}
        config_map = {"kind": "ConfigMap", "metadata": {"name": "eci-profile"}, **written}
        self.profile.write_text(yaml.safe_dump(config_map))
        self.function.post(review_of({"metadata": {}}, dryRun=True))
        self.before = self.series(NAME)
        self.placed = self.series("eci_profile_placements_total")

    def create(self, pod: Mapping[str, Any] | None = None, **request: Any) -> dict[str, Any]:
        """The log line of a pod's creation."""
        self.function.post(review_of(pod or {"metadata": {"labels": {"app": "web"}}}, **request))
        return self.function.log_lines()[-1]

    def series(self, name: str) -> Counts:
        text = self.function.request("GET", "/metrics").body.decode()
        return {
            tuple(sample.labels[label] for label in LABELS if label in sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        }

    def matches(self) -> Counts:
        """What was counted since the profile was written."""
        return counted(self.before, self.series(NAME))

    def placements(self) -> dict[str, float]:
        found = counted(self.placed, self.series("eci_profile_placements_total"))
        return {labels[0]: value for labels, value in found.items()}


def counted(before: Counts, after: Counts) -> Counts:
    assert before.keys() == after.keys()  # no series comes later
    return {key: value - before[key] for key, value in after.items() if value != before[key]}


def selector(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "objectSelector": {"matchLabels": {"app": "web"}}, **more}


def annotating(**annotations: str) -> dict[str, Any]:
    return {"effect": {"annotations": {f"example.com/{k}": v for k, v in annotations.items()}}}


def test_each_result_is_counted_by_selector_and_mode(exported: Exported) -> None:
    exported.has(
        selector("none", percentage=0),
        selector("tried", mode="audit"),
        selector("first", **annotating(a="1")),
        selector("second", **annotating(a="2", b="2")),
        selector("same-key", **annotating(a="3")),
        selector("no-effect", policy={"fair": {}}),
        selector("off", mode="off"),
        selector("other", objectSelector={"matchLabels": {"app": "other"}}),
    )
    line = exported.create()
    assert exported.matches() == {
        ("none", "enforce", "drawn_out"): 1,
        ("tried", "audit", "audited"): 1,
        ("first", "enforce", "applied"): 1,
        ("second", "enforce", "applied"): 1,
        ("same-key", "enforce", "shadowed"): 1,
        ("no-effect", "enforce", "shadowed"): 1,
    }
    assert exported.placements() == {"virtualNodeOnly": 1}
    assert line["selectors"] == ["first", "second", "same-key", "no-effect"]
    assert line["shadowed"] == ["same-key", "no-effect"]
    assert line["audited"] == ["tried"]
    assert line["drawn_out"] == ["none"]


def test_what_only_adds_or_waits_for_its_binding_is_not_shadowed(exported: Exported) -> None:
    exported.has(
        selector("first"),
        selector("late", effect={"at": "binding", "annotations": {"example.com/x": "1"}}),
        {"name": "every", **annotating(y="1")},
    )
    line = exported.create()
    assert line["selectors"] == ["first", "late", "every"]
    assert "shadowed" not in line


def test_what_the_pod_has_already_counts_as_applied(exported: Exported) -> None:
    exported.has(selector("first"), selector("second", **annotating(a="1")))
    own = {"labels": {"app": "web"}, "annotations": {"example.com/a": "1"}}
    exported.create({"metadata": own})
    own["annotations"]["example.com/a"] = "own"
    exported.create({"metadata": own})
    assert exported.matches()["second", "enforce", "applied"] == 1
    assert exported.matches()["second", "enforce", "shadowed"] == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_a_placement_is_counted_by_its_policy(policy: str, exported: Exported) -> None:
    exported.has(selector("a", policy={policy: {}}))
    assert exported.create()["placement"] == policy
    assert exported.placements() == {policy: 1}


def test_a_refused_placement_is_counted_by_its_reason(exported: Exported) -> None:
    exported.has(selector("a"), virtualNode='{"unsupported": "refuse"}')
    labels = {"metadata": {"labels": {"app": "web"}}}
    spec: dict[str, Any] = {"nodeSelector": {"k8s.aliyun.com/vnode": "false"}}
    assert exported.create({**labels, "spec": spec})["placement"] == "refused"
    spec = {"containers": [{"name": "a"}], "hostNetwork": True}
    assert exported.create({**labels, "spec": spec})["placement"] == "unsupported"
    assert exported.placements() == {"refused": 1, "unsupported": 1}
    exported.has(selector("a"))
    line = exported.create({**labels, "spec": spec})
    assert line["placement"] == "virtualNodeOnly"
    assert line["unsupported"] == ["hostNetwork"]


def test_a_dry_run_and_a_pod_that_nothing_matches_are_not_counted(exported: Exported) -> None:
    exported.has(selector("a"))
    assert exported.create(dryRun=True)["selectors"] == ["a"]
    exported.create({"metadata": {"labels": {"app": "other"}}})
    assert exported.matches() == {}
    assert exported.placements() == {}


def test_the_first_200_selectors_have_series_and_the_others_one(exported: Exported) -> None:
    exported.has(*(selector(f"s{number}") for number in range(250)))
    exported.create()
    found = exported.matches()
    assert sum(found.values()) == 250
    assert found["s0", "enforce", "applied"] == found["s199", "enforce", "shadowed"] == 1
    assert ("s200", "enforce", "shadowed") not in found
    assert found["", "enforce", "shadowed"] == 50
    assert len(exported.series(NAME)) == 200 * 3 + 5


def test_the_series_of_a_selector_last_as_long_as_it_is_in_the_profile(
    exported: Exported,
) -> None:
    exported.has(selector("old"), selector("kept"))
    exported.create()
    assert exported.series(NAME)["kept", "enforce", "shadowed"] == 1
    exported.has(selector("new"), selector("kept"))
    assert exported.series(NAME)["kept", "enforce", "shadowed"] == 1
    exported.has(selector("new"), selector("kept", mode="audit"))
    assert {name for name, _, _ in exported.series(NAME)} == {"new", "kept"}
    exported.has(selector("kept"))
    assert exported.series(NAME)["kept", "enforce", "shadowed"] == 0


HOSTILE = [
    'x"} 1\neci_profile_profile_valid 0\n',
    "back\\slash\\",
    'mode="audit"',
    "x\u2028\x85\r\tx",
    "名称",
    "{}",
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_forges_nothing(name: str, exported: Exported) -> None:
    exported.has(selector("honest"), selector(name))
    line = exported.create()
    assert exported.matches() == {
        ("honest", "enforce", "applied"): 1,
        (name, "enforce", "shadowed"): 1,
    }
    assert exported.series("eci_profile_profile_valid") == {(): 1}
    assert line["selectors"] == ["honest", name]


@pytest.mark.parametrize("name", ["x" * 129, "nul\0", "x" * 100_000], ids=["129", "NUL", "100000"])
def test_a_name_that_no_label_takes_is_counted_with_the_rest(name: str, exported: Exported) -> None:
    exported.has(selector("honest"), selector(name))
    exported.create()
    assert exported.matches() == {
        ("honest", "enforce", "applied"): 1,
        ("", "enforce", "shadowed"): 1,
    }


def test_a_count_for_a_selector_that_has_left_the_profile_is_dropped() -> None:
    matches = Matches("x", "x")
    matches.follow([(name, name) for name in get_args(Mode)])
    matches.add("applied", {"enforce": 2, "gone": 1, "off": 1})
    (family,) = matches.collect()
    values = {tuple(sample.labels.values()): sample.value for sample in family.samples}
    assert values.pop(("enforce", "enforce", "applied")) == 2
    assert set(values.values()) == {0}
    assert {name for name, _, _ in values} == {"enforce", "audit"}


def test_the_build_is_told_by_the_versions_it_consists_of(exported: Exported) -> None:
    found = exported.function.metric(
        "eci_profile_build_info", python=platform.python_version(), version=VERSION
    )
    assert found == 1


def test_effects_at_binding_that_are_not_switched_on_are_told(exported: Exported) -> None:
    late = {"at": "binding", "annotations": {"example.com/x": "1"}}
    exported.has(selector("late", effect=late), selector("off", effect=late, mode="off"))
    assert exported.function.metric("eci_profile_binding_effects_off") == 1
    line = exported.function.log_lines()[-1]
    assert line["level"] == "WARNING"
    assert line["selectors"] == "1: late"
    exported.has(selector("late", effect={**late, "at": "creation"}))
    assert exported.function.metric("eci_profile_binding_effects_off") == 0


def test_effects_at_binding_that_are_switched_on_are_not_off(tmp_path: Path) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text(
        "{kind: ConfigMap, metadata: {name: eci-profile}, data: {selectors:"
        " '[{name: a, effect: {at: binding, labels: {a: b}}}]'}}"
    )
    settings = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(path)}
    with local({**settings, "ECI_PROFILE_BINDING": "1"}) as function:
        assert function.metric("eci_profile_binding_effects_off") == 0
