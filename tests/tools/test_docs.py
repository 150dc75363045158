"""The documentation: links, both languages, what its commands print, what it has to describe."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cli import run
from pages import Block, Page, commands, read
from server import ROOT, Server, clean_environment, serving

from handler.settings import ServerSettings, Settings, described

PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("k8s/**/*.md"))
)
LANGUAGES = [
    (Path("README.md"), Path("README.zh-CN.md")),
    *((page, Path("docs/zh", page.name)) for page in PAGES if page.parent == Path("docs/en")),
]
LONGEST_README = 150


def anchors(page: Page) -> list[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = [heading.lstrip("# ").replace("`", "") for heading in page.headings]
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def links(page: Page) -> Iterator[str]:
    """What a page links to within the project."""
    text = re.sub(r"`[^`]*`", "", "\n".join(page.prose))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            yield target


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    for link in links(read(path)):
        target, _, anchor = link.partition("#")
        found = (ROOT / path).parent / target if target else ROOT / path
        assert found.exists(), f"{path} links to {link}"
        assert found.resolve().is_relative_to(ROOT), f"{path} links to {link}"
        if anchor:
            assert anchor in anchors(read(found.resolve().relative_to(ROOT))), (
                f"{path} links to {link}"
            )


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_anchors_are_unique(path: Path) -> None:
    found = anchors(read(path))
    if path.name != "CHANGELOG.md":  # each release has the same headings
        assert len(set(found)) == len(found)


def test_every_page_can_be_found() -> None:
    """From README, over links."""
    found, new = set[Path](), {Path("README.md")}
    while new:
        found |= new
        targets = {
            (ROOT / path.parent / link.partition("#")[0]).resolve().relative_to(ROOT)
            for path in new
            for link in links(read(path))
            if link.partition("#")[0].endswith(".md")
        }
        new = targets - found
    assert set(PAGES) - found == {Path("k8s/README.md")}  # leads those on who look there


@pytest.mark.parametrize("path", ["README.md", "README.zh-CN.md"])
def test_readme_is_short(path: str) -> None:
    assert len((ROOT / path).read_text("utf-8").splitlines()) <= LONGEST_README


def test_every_user_page_is_in_both_languages() -> None:
    names = [
        sorted(page.name for page in (ROOT / "docs" / each).iterdir()) for each in ("en", "zh")
    ]
    assert names[0] == names[1]
    assert {"profile.md", "behaviour.md", "install.md", "operate.md", "tools.md"} <= set(names[0])


def outline(page: Page) -> list[str]:
    """What both languages have in the same order: headings, items of lists, rows of tables."""
    found = []
    for line in page.prose:
        if mark := re.match(r"#+ |- |\d+\. ", line):
            found.append(mark.group())
        elif line.startswith("|"):
            found.append("|" * line.replace("\\|", "").count("|"))
    return found


def code_spans(page: Page) -> set[str]:
    text = "\n".join(page.prose)
    return {" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)}


@pytest.mark.parametrize(("english", "chinese"), LANGUAGES, ids=str)
def test_both_languages_say_the_same(english: Path, chinese: Path) -> None:
    """As far as one can tell without reading them."""
    first, second = read(english), read(chinese)
    assert outline(first) == outline(second)
    assert code_spans(first) == code_spans(second)
    assert [block.info for block in first.blocks] == [block.info for block in second.blocks]
    for one, other in zip(first.blocks, second.blocks, strict=True):
        if one.info != "mermaid":  # a picture has words
            assert one.text == other.text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the project's, for commands that leave files behind."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("Makefile", "k8s", "requirements.txt", "tests"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The function as `make run` starts it."""
    environment = {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(ROOT / "k8s" / "sample" / "profile.yaml"),
        "ECI_PROFILE_PAGE": "1",
    }
    with serving(environment, tmp_path_factory.mktemp("running") / "server.log") as server:
        yield server


HANDLER = ".venv/bin/python -m handler "


