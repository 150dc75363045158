"""``check``: what it says of the profiles in data/check, and where."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cases import INVALID
from cli import run
from local import local
from server import DATA, checked

FOLDER = DATA / "check"
CASES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".yaml", ".json"))


def config_map(data: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "eci-profile", "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of(case: str) -> None:
    expected = (FOLDER / f"{case}.out").read_text("utf-8")
    result = run("check", case, cwd=FOLDER)
    assert result.stdout == expected
    assert result.returncode == (1 if "error: " in expected else 0)
    summary = "{} error(s) {} warning(s)\n".format(
        *(expected.count(f" {severity}: ") for severity in ("error", "warning"))
    )
    counted = re.sub(r"(error|warning)s?,?", r"\1(s)", result.stderr)
    assert re.fullmatch(rf"(\d+ selectors?: )?{re.escape(summary)}", counted)


def test_each_position_is_that_of_what_is_wrong() -> None:
    """In the golden outputs, the text at the position is what the path ends in, or its value."""
    lines = (FOLDER / "doubts.yaml").read_text("utf-8").splitlines()
    at_keys = 0
    for told in (FOLDER / "doubts.yaml.out").read_text("utf-8").splitlines():
        match = re.match(r'[^:]+:(\d+):(\d+): warning: .*\["(.+?)"\]: ', told)
        if match:
            line, column, key = match.groups()
            assert lines[int(line) - 1][int(column) - 1 :].startswith(f'"{key}"'), told
            at_keys += 1
    assert at_keys == 5


def test_the_same_problems_as_in_the_review_of_the_config_map(tmp_path: Path) -> None:
    """Of 60 broken profiles; the page has the same test."""
    assert len(INVALID) == 60
    files = []
    for number, case in enumerate(INVALID):
        data = case.get("data") or {"selectors": case["selectors"]}
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(yaml.safe_dump(config_map(data), default_style="|"), "utf-8")
        if "data" in case:  # what is not text has to stay so
            files[-1].write_text(yaml.safe_dump(config_map(data)), "utf-8")
    result = run("check", *(file.name for file in files), "--output", "json", cwd=tmp_path)
    assert result.returncode == 1
    told: dict[str, list[str]] = {}
    for problem in json.loads(result.stdout)["problems"]:
        message = re.sub(r" \(line \d+, column \d+ of the text here\)$", "", problem["message"])
        told.setdefault(problem["file"], []).append(f"{problem['path']}: {message}")

    review = json.loads((DATA / "reviews" / "configmap-create.json").read_text("utf-8"))
    (tmp_path / "empty.yaml").write_text("")
    settings = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(tmp_path / "empty.yaml")}
    with local(settings) as server:
        for file, case in zip(files, INVALID, strict=True):
            data = case.get("data") or {"selectors": case["selectors"]}
            review["request"]["object"]["data"] = data
            response = checked(server.post(review), review)
            first, *refused = response["status"]["message"].splitlines()
            count = len(case["problems"])
            problems = "1 problem" if count == 1 else f"{count} problems"
            assert first == f"the profile was not saved because it has {problems}:"
            assert refused == [f"  {problem}" for problem in case["problems"]]
            places = re.compile(r"(?<=^selectors: )line \d+, column \d+: ")
            assert told[file.name] == [places.sub("", problem) for problem in case["problems"]]


def test_a_refusal_is_capped_with_a_count(tmp_path: Path) -> None:
    review = json.loads((DATA / "reviews" / "configmap-create.json").read_text("utf-8"))
    selectors = [{"name": f"s{number}"} for number in range(50)]
    review["request"]["object"]["data"] = {"selectors": json.dumps(selectors)}
    (tmp_path / "empty.yaml").write_text("")
    settings = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(tmp_path / "empty.yaml")}
    with local(settings) as server:
        response = checked(server.post(review), review)
    lines = response["status"]["message"].splitlines()
    assert lines[0] == "the profile was not saved because it has 50 problems:"
    assert len(lines) == 22
    assert lines[1].startswith('  selectors[0] "s0": needs')
    assert lines[-1] == "  and 30 more"


def test_a_doubtful_profile_is_saved_with_the_same_warnings(tmp_path: Path) -> None:
    review = json.loads((DATA / "reviews" / "configmap-create.json").read_text("utf-8"))
    document = yaml.safe_load((FOLDER / "doubts.yaml").read_text("utf-8").replace("\t", "  "))
    review["request"]["object"]["data"] = document["data"]
    (tmp_path / "empty.yaml").write_text("")
    settings = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(tmp_path / "empty.yaml")}
    with local(settings) as server:
        response = checked(server.post(review), review)
    assert response["allowed"]
    told = (FOLDER / "doubts.yaml.out").read_text("utf-8").splitlines()
    told = [line.split(" warning: ")[1] for line in told]
    *warnings, last = (warning.removesuffix("...") for warning in response["warnings"])
    assert len(warnings) == 10
    assert last == f"and {len(told) - 10} more warnings"
    for warning in warnings:
        assert sum(line.startswith(warning) for line in told) == 1


def test_standard_input_and_json() -> None:
    result = run("check", "-", "--output", "json", text='[{"name": "a", "objectSelector": {}}]')
    assert result.returncode == 0
    assert json.loads(result.stdout) == {
        "valid": True,
        "selectors": 1,
        "problems": [
            {
                "file": "<stdin>",
                "line": 1,
                "column": 2,
                "severity": "warning",
                "path": 'selectors[0] "a"',
                "message": "matches every pod",
            }
        ],
    }
    assert result.stderr == ""


def test_how_many_selectors_were_read_is_told(tmp_path: Path) -> None:
    texts = {
        "two.json": '[{"name": "a", "objectSelector": {}}, {"name": "a"}]',
        "none.yaml": yaml.safe_dump(config_map({})),
        "unread.json": "[{",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, "utf-8")
    for names, said in (
        (["two.json"], "2 selectors: 2 errors, 0 warnings"),
        (["none.yaml"], "0 selectors: 0 errors, 1 warning"),
        (["two.json", "none.yaml"], "2 selectors: 2 errors, 1 warning"),
        (["two.json", "unread.json"], "3 errors, 0 warnings"),
    ):
        assert run("check", *names, cwd=tmp_path).stderr == f"{said}\n"


def test_annotations_for_github(tmp_path: Path) -> None:
    text = '[{"name": "50%,\\n", "objectSelector": {}},\n{"name": ""}]'
    (tmp_path / "a,b:c.json").write_text(text, "utf-8")
    result = run("check", "a,b:c.json", "-o", "github", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (1, "2 selectors: 2 errors, 0 warnings\n")
    assert result.stdout.splitlines() == [
        "::error file=a%2Cb%3Ac.json,line=2,col=1::selectors[1]: needs a namespaceSelector,"
        " an objectSelector, or both",
        '::error file=a%2Cb%3Ac.json,line=2,col=10::selectors[1]: name: must not be empty, got ""',
    ]
    (tmp_path / "a,b:c.json").write_text(text.split(",\n")[0] + "]", "utf-8")
    (told,) = run("check", "a,b:c.json", "--output=github", cwd=tmp_path).stdout.splitlines()
    assert told == (
        '::warning file=a%2Cb%3Ac.json,line=1,col=2::selectors[0] "50%25,\\n": matches every pod'
    )


@pytest.mark.parametrize("before", ["\ufeff", "\n" * 10_000, "# c\n" * 10_000, "---\n# c\n \n"])
def test_what_stands_before_a_list_takes_no_time(before: str) -> None:
    text = before + '[{"name": "a", "objectSelector": {}}]'
    result = run("check", "-", text=text)
    line = before.count("\n") + 1
    assert result.stdout == f'<stdin>:{line}:2: warning: selectors[0] "a": matches every pod\n'


def test_many_problems_and_warnings_are_told_up_to_a_hundred() -> None:
    for selector, severity, said in (
        ('{"name": "%d"}', "error", "there are 200 more errors; fix these first"),
        (
            '{"name": "%d", "objectSelector": {}}',
            "warning",
            "there are more than 100 warnings; only 100 are reported",
        ),
    ):
        text = "[" + ",\n".join(selector % number for number in range(300)) + "]"
        lines = run("check", "-", text=text).stdout.splitlines()
        assert len(lines) == 101
        assert f"<stdin>:1:1: {severity}: selectors: {said}" in lines


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text("#" * (8 * 2**20 + 1))
    result = run("check", "large.yaml", cwd=tmp_path)
    assert result.returncode == 2
    said = "large.yaml: too large, the limit is 8388608 bytes (8 MiB); split it"
    assert result.stderr == f"eci-profile: {said}\n"


def test_another_name_by_the_settings() -> None:
    document = config_map({"selectors": "0"})
    document["metadata"] = {"name": "mine", "namespace": "eci"}
    environment = {"ECI_PROFILE_NAMESPACE": "eci", "ECI_PROFILE_NAME": "mine"}
    text = yaml.safe_dump(document)
    assert run("check", "-", text=text, environment=environment).returncode == 1
    result = run("check", "-", text=text)
    assert result.returncode == 2
    assert result.stderr == (
        "eci-profile: <stdin>: no ConfigMap kube-system/eci-profile, and no list of selectors\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no ConfigMap kube-system/eci-profile"),
        ("just text", "a document is not a Kubernetes object"),
        (yaml.safe_dump({**config_map({}), "data": "x"}), "data must be an object"),
    ],
)
def test_what_has_no_profile_is_a_wrong_use(text: str, said: str) -> None:
    result = run("check", "-", text=text)
    assert said in result.stderr
    assert result.returncode == 2


def test_wrong_uses_end_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for arguments, said in (
        (["check", "missing.yaml"], "eci-profile: missing.yaml can't be read: No such file"),
        (["check", "binary"], "eci-profile: binary is not UTF-8 text"),
        (["check"], "the following arguments are required: FILE"),
        (["chekc"], "invalid choice: 'chekc'"),
        ([], "the following arguments are required: command"),
    ):
        result = run(*arguments, cwd=tmp_path)
        assert result.returncode == 2
        assert said in result.stderr
        assert "Traceback" not in result.stderr
    result = run("check", "-", environment={"ECI_PROFILE_TTL": "x"})
    assert result.returncode == 2
    assert result.stderr.startswith("eci-profile: ECI_PROFILE_TTL must be")
