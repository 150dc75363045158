"""What is told in Chinese: by the command line, by a refusal, and by the page. And what is not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cases import INVALID
from cli import run
from local import Local, local
from server import DATA, ROOT, checked, review_of

from handler.messages.message import _catalogue, translated
from handler.profiles.parse import ProfileError, parse
from handler.profiles.text import TextError, read

FOLDER = DATA / "zh"
ZH = {"ECI_PROFILE_LANGUAGE": "zh"}
COMMANDS: dict[str, list[str]] = {
    "check": ["check", "{}"],
    "convert": ["convert", "{}"],
    "explain": ["explain", "{}", "--profile", "{}"],
    "plan": ["plan", "{}/new.yaml", "--current", "{}/current.yaml", "-f", "{}/objects.json"],
}
CASES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.glob("*/*.out"))
IN_ITS_OWN_WORDS = "（原文）"
CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of(case: str) -> None:
    command, file = case.removesuffix(".out").split("/")
    arguments = [each.format(file) for each in COMMANDS[command]]
    result = run(*arguments, cwd=DATA / command, environment=ZH)
    said = result.stderr if command == "convert" else result.stdout + result.stderr
    assert said == (FOLDER / case).read_text("utf-8")


def test_every_command_with_a_report_has_a_case() -> None:
    assert {case.split("/")[0] for case in CASES} == COMMANDS.keys()


@pytest.mark.parametrize("number", range(len(INVALID)))
def test_every_problem_of_a_profile_is_told(number: int) -> None:
    """Without a word of a library, in 60 broken profiles."""
    case = INVALID[number]
    data = case.get("data") or {"selectors": case["selectors"]}
    with pytest.raises(ProfileError) as error:
        parse(data)
    for problem in error.value.problems:
        told = translated(problem.message, "zh")
        assert CHINESE.search(told), told
        assert IN_ITS_OWN_WORDS not in told
        # What is quoted may be English, and the names of fields; not a sentence.
        bare = re.sub(r'"[^"]*"', "", told)
        assert not re.search(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}", bare), told


@pytest.mark.parametrize(
    "text",
    [
        "[",
        '{"a" 1}',
        '{"a": 1 "b"}',
        '{"a": "',
        '["\\x"]',
        "[1,]",
        '{"a": 1,}',
        "[1] 2",
        '{"a": \t}',
        "a: b: c",
        "- a\nb: c",
        "'a",
        '"a',
        '"\\q"',
        "a: [b",
        "{a: b",
        "@a",
        "%a",
        "a:\n\t- b",
        "a: *",
        "a: &a b",
        "!x a",
        "a: !!int 5",
        "? [a]\n: b",
        "a\n---\nb",
        "\x07",
        "\ud800",
        "- " * 200 + "a",
    ],
)
def test_what_the_parsers_say_is_told(text: str) -> None:
    try:
        read(text)
    except TextError as error:
        told = translated(error.message, "zh")
        assert CHINESE.search(told), told
        if text != "\x07":  # YAML's reader, whose words vary
            assert IN_ITS_OWN_WORDS not in told


def edit(data: dict[str, str]) -> Any:
    review = review_of({"metadata": {"name": "eci-profile"}, "data": data}, operation="CREATE")
    resource = {"group": "", "version": "v1", "resource": "configmaps"}
    review["request"] |= {"resource": resource, "namespace": "kube-system", "name": "eci-profile"}
    return review


def serving(tmp_path: Path, **settings: str) -> Any:
    (tmp_path / "empty.yaml").write_text("")
    file = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(tmp_path / "empty.yaml")}
    return local({**file, **settings})


def test_a_profile_is_refused_in_chinese(tmp_path: Path) -> None:
    with serving(tmp_path, **ZH) as function:
        review = edit({"selectors": '[{"name": "a", "objectselector": {}}]'})
        response = checked(function.post(review), review)
        assert response["status"]["message"].splitlines() == [
            "profile 未保存，有 1 个问题：",
            '  selectors[0] "a": objectselector: 未知字段，是否想写 objectSelector？',
        ]
        (problem,) = function.log_lines()[-1]["problems"]
    assert problem.isascii()
    assert problem.endswith("unknown field, did you mean objectSelector?")


def test_the_warnings_of_reviews_are_in_english(tmp_path: Path) -> None:
    """They are sent in a header."""
    with serving(tmp_path, **ZH) as function:
        review = edit({"selectors": '[{"name": "a", "objectSelector": {}}]'})
        response = checked(function.post(review), review)
        assert response["warnings"] == ['selectors[0] "a": matches every pod']
        (tmp_path / "empty.yaml").write_text(profile_of([{"name": "all", "objectSelector": {}}]))
        function.pass_time(60)
        spec = {"containers": [], "hostNetwork": True}
        review = review_of({"metadata": {"name": "web"}, "spec": spec})
        (warning,) = checked(function.post(review), review)["warnings"]
    assert warning == 'selector "all": ECI does not support hostNetwork'


def profile_of(selectors: Any) -> str:
    metadata = {"name": "eci-profile", "namespace": "kube-system"}
    data = {"selectors": json.dumps(selectors)}
    return yaml.safe_dump({"kind": "ConfigMap", "metadata": metadata, "data": data})


@pytest.fixture
def page(tmp_path: Path) -> Any:
    path = tmp_path / "profile.yaml"
    path.write_text(profile_of([{"name": "all", "objectSelector": {}}]))
    settings = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(path)}
    with local({**settings, "ECI_PROFILE_PAGE": "1"}) as function:
        yield function


def ask(page: Local, profile: str, pod: str = "", labels: str = "", **more: str) -> Any:
    namespaces = {"default": labels}
    question = {"profile": {"selectors": profile}, "pod": pod, "namespaces": namespaces, **more}
    return page.request("POST", "/explain", json.dumps(question).encode())


def test_the_page_is_answered_in_its_language(page: Local) -> None:
    for language, messages in {
        "en": ["must be a list, got 5", "'x': write key=value", "a Job needs spec"],
        "zh": ["必须是列表，当前值：5", "'x'：请写成 key=value", "Job 缺少 spec"],
    }.items():
        found = ask(page, "5", "kind: Pod", "x", language=language).json
        (diagnostic,) = found["diagnostics"]
        wrong = ask(page, "5", "kind: Job", language=language).json["podError"]
        told = [diagnostic["message"], found["labelErrors"]["default"], wrong["message"]]
        assert told == messages
        if language == "en":
            assert ask(page, "5", "kind: Pod", "x").json == found


def test_the_warnings_on_the_page_are_in_its_language(page: Local) -> None:
    pod = json.dumps({"kind": "Pod", "spec": {"hostNetwork": True, "containers": []}})
    profile = '[{"name": "all", "objectSelector": {}}]'
    told = ask(page, profile, pod, language="zh").json["pods"][0]["warnings"]
    assert told == ['selector "all"：ECI 不支持 hostNetwork']
    assert ask(page, profile, pod).json["pods"][0]["warnings"][0].isascii()


def test_the_page_has_the_loaded_profiles_messages_in_both(page: Local) -> None:
    (diagnostic,) = page.request("GET", "/profile").json["diagnostics"]
    assert diagnostic["message"] == "matches every pod"
    assert diagnostic["messages"] == {"en": "matches every pod", "zh": "匹配所有 Pod"}


def test_the_page_has_no_other_language(page: Local) -> None:
    reply = ask(page, "5", language="fr")
    assert reply.status == 400
    assert "language, en or zh" in reply.json["message"]


def test_json_has_codes_in_english_and_messages_in_chinese() -> None:
    text = '[{"name": "a", "objectSelector": {}}]'
    result = run("check", "-", "-o", "json", text=text, environment=ZH)
    (problem,) = json.loads(result.stdout)["problems"]
    assert (problem["severity"], problem["message"]) == ("warning", "匹配所有 Pod")
    result = run("check", "-", "-o", "github", text=text, environment=ZH)
    assert result.stdout.startswith("::warning file=<stdin>,line=1,col=2::")


def test_a_wrong_use_is_told() -> None:
    for arguments, said in (
        (["check", "/no/such"], "无法读取 /no/such：文件或目录不存在"),
        (["plan", "-", "--current", "-"], "标准输入（-）只能读取一次"),
        (["convert", "k8s/sample/profile.yaml"], "没有 eci.aliyun.com 的 Selector 对象"),
    ):
        result = run(*arguments, environment=ZH, cwd=ROOT)
        assert said in result.stderr
    result = run("check", "-", environment={"ECI_PROFILE_LANGUAGE": "cn"})
    assert result.returncode == 2
    assert result.stderr == (
        "eci-profile: ECI_PROFILE_LANGUAGE must be en (English) or zh (Chinese), not 'cn'\n"
    )


def test_an_invalid_profile_is_told_with_its_problems(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text('[{"name": "a"}]')
    result = run(
        "explain", "-", "--profile", "profile.json", text="kind: Pod", cwd=tmp_path, environment=ZH
    )
    assert result.stderr.splitlines() == [
        "eci-profile: profile 有误（用 check 查看位置）：",
        '  selectors[0] "a": 需要 namespaceSelector 或 objectSelector，也可以同时指定',
    ]


def test_english_does_not_read_the_catalogue() -> None:
    _catalogue.cache_clear()
    for environment, read_ones in (({}, 0), (ZH, 1)):
        run("check", "tests/data/check/errors.yaml", environment=environment)
        assert _catalogue.cache_info().currsize == read_ones


@pytest.mark.parametrize("command", ["", "check", "explain", "plan", "convert", "register"])
def test_the_help_is_in_chinese(command: str) -> None:
    asked = [*filter(None, [command]), "--help"]
    told = run(*asked, environment=ZH).stdout
    described = [line for line in told.splitlines() if CHINESE.search(line)]
    assert len(described) > 5 if command in ("", "plan") else len(described) > 2
    assert not CHINESE.search(run(*asked).stdout)
    words = re.sub(
        r"(?m)^usage:.*(\n .*)*|^  -h, --help .*(\n   .*)?|^  --version .*(\n   .*)?", "", told
    )
    assert not re.search(r"\b[a-z]{2,} [a-z]{2,} [a-z]{2,} [a-z]{2,}\b", words), words
