"""The command line as a separate process; ``tests/unit`` covers the commands in detail."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from apiserver import APIServer
from bench.cluster_dump import dump
from cli import run, run_process
from server import DATA, ROOT, clean_environment

CHECK, EXPLAIN = DATA / "check", DATA / "explain"


@pytest.mark.no_cover
@pytest.mark.parametrize("case", ["doubts.yaml", "selectors.json"])
def test_check_prints_the_expected_output(case: str) -> None:
    expected = (CHECK / f"{case}.out").read_text("utf-8")
    result = run_process("check", case, cwd=CHECK)
    assert result.stdout == expected
    assert result.returncode == (1 if "error: " in expected else 0)
    assert " warning" in result.stderr


@pytest.mark.no_cover
@pytest.mark.parametrize("case", ["effects.yaml", "refused.yaml"])
def test_explain_prints_the_expected_output(case: str) -> None:
    result = run_process("explain", "-f", case, "--profile", case, cwd=EXPLAIN)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (EXPLAIN / f"{case}.out").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["ch"], ["check"]),
        (["explain", "--names"], ["--namespace", "--namespace-labels"]),
        (["check", "--output", "g"], ["github"]),
        (["explain", "effects"], ["effects.yaml", "effects.yaml.out"]),
    ],
)
def test_bash_completion(words: list[str], completed: list[str], tmp_path: Path) -> None:
    script = tmp_path / "eci-profile"
    script.write_text(run("completion", "bash").stdout)
    quoted = " ".join(words)
    asked = (
        f"source {script}; COMP_WORDS=(eci-profile {quoted}); COMP_CWORD={len(words)}\n"
        'function=$(complete -p eci-profile | sed "s/.*-F //; s/ .*//"); COMPREPLY=()\n'
        '$function eci-profile "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"; echo "${COMPREPLY[@]}"'
    )
    result = subprocess.run(
        ["/bin/bash", "-c", asked], cwd=EXPLAIN, capture_output=True, encoding="utf-8", check=True
    )
    assert sorted(result.stdout.split()) == completed


@pytest.mark.no_cover
def test_standard_input_is_read() -> None:
    result = run_process("check", "-", text='[{"name": "无", "objectSelector": {}}]')
    assert (result.returncode, result.stderr) == (0, "1 selector: 0 errors, 1 warning\n")
    assert result.stdout == '<stdin>:1:2: warning: selectors[0] "无": matches every pod\n'


@pytest.mark.no_cover
def test_usage_errors_print_one_line(tmp_path: Path) -> None:
    for arguments, said in (
        (["check", "missing.yaml"], "eci-profile: missing.yaml can't be read: No such file"),
        (["chekc"], "invalid choice: 'chekc'"),
    ):
        result = run_process(*arguments, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (2, "")
        assert said in result.stderr
        assert "Traceback" not in result.stderr


def test_check_reads_the_profile_from_a_cluster(api: APIServer, tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(api.write_kubeconfig(tmp_path / "kubeconfig"))}
    absent = run("check", "cluster", environment=environment)
    assert absent.returncode == 2
    assert 'configmaps "eci-profile" not found' in absent.stderr
    text = '[\n  {"name": "a", "objectSelector": {"matchLabels": {"a": 1}}}\n]\n'
    api.put_config_map("kube-system", "eci-profile", {"selectors": text})
    result = run("check", "cluster", environment=environment)
    assert result.returncode == 1
    assert result.stdout == (
        'kube-system/eci-profile/selectors:2:57: error: selectors[0] "a":'
        ' objectSelector.matchLabels["a"]: must be a string, got 1; write "1"\n'
    )
    api.refuse()
    unreachable = run("check", "cluster", environment=environment)
    assert unreachable.returncode == 2
    assert "can't be reached" in unreachable.stderr


def test_check_of_a_cluster_without_object_selectors(api: APIServer, tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(api.write_kubeconfig(tmp_path / "kubeconfig"))}
    text = '[{"name": "a", "objectSelector": {"matchLabels": {"a": "b"}}}]'
    api.put_config_map("kube-system", "eci-profile", {"selectors": text})
    assert run("check", "cluster", environment=environment).stdout == ""
    api.version |= {"major": "1", "minor": "14+", "gitVersion": "v1.14.8-aliyun.1"}
    assert run("check", "cluster", environment=environment).stdout == (
        'kube-system/eci-profile/selectors:1:16: warning: selectors[0] "a": objectSelector:'
        " Kubernetes 1.14 requires a feature gate for it; 1.16 and later do not\n"
    )
    with api.fault("status", "/version", code=403):
        result = run("check", "cluster", environment=environment)
        assert (result.returncode, result.stdout) == (0, "")


def test_explain_reads_profile_and_namespaces_from_a_cluster(
    api: APIServer, tmp_path: Path
) -> None:
    environment = {"KUBECONFIG": str(api.write_kubeconfig(tmp_path / "kubeconfig"))}
    pod = "{kind: Pod, metadata: {name: a, namespace: team-a}}"
    arguments = ("explain", "-f", "-", "--output", "patch")
    api.put_namespace("team-a", {"eci": "true"})
    absent = run(*arguments, text=pod, environment=environment)
    assert (absent.returncode, absent.stdout) == (0, "[]\n")
    assert absent.stderr == "there is no profile kube-system/eci-profile\n"
    selectors = [{"name": "a", "namespaceSelector": {"matchLabels": {"eci": "true"}}}]
    api.put_config_map("kube-system", "eci-profile", {"selectors": json.dumps(selectors)})
    assert "nodeSelector" in run(*arguments, text=pod, environment=environment).stdout
    other = run(*arguments, "--namespace", "nowhere", text=pod, environment=environment)
    assert other.returncode == 2
    assert "there is no namespace nowhere" in other.stderr
    api.refuse()
    unreachable = run(*arguments, "--profile", "cluster", text=pod, environment=environment)
    assert unreachable.returncode == 2
    assert "can't be reached" in unreachable.stderr


def put_cluster(api: APIServer, pods: int) -> dict[str, Any]:
    """Add a Deployment, its pods and the namespaces; return the Deployment."""
    api.put_namespace("shop", {"team": "shop"})
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}
    deployment: dict[str, Any] = {
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": pods,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
        },
    }
    api.put("apps/v1", "deployments", "shop", deployment)
    owner = {"kind": "ReplicaSet", "name": "web-1", "controller": True}
    labels = {"app": "web", "pod-template-hash": "1"}
    for number in range(pods):
        metadata = {"name": f"web-1-{number}", "labels": labels, "ownerReferences": [owner]}
        api.put_pod("shop", {"metadata": metadata, "spec": {"nodeName": "a", "containers": []}})
    return deployment


def test_plan_of_a_cluster(api: APIServer, tmp_path: Path) -> None:
    kubeconfig = str(api.write_kubeconfig(tmp_path / "kubeconfig", admin=True))
    environment = {"KUBECONFIG": kubeconfig}
    put_cluster(api, 600)
    arguments = ("plan", "-", "--output", "json")
    selectors = [{"name": "a", "namespaceSelector": {"matchLabels": {"team": "shop"}}}]
    text = json.dumps(selectors)
    first = run_process(*arguments, text=text, environment=environment)
    assert (first.returncode, first.stderr) == (3, "there is no profile kube-system/eci-profile\n")
    found = json.loads(first.stdout)
    assert found["summary"]["placed"] == found["summary"]["pods"] == 600
    (workload,) = found["workloads"]
    assert (workload["kind"], workload["name"], workload["pods"]) == ("Deployment", "web", 600)
    pages = [request.path for request in api.requests if "/pods" in request.path]
    assert [page.partition("?")[2] for page in pages] == [
        *("limit=250", "limit=250&continue=250", "limit=250&continue=500"),
    ]
    assert {request.method for request in api.requests} == {"GET"}

    api.put_config_map("kube-system", "eci-profile", {"selectors": text})
    same = run(*arguments, text=text, environment=environment)
    assert (same.returncode, same.stderr) == (0, "")


def test_plan_when_some_kinds_cannot_be_listed(api: APIServer, tmp_path: Path) -> None:
    kubeconfig = str(api.write_kubeconfig(tmp_path / "kubeconfig", admin=True))
    environment = {"KUBECONFIG": kubeconfig}
    put_cluster(api, 3)
    arguments = ("plan", "-", "--output", "json")
    text = json.dumps([{"name": "a", "objectSelector": {"matchLabels": {"app": "web"}}}])
    with api.fault("status", "/apis/apps/v1/deployments", code=403):
        result = run(*arguments, text=text, environment=environment)
        assert result.returncode == 3
        assert "deployments are left out because they can't be listed: " in result.stderr
        assert json.loads(result.stdout)["summary"]["placed"] == 3
    with api.fault("status", "/apis/batch/v1/cronjobs", code=404):
        assert run(*arguments, text=text, environment=environment).returncode == 3
    for path, code, said in (
        ("/api/v1/pods", 403, "the API server returned 403"),
        ("/api/v1/pods", 410, "the list took too long, run the command again"),
        ("/apis/apps/v1/daemonsets", 500, "the API server returned 500"),
    ):
        with api.fault("status", path, code=code):
            result = run(*arguments, text=text, environment=environment)
            assert (result.returncode, result.stdout) == (1, "")
            assert said in result.stderr
    api.refuse()
    unreachable = run(*arguments, text=text, environment=environment)
    assert unreachable.returncode == 1
    assert "can't be reached" in unreachable.stderr


@pytest.mark.no_cover  # which takes several times as long
def test_plan_reads_large_input(tmp_path: Path) -> None:
    """The input is larger than one read, both from a file and from standard input."""
    path = tmp_path / "objects.json"
    with path.open("w") as stream:
        dump(400, 20, stream)
    text = path.read_text()
    assert len(text) > 4_000_000
    (tmp_path / "new.yaml").write_text(
        "[{name: a, namespaceSelector: {matchLabels: {tier: tier-0}}}]"
    )
    (tmp_path / "old.yaml").write_text("[]")
    arguments = ("plan", "new.yaml", "--current", "old.yaml", "-f")
    piped = run_process(*arguments, "-", cwd=tmp_path, text=text)
    assert (piped.returncode, piped.stderr) == (3, "")
    assert piped.stdout == run_process(*arguments, str(path), cwd=tmp_path).stdout
    # A tenth of the workloads; one of those four is a DaemonSet, whose pods are not changed.
    assert "30 of 400 pods would change; now on the virtual node: 30\n" in piped.stdout


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_only_on_a_terminal(terminal: bool) -> None:
    folder = DATA / "plan" / "edit"
    command = [sys.executable, "-m", "handler", "plan", str(folder / "new.yaml")]
    command += ["--current", str(folder / "current.yaml"), "-f", str(folder / "objects.json")]
    ours, theirs = pty.openpty() if terminal else os.pipe()
    with os.fdopen(ours, "rb", 0) as reader:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=False,
        )
        os.close(theirs)
        try:
            seen = reader.read(2**16)
        except OSError:  # the other end of the pseudo-terminal is closed
            seen = b""
    assert done.returncode == 3
    assert done.stdout.decode() == (folder / "out.txt").read_text("utf-8")
    if terminal:
        assert b"objects.json: [####" in seen
        assert seen.endswith(b"\r\033[K")
    else:
        assert seen == b""


@pytest.mark.no_cover
@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_terminal_output_is_coloured_unless_disabled(
    variables: dict[str, str], coloured: bool
) -> None:
    case = str(EXPLAIN / "refused.yaml")
    environment = {k: v for k, v in clean_environment().items() if k != "NO_COLOR"}
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", 0) as terminal:
        subprocess.run(
            [sys.executable, "-m", "handler", "explain", "-f", case, "--profile", case],
            cwd=ROOT,
            env={**environment, **variables},
            stdout=theirs,
            check=True,
        )
        os.close(theirs)
        seen = terminal.read(2**16)
    assert b"Placement" in seen
    assert (b"\033[2m" in seen) == coloured


@pytest.mark.parametrize("command", ["explain", "check"])
def test_a_closed_pipe_ends_the_command_quietly(command: str, tmp_path: Path) -> None:
    pods = tmp_path / "pods.yaml"
    selectors = "- {name: a, objectSelector: {}}\n" * 2000
    pods.write_text("{kind: Pod}\n---\n" * 500 if command == "explain" else selectors)
    options = ["-f", str(pods), "--profile", str(EXPLAIN / "effects.yaml")]
    arguments = options if command == "explain" else [str(pods)]
    with subprocess.Popen(
        [sys.executable, "-m", "handler", command, *arguments],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        if command == "explain":  # its output exceeds the pipe's buffer
            assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == b""
