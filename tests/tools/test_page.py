"""The page in a real browser: Debian's chromium, or the one that CHROMIUM names."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from server import DATA, ROOT, Server, clean_environment, serving, serving_file

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe_api = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe is not installed"
)

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
SAMPLE = ROOT / "k8s" / "sample" / "profile.yaml"
INVALID = yaml.safe_load((DATA / "invalid-profiles.yaml").read_text("utf-8"))

in_browser = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium: apt install chromium")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "profile.yaml"
    path.write_text(SAMPLE.read_text("utf-8"), "utf-8")
    return path


@pytest.fixture(scope="module")
def server(profile: Path) -> Iterator[Server]:
    with serving_file(profile, ECI_PROFILE_PAGE="1") as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        options = {"executable_path": CHROMIUM, "env": clean_environment()}
        browser = playwright.chromium.launch(args=["--no-sandbox"], **options)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, server: Server, profile: Path) -> Iterator[Callable[..., Any]]:
    """Open the page; whatever its console tells of, such as a violated policy, fails the test."""
    profile.write_text(SAMPLE.read_text("utf-8"), "utf-8")
    contexts, told = [], []

    def open_page(**options: Any) -> Any:
        contexts.append(browser.new_context(**{"locale": "en-US", **options}))
        page = contexts[-1].new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.wait_for_selector("#result h3")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert told == []


def problems(page: Any, name: str = "diagnostics") -> list[str]:
    found: list[str] = page.locator(f"#{name} .text").all_text_contents()
    return found


def until(look: Callable[[], Any], expected: Any) -> None:
    """Wait until it looks as expected."""
    end = time.monotonic() + 10
    while (seen := look()) != expected:
        assert time.monotonic() < end, seen
        time.sleep(0.05)


@in_browser
def test_a_pod_is_explained_as_one_types(opened: Callable[..., Any]) -> None:
    page = opened()
    expect = playwright_api.expect
    expect(page.locator("#state")).to_have_text(
        "kube-system/eci-profile: valid, 3 selectors in force"
    )
    expect(page.locator("#summary")).to_have_text("Pod web: 1 of 3 selectors match")
    page.fill("#pod", (SAMPLE.parent / "pod.yaml").read_text("utf-8"))
    page.fill("#labels", "alibabacloud.com/eci=true")
    expect(page.locator("#summary")).to_have_text("Pod train: 2 of 3 selectors match")
    result = page.locator("#result")
    expect(result).to_contain_text(
        'objectSelector wants alibabacloud.com/eci In ["true"], but it is absent'
    )
    expect(result).to_contain_text('the pod\'s own "ecs.gn6i-c4g1.xlarge" stays')
    expect(result).to_contain_text(
        "virtualNodeOnly, decided by default-namespace-selector: on the virtual node"
    )
    assert "+    created-by-eci: 'true'" in page.locator(".diff .add").all_text_contents()
    page.fill("#pod", "kind: DaemonSet\nspec: {template: {}}\n")
    expect(result).to_contain_text("Left alone: its controller is a DaemonSet")


@in_browser
def test_errors_stand_at_their_line(opened: Callable[..., Any]) -> None:
    page = opened()
    page.fill(
        "#selectors", '[\n  {"name": "a", "objectSelector": {}},\n  {"name": "b", "effect": 1}\n]'
    )
    page.fill("#pod", "kind: Pod\nmetadata:\n  labels:\n    app: 1\n")
    page.fill("#labels", "a")
    expected = [
        'selectors[1] "b": needs a namespaceSelector, an objectSelector, or both',
        'selectors[1] "b": effect: must be an object, got 1',
    ]
    until(lambda: problems(page), expected)
    until(
        lambda: problems(page, "pod-problems"),
        ['Pod.metadata.labels["app"]: must be a string, got 1; write "1"'],
    )
    assert problems(page, "label-problems") == ["'a': write key=value"]
    marked = page.locator("#selectors >> xpath=preceding-sibling::pre >> css=span.error")
    assert marked.all_text_contents() == ["3"]
    playwright_api.expect(page.locator("#edited")).to_have_text("Changed here, not in force")
    page.get_by_role("button", name="Go to line 3, column 27").press("Enter")
    position = page.evaluate(
        "[document.activeElement.id, document.activeElement.selectionStart,"
        " document.activeElement.value.indexOf('1}')]"
    )
    assert position[0] == "selectors"
    assert position[1] == position[2]
    page.get_by_role("button", name="Load again").click()
    until(lambda: problems(page), [])


@in_browser
def test_the_same_problems_as_check_tells(opened: Callable[..., Any], profile: Path) -> None:
    page = opened()
    for case in INVALID:
        data = case.get("data") or {"selectors": case["selectors"]}
        metadata = {"name": "eci-profile", "namespace": "kube-system"}
        config_map = {"kind": "ConfigMap", "metadata": metadata, "data": data}
        profile.write_text(yaml.safe_dump(config_map), "utf-8")
        page.get_by_role("button", name="Load again").click()
        expected = [re.sub(r"(?<=: )line \d+, column \d+: ", "", one) for one in case["problems"]]
        until(lambda: problems(page), expected)
    playwright_api.expect(page.locator("#state")).to_contain_text(
        "not valid; the last good one stays in force, with 3 selectors"
    )


@in_browser
def test_two_languages(opened: Callable[..., Any]) -> None:
    page = opened(locale="zh-CN")
    expect = playwright_api.expect
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator("#summary")).to_contain_text("3 个 selector 中有 1 个匹配")
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("#summary")).to_have_text("Pod web: 1 of 3 selectors match")
    page.reload()
    expect(page.locator("#summary")).to_have_text("Pod web: 1 of 3 selectors match")


@in_browser
def test_both_languages_have_all_words(opened: Callable[..., Any]) -> None:
    page = opened()
    english, chinese = page.evaluate("[WORDS.en, WORDS.zh].map(Object.entries)")
    assert [key for key, _ in english] == [key for key, _ in chinese]
    for (key, one), (_, other) in zip(english, chinese, strict=True):
        assert sorted(p for p in ("{0}", "{1}", "{2}") if p in one) == sorted(
            p for p in ("{0}", "{1}", "{2}") if p in other
        ), key


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 420])
def test_axe_finds_nothing(opened: Callable[..., Any], scheme: str, width: int) -> None:
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 900})
    grounds = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, grounds[4:-1].split(","))) < 3 * 128) == (scheme == "dark")
    page.fill("#pod", (SAMPLE.parent / "pod.yaml").read_text("utf-8"))
    page.fill("#labels", "alibabacloud.com/eci=true")
    playwright_api.expect(page.locator("#summary")).to_contain_text("2 of 3")
    issues = axe_api.Axe().run(page)
    assert issues.violations_count == 0, issues.generate_report()
    page.fill("#selectors", '[\n  {"name": "a", "x": {}}\n]')
    page.fill("#labels", "a")
    until(lambda: len(problems(page)), 1)
    issues = axe_api.Axe().run(page)
    assert issues.violations_count == 0, issues.generate_report()
    wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert not wide


@in_browser
def test_it_can_be_used_by_keyboard_alone(opened: Callable[..., Any]) -> None:
    page = opened()
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.className")
        )
    assert reached[:2] == ["language", "reload"]
    assert {"selectors", "pod", "labels", "diff"} <= set(reached)


def test_what_the_page_asks(server: Server, profile: Path) -> None:
    profile.write_text(SAMPLE.read_text("utf-8"), "utf-8")
    loaded = server.request("GET", "/profile")
    assert loaded.status == 200
    assert loaded.json["valid"]
    assert loaded.json["inForce"] == 3
    question = {"profile": loaded.json["data"], "pod": "kind: Pod", "namespaceLabels": ""}
    answer = server.request("POST", "/explain", json.dumps(question).encode())
    assert answer.status == 200
    assert [each["matches"] for each in answer.json["pods"][0]["selectors"]] == [False] * 3
    for body in (b"", b"{}", b"[", json.dumps({**question, "pod": 5}).encode()):
        bad = server.request("POST", "/explain", body)
        assert bad.status == 400
        assert bad.json["message"] == "the body must have profile, pod and namespaceLabels"
    assert server.request("POST", "/explain", b" " * (8 * 2**20 + 1)).status == 413


def test_a_profile_that_is_none(server: Server, profile: Path) -> None:
    profile.write_text("{kind: ConfigMap, metadata: {name: eci-profile}, data: {selectors: 0}}")
    loaded = server.request("GET", "/profile").json
    assert not loaded["valid"]
    assert loaded["data"] == {}
    assert loaded["diagnostics"][0]["message"] == "must be text; write `selectors: |` before it"


def test_its_policy_lets_nothing_else_in(server: Server) -> None:
    reply = server.request("GET", "/")
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(
        directive.split(" ", 1)
        for directive in reply.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in str(policy)
    for source in ("script-src", "style-src"):
        assert policy[source].startswith("'sha256-")
    assert b"http://" not in reply.body
    assert b"https://" not in reply.body


def test_it_is_off_by_default(tmp_path: Path) -> None:
    settings = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(SAMPLE)}
    with serving(settings, tmp_path / "log") as server:
        assert server.request("GET", "/").status == 405
        assert server.request("GET", "/profile").status == 405
        posted = server.request("POST", "/explain", b"{}")
        assert posted.status == 400
        assert "AdmissionReview" in posted.json["message"]
