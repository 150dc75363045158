"""The command line as a process of its own; what it says of what is tested in ``unit``."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from apiserver import APIServer
from cli import run_process
from server import DATA, ROOT, clean_environment

CHECK, EXPLAIN = DATA / "check", DATA / "explain"


@pytest.mark.parametrize("case", ["doubts.yaml", "selectors.json"])
def test_check_says_the_same(case: str) -> None:
    expected = (CHECK / f"{case}.out").read_text("utf-8")
    result = run_process("check", case, cwd=CHECK)
    assert result.stdout == expected
    assert result.returncode == (1 if "error: " in expected else 0)
    assert " warning" in result.stderr


@pytest.mark.parametrize("case", ["effects.yaml", "refused.yaml"])
def test_explain_says_the_same(case: str) -> None:
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
def test_bash_completes_it(words: list[str], completed: list[str], tmp_path: Path) -> None:
    script = tmp_path / "eci-profile"
    script.write_text(run_process("completion", "bash").stdout)
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


def test_standard_input_is_read() -> None:
    result = run_process("check", "-", text='[{"name": "无", "objectSelector": {}}]')
    assert (result.returncode, result.stderr) == (0, "1 selector: 0 errors, 1 warning\n")
    assert result.stdout == '<stdin>:1:2: warning: selectors[0] "无": matches every pod\n'


def test_wrong_uses_end_with_one_sentence(tmp_path: Path) -> None:
    for arguments, said in (
        (["check", "missing.yaml"], "eci-profile: missing.yaml can't be read: No such file"),
        (["chekc"], "invalid choice: 'chekc'"),
    ):
        result = run_process(*arguments, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (2, "")
        assert said in result.stderr
        assert "Traceback" not in result.stderr


def test_check_of_the_profile_of_a_cluster(api: APIServer, tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(api.write_kubeconfig(tmp_path / "kubeconfig"))}
    absent = run_process("check", "cluster", environment=environment)
    assert absent.returncode == 2
    assert 'configmaps "eci-profile" not found' in absent.stderr
    text = '[\n  {"name": "a", "objectSelector": {"matchLabels": {"a": 1}}}\n]\n'
    api.put_config_map("kube-system", "eci-profile", {"selectors": text})
    result = run_process("check", "cluster", environment=environment)
    assert result.returncode == 1
    assert result.stdout == (
        'kube-system/eci-profile/selectors:2:57: error: selectors[0] "a":'
        ' objectSelector.matchLabels["a"]: must be a string, got 1; write "1"\n'
    )
    api.refuse()
    unreachable = run_process("check", "cluster", environment=environment)
    assert unreachable.returncode == 2
    assert "can't be reached" in unreachable.stderr


def test_check_of_a_cluster_without_object_selectors(api: APIServer, tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(api.write_kubeconfig(tmp_path / "kubeconfig"))}
    text = '[{"name": "a", "objectSelector": {"matchLabels": {"a": "b"}}}]'
    api.put_config_map("kube-system", "eci-profile", {"selectors": text})
    assert run_process("check", "cluster", environment=environment).stdout == ""
    api.version |= {"major": "1", "minor": "14+", "gitVersion": "v1.14.8-aliyun.1"}
    assert run_process("check", "cluster", environment=environment).stdout == (
        'kube-system/eci-profile/selectors:1:16: warning: selectors[0] "a": objectSelector:'
        " Kubernetes 1.14 has it only behind a feature gate, 1.16 always\n"
    )
    with api.fault("status", "/version", code=403):
        result = run_process("check", "cluster", environment=environment)
        assert (result.returncode, result.stdout) == (0, "")


def test_explain_by_the_profile_and_namespaces_of_a_cluster(api: APIServer, tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(api.write_kubeconfig(tmp_path / "kubeconfig"))}
    pod = "{kind: Pod, metadata: {name: a, namespace: team-a}}"
    arguments = ("explain", "-f", "-", "--output", "patch")
    api.put_namespace("team-a", {"eci": "true"})
    absent = run_process(*arguments, text=pod, environment=environment)
    assert (absent.returncode, absent.stdout) == (0, "[]\n")
    assert absent.stderr == "there is no profile kube-system/eci-profile\n"
    selectors = [{"name": "a", "namespaceSelector": {"matchLabels": {"eci": "true"}}}]
    api.put_config_map("kube-system", "eci-profile", {"selectors": json.dumps(selectors)})
    assert "nodeSelector" in run_process(*arguments, text=pod, environment=environment).stdout
    other = run_process(*arguments, "--namespace", "nowhere", text=pod, environment=environment)
    assert other.returncode == 2
    assert "there is no namespace nowhere" in other.stderr
    api.refuse()
    unreachable = run_process(*arguments, "--profile", "cluster", text=pod, environment=environment)
    assert unreachable.returncode == 2
    assert "can't be reached" in unreachable.stderr


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_sees_colours_unless_it_wants_none(
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
def test_one_who_reads_only_the_first_lines_ends_it_quietly(command: str, tmp_path: Path) -> None:
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
        if command == "explain":  # more than a pipe holds
            assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == b""
