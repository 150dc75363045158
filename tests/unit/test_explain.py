"""``explain``: what it says of the files in data/explain, and that the function does just that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from cases import CASES, read_case
from cli import run
from local import Local
from server import DATA, ROOT, checked, patch_of, review_of

from handler.author.explanation import NOT_ASKED, diff, explain
from handler.decision.matching import Matcher
from handler.decision.pod import Metadata, Pod
from handler.profiles.parse import parse

FOLDER = DATA / "explain"
GOLDEN = sorted(path.name for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("case", GOLDEN)
def test_what_is_said_of(case: str) -> None:
    result = run("explain", "-f", case, "--profile", case, cwd=FOLDER)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (FOLDER / f"{case}.out").read_text("utf-8")


@pytest.mark.parametrize("name", CASES)
def test_the_patch_is_the_functions(name: str, function: Local, profile: Path) -> None:
    case = read_case(name)
    path = str(case.path)
    result = run("explain", "-f", path, "--profile", path, "--output", "json")
    assert result.returncode == 0, result.stderr
    (explanation,) = json.loads(result.stdout)

    shutil.copyfile(case.path, profile)
    review = review_of(case.pod)
    response = checked(function.post(review), review)
    assert explanation["patch"] == patch_of(response)
    assert explanation["pod"] == case.after
    assert explanation["warnings"] == response.get("warnings", [])
    # Without a uid, explain takes a pod that the function may draw out.
    matching = [each for each in explanation["selectors"] if each["matches"]]
    names = [each["name"] for each in matching if each.get("mode") != "audit"]
    audit = response.get("auditAnnotations", {})
    if not any(each.get("percentage") == 0 for each in matching):
        assert ",".join(names) == audit.get("selectors", "")
    assert (explanation["placement"] or {}).get("policy", "") == audit.get("placement", "")


def test_the_patch_alone() -> None:
    case = str(FOLDER / "workloads.yaml")
    result = run("explain", "-f", case, "--profile", case, "--output", "patch")
    patches = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(patches) == 7
    assert [bool(patch) for patch in patches] == [True] * 4 + [False] + [True] * 2
    assert patches[1][0] == {"op": "add", "path": "/spec", "value": {}}


def test_yaml_says_the_same_as_json() -> None:
    case = str(FOLDER / "effects.yaml")
    texts = [
        run("explain", "-f", case, "--profile", case, "--output", output).stdout
        for output in ("json", "yaml")
    ]
    (explanation,) = json.loads(texts[0])
    assert yaml.safe_load(texts[1]) == [explanation]
    assert explanation["selectors"][1] == {
        "name": "in",
        "matches": False,
        "failed": {
            "selector": "objectSelector",
            "key": "tier",
            "operator": "In",
            "values": ["back"],
            "actual": "front",
        },
    }


def test_the_namespace_or_its_labels_may_be_given() -> None:
    def matches(*arguments: str) -> bool:
        case = str(FOLDER / "effects.yaml")
        pod = "{kind: Pod, metadata: {labels: {app: web}}}"
        result = run(
            *("explain", "-f", "-", "--profile", case, "--output", "json", *arguments), text=pod
        )
        (explanation,) = json.loads(result.stdout)
        return any(e["name"] == "first" and e["matches"] for e in explanation["selectors"])

    assert not matches()
    assert matches("--namespace", "shop")
    assert not matches("--namespace", "default")
    assert matches("--namespace-labels", "a=b,env=prod")
    assert not matches("--namespace-labels", "")


POD = "{kind: Pod, metadata: {name: a, namespace: shop}}"
BY_NAMESPACE = """
- name: by-name
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}
- name: by-label
  namespaceSelector: {matchLabels: {env: prod}}
- name: by-absence
  namespaceSelector: {matchExpressions: [{key: env, operator: DoesNotExist}]}
- name: of-others
  objectSelector: {matchLabels: {app: web}}
  namespaceSelector: {matchLabels: {env: prod}}