def printed(command: str, folder: Path, port: int) -> str:
    """What a command prints on both outputs, where the function serves on this port."""
    if command.startswith(HANDLER):
        arguments = shlex.split(command.removeprefix(HANDLER))
        return run(*arguments, cwd=folder, one_output=True).stdout
    environment = {k: v for k, v in clean_environment().items() if not k.startswith("MAKE")}
    environment.pop("MFLAGS", None)  # those of the make that runs the tests
    path = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    command = command.replace("localhost:8080", f"localhost:{port}")
    # Not to install packages again.
    command = re.sub(r"^make ", f"make -o .venv/run.done PORT={port} ", command)
    result = subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=folder,
        env={**environment, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    return result.stdout


# The pages in Chinese have the same blocks, see test_both_languages_say_the_same.
WITH_COMMANDS = [
    path
    for path in PAGES
    if any(block.info == "console" for block in read(path).blocks)
    and path not in [chinese for _, chinese in LANGUAGES]
]


@pytest.mark.parametrize("path", WITH_COMMANDS, ids=str)
def test_commands_print_what_the_page_says(path: Path, folder: Path, running: Server) -> None:
    for block in read(path).blocks:
        if block.file:  # a page may edit a file from step to step
            (folder / block.file).write_text(block.text, "utf-8")
        if block.info != "console":
            continue
        assert block.text.startswith("$ ")
        for command, output in commands(block):
            tool = command.split()[0]
            if tool in ("curl", "make") and not shutil.which(tool):
                pytest.skip(f"{tool} is not installed")
            assert printed(command, folder, running.port).rstrip() == output.rstrip(), command


SOME_SELECTOR = '[{"name": "a", "objectSelector": {"matchLabels": {"a": "b"}}}]'


def profiles(path: Path) -> Iterator[Block]:
    for block in read(path).blocks:
        if block.info == "yaml" and re.search(
            r"^(kind: ConfigMap|data:)$", block.text, re.MULTILINE
        ):
            yield block


@pytest.mark.parametrize("path", [path for path in PAGES if any(profiles(path))], ids=str)
def test_profiles_are_valid(path: Path) -> None:
    for block in profiles(path):
        shown = yaml.safe_load(block.text)
        shown["data"].setdefault("selectors", SOME_SELECTOR)  # where the page shows another key
        whole = {"kind": "ConfigMap", "metadata": {"name": "eci-profile"}, **shown}
        result = run("check", "-", text=yaml.safe_dump(whole))
        assert (result.returncode, result.stdout) == (0, ""), f"{path}, line {block.line}"


def names_in_tables(path: str, pattern: str) -> set[str]:
    """Names in the first column of a page's tables."""
    rows = (line for line in read(Path(path)).prose if line.startswith("| `"))
    return {name for row in rows if re.fullmatch(pattern, name := row.split("`")[1])}


SETTINGS = [each for form in (Settings, ServerSettings) for each in described(form).values()]


def test_every_setting_is_described_as_the_code_has_it() -> None:
    rows = read(Path("docs/en/install.md")).prose
    for each in SETTINGS:
        assert f"| `{each.variable}` | {each.default} | {each.meaning} | {each.allowed} |" in rows
    known = {each.variable for each in SETTINGS}
    for language in ("en", "zh"):
        named = names_in_tables(f"docs/{language}/install.md", r"(ECI_PROFILE_\w+|PORT)")
        assert named == known


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_metric_is_described(language: str, running: Server) -> None:
    text = running.request("GET", "/metrics").body.decode()
    known = set(re.findall(r"^# TYPE (eci_profile_\w+)", text, re.MULTILINE))
    assert names_in_tables(f"docs/{language}/operate.md", r"eci_profile_\w+") == known


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_alert_is_described(language: str) -> None:
    rules = yaml.safe_load((ROOT / "k8s/monitoring/rules.yaml").read_text("utf-8"))
    known = {rule["alert"] for group in rules["spec"]["groups"] for rule in group["rules"]}
    assert names_in_tables(f"docs/{language}/operate.md", r"ECIProfile\w+") == known