"""


def test_a_namespace_that_the_file_lacks_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(POD)
    (tmp_path / "selectors.yaml").write_text(BY_NAMESPACE)

    def matches(*arguments: str) -> list[bool | None]:
        common = ("explain", "pod.yaml", "--profile", "selectors.yaml", "-o", "json")
        (explanation,) = json.loads(run(*common, *arguments, cwd=tmp_path).stdout)
        known = explanation["namespaceLabels"] is not None
        assert known == ("--namespace-labels" in arguments)
        for selector in explanation["selectors"]:
            assert selector.get("unknown", False) == (selector["matches"] is None)
        return [selector["matches"] for selector in explanation["selectors"]]

    assert matches() == [True, None, None, False]
    assert matches("-n", "other") == [False, None, None, False]
    assert matches("--namespace-labels", "env=prod") == [True, True, False, False]
    assert matches("--namespace-labels", "") == [True, False, True, False]
    assert matches("-n", "other", "--namespace-labels", "env=prod") == [False, True, False, False]


def test_the_profile_may_be_all_that_check_takes(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(POD)
    (tmp_path / "selectors.yaml").write_text(BY_NAMESPACE)
    arguments = ("explain", "-f", "pod.yaml", "-o", "patch", "--profile")
    of_the_file = run(*arguments, "selectors.yaml", cwd=tmp_path)
    assert "nodeSelector" in of_the_file.stdout
    assert run(*arguments, "-", cwd=tmp_path, text=BY_NAMESPACE) == of_the_file
    settings = {"ECI_PROFILE_NAME": "mine"}
    assert run(*arguments, "-", cwd=tmp_path, text=BY_NAMESPACE, environment=settings) == (
        of_the_file
    )
    absent = run(*arguments, "-", cwd=tmp_path, text="kind: Secret")
    assert (absent.stdout, absent.stderr) == (
        "[]\n",
        "there is no profile kube-system/eci-profile\n",
    )


def test_labels_that_a_controller_adds_count(function: Local, profile: Path) -> None:
    """The function, which is sent a pod with them, finds the selectors that explain finds."""
    case = FOLDER / "controllers.yaml"
    result = run("explain", str(case), "--profile", str(case), "-o", "json")
    shutil.copyfile(case, profile)
    for explanation in json.loads(result.stdout):
        pod = explanation["pod"]
        labels = pod["metadata"].setdefault("labels", {})
        labels |= dict.fromkeys(explanation.get("unknownLabels", ()), "some")
        if explanation["namespaceLabels"] is None:
            continue
        review = review_of({**pod, "metadata": {**pod["metadata"], "namespace": "jobs"}})
        review["request"]["namespace"] = explanation["namespace"]
        found = checked(function.post(review), review)["auditAnnotations"]["selectors"]
        told = [each["name"] for each in explanation["selectors"] if each["matches"]]
        assert told == found.split(",")


def test_the_profile_of_the_settings() -> None:
    case = str(FOLDER / "refused.yaml")
    environment = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": case}
    result = run("explain", "-f", case, environment=environment)
    assert result.stdout == (FOLDER / "refused.yaml.out").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{kind: Service}", "eci-profile: <stdin> has no pods, and no objects with a pod template"),
        (
            "kind: DaemonSet\nspec:\n  template:\n    metadata: web\n",
            '<stdin>:4:15: Pod.metadata: must be an object, got "web"',
        ),
        ("kind: DaemonSet\nspec:\n  template: []\n", "<stdin>:3:13: spec.template must be an obj"),
        ("kind: DaemonSet\nspec: []\n", "<stdin>:2:7: a DaemonSet needs spec.template"),
        (
            "kind: Pod\nmetadata:\n  namespace: [a]\n",
            "<stdin>:3:14: metadata.namespace: must be a string, got a list",
        ),
        ("{kind: Pod", "<stdin>:1:11: did not find expected ',' or '}'"),
        ("- kind: Pod", "<stdin>:1:1: a document is not a Kubernetes object"),
        ("kind: Deployment\nspec: {}\n", "<stdin>:2:7: a Deployment needs spec.template"),
        ("kind: Deployment\nspec:\n  template: x\n", "<stdin>:3:13: spec.template must be an obj"),
        (
            "kind: Pod\nmetadata:\n  name: web\n  labels:\n    app: 1\n",
            '<stdin>:5:10: Pod.metadata.labels["app"]: must be a string, got 1; write "1"',
        ),
        (
            "kind: Job\nspec:\n  template:\n    spec:\n      tolerations: {}\n",
            "<stdin>:5:20: Pod.spec.tolerations: must be a list, got an object",
        ),
    ],
)
def test_a_pod_that_is_none_is_told_with_its_line(text: str, said: str) -> None:
    result = run("explain", "-f", "-", "--profile", str(FOLDER / "refused.yaml"), text=text)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_pod_of_a_namespace_that_is_left_out_is_not_asked_about(output: str) -> None:
    case = str(FOLDER / "effects.yaml")
    arguments = ("explain", "-f", "-", "--profile", case, "--output", output)
    for namespace in ("kube-system", "eci-profile"):
        pod = f"{{kind: Pod, metadata: {{namespace: {namespace}, labels: {{app: web}}}}}}"
        said = run(*arguments, text=pod).stdout
        if output == "text":
            assert "Left alone: the registration excludes its namespace" in said
        else:
            (explanation,) = json.loads(said)
            assert (explanation["leftAlone"], explanation["patch"]) == ("not-asked", [])
    registration = ROOT / "k8s" / "base" / "mutating-webhook-configuration.yaml"
    (webhook,) = yaml.safe_load(registration.read_text())["webhooks"]
    key, names = NOT_ASKED
    (expression,) = webhook["namespaceSelector"]["matchExpressions"]
    assert expression == {"key": key, "operator": "NotIn", "values": list(names)}


@pytest.mark.no_cover  # which takes several times as long
def test_a_pod_of_very_many_lines_is_not_compared() -> None:
    before = {"a": list(range(20_000))}
    assert diff(before, before) == []
    *_, said = diff(before, {**before, "b": 1})
    assert said == "@@ too many lines to compare: 20002 @@"


def test_wrong_uses_end_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        "{kind: ConfigMap, metadata: {name: eci-profile}, data: {selectors: '[{}]'}}"
    )
    (tmp_path / "text.yaml").write_text("text")
    (tmp_path / "broken.yaml").write_text("{ ]")
    for arguments, said in (
        (["--profile", "missing.yaml"], "eci-profile: missing.yaml can't be read: No such file"),
        (
            ["--profile", "bad.yaml"],
            "the profile is invalid (run check to see where):\n  selectors[0]",
        ),
        (["--namespace-labels", "a"], "'a': write key=value"),
        (["--namespace-labels", "a=b c"], "a label's value must be empty or"),
        (["-"], "not allowed with argument"),
        (["--profile", "-"], "only one of the pods and the profile can be standard input"),
        (
            ["--profile", "text.yaml"],
            "eci-profile: text.yaml: a document is not a Kubernetes object",
        ),
        (["--profile", "broken.yaml"], "eci-profile: broken.yaml:1:3: "),
    ):
        result = run("explain", "-f", "-", *arguments, cwd=tmp_path, text="kind: Pod")
        assert result.returncode == 2
        assert said in result.stderr
        assert "Traceback" not in result.stderr


def test_an_effect_that_is_left_out_is_told() -> None:
    selectors = [
        {"name": "a", "objectSelector": {}, "effect": {"annotations": {"k": "v" * 200}}},
        {"name": "b", "objectSelector": {}, "effect": {"annotations": {"k": "w"}}},
    ]
    matcher = Matcher(parse({"selectors": json.dumps(selectors)}))
    pod = Pod(metadata=Metadata(annotations={"own": "x" * 262_100}))
    effects = explain(pod, {}, matcher).decision.effects
    assert [(effect.selector, effect.result) for effect in effects] == [
        ("a", "left-out"),
        ("b", "left-out"),
    ]
