"""The page in a real browser: Debian's Chromium, or the one that CHROMIUM names.

Its headless shell takes a quarter less CPU time, since it has no windows and tabs of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cases import INVALID
from server import ROOT, Server, clean_environment, serving, serving_file

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.base", reason="axe is not installed")

CHROMIUM = (
    os.environ.get("CHROMIUM")
    or shutil.which("chromium-headless-shell")
    or shutil.which("chromium")
    or ""
)
STATIC = ROOT / "handler" / "web" / "static"
WORDS = json.loads((STATIC / "words.json").read_text("utf-8"))
SAMPLE = ROOT / "k8s" / "sample" / "profile.yaml"
POD = (SAMPLE.parent / "pod.yaml").read_text("utf-8")
LOCALES = {"en": "en-US", "zh": "zh-CN"}
WIDTHS = {1440: 900, 768: 1024, 390: 844}

in_browser = pytest.mark.skipif(
    not CHROMIUM, reason="there is no Chromium: apt install chromium-headless-shell"
)
in_both_languages = pytest.mark.parametrize("language", ["en", "zh"])
# Where the language makes no difference, half of the tests are in each.
in_english = pytest.mark.parametrize("language", ["en"])
in_chinese = pytest.mark.parametrize("language", ["zh"])


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
    playwright_api.expect.set_options(timeout=15_000)  # milliseconds, for a busy machine
    with playwright_api.sync_playwright() as playwright:
        options = {"executable_path": CHROMIUM, "env": clean_environment()}
        browser = playwright.chromium.launch(args=["--no-sandbox"], **options)
        yield browser
        browser.close()


class Opened:
    """The page as someone has it before them."""

    def __init__(self, page: Any, language: str) -> None:
        self.page = page
        self.words: dict[str, str] = WORDS[language]

    def resize(self, width: int, scheme: str = "light") -> None:
        self.page.set_viewport_size({"width": width, "height": WIDTHS[width]})
        self.page.emulate_media(color_scheme=scheme)

    def say(self, key: str, *values: object) -> str:
        return re.sub(r"\{(\d)\}", lambda found: str(values[int(found[1])]), self.words[key])

    def expect(self, selector: str) -> Any:
        return playwright_api.expect(self.page.locator(selector))

    def button(self, key: str) -> Any:
        return self.page.get_by_role("button", name=self.say(key), exact=True)

    def editor(self, key: str) -> Any:
        if key != "pod":
            self.page.locator("#keys button", has_text=re.compile(rf"^{key}$")).click()
        return self.page.locator(f"{'#pod' if key == 'pod' else f'#panel-{key}'} .cm-content")

    def write(self, key: str, text: str) -> None:
        self.editor(key).fill(text)

    def paste(self, key: str, text: str) -> None:
        """As from the clipboard, instead of all that is there."""
        editor = self.editor(key)
        editor.press("Control+a")
        editor.evaluate(
            """(node, text) => {
              const clipboardData = new DataTransfer();
              clipboardData.setData("text/plain", text);
              node.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true}));
            }""",
            text,
        )

    def text(self, key: str) -> str:
        found: str = self.page.evaluate("key => editors[key].text", key)
        return found

    def title(self, key: str, *values: object) -> None:
        self.expect("#verdict h2").to_have_text(self.say(f"title.{key}", *values))

    def settled(self) -> None:
        """Wait for the answer to what is in the editors."""
        self.expect("#result").to_have_attribute("aria-busy", "false")

    def on_the_virtual_node(self) -> None:
        self.settled()
        self.title("virtualNodeOnly", self.say("virtualNode"))

    def problems(self) -> list[str]:
        found: list[str] = self.page.locator("#wrong .text").all_text_contents()
        return found

    def example(self, name: str) -> None:
        self.page.locator("#examples summary").click()
        self.button(f"example.{name}").click()
        self.settled()

    def open_plan(self) -> None:
        self.page.locator("#plan summary").click()
        self.expect("#dump").to_be_visible()

    def give(self, event: str, text: str) -> None:
        """The objects of a cluster, pasted or dropped."""
        self.page.locator("#dump").evaluate(
            """(node, [event, text]) => {
              const data = new DataTransfer();
              if (event === "paste") data.setData("text/plain", text);
              else data.items.add(new File([text], "cluster.json", {type: "application/json"}));
              const options = {bubbles: true, cancelable: true};
              node.dispatchEvent(event === "paste"
                ? new ClipboardEvent(event, {...options, clipboardData: data})
                : new DragEvent(event, {...options, dataTransfer: data}));
            }""",
            [event, text],
        )

    def copied(self) -> str:
        found: str = self.page.evaluate("navigator.clipboard.readText()")
        return found


@pytest.fixture(scope="module")
def pages(browser: Any) -> dict[str, Any]:
    """A page of each language, for one test after another: to start a renderer takes long."""
    return {language: new_page(browser, language) for language in LOCALES}


def new_page(browser: Any, language: str) -> Any:
    context = browser.new_context(locale=LOCALES[language])
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    # Not before the page is opened: until then, the last one may still store something.
    page.add_init_script(
        "if (window.name === 'new') { localStorage.clear(); sessionStorage.clear(); name = ''; }"
    )
    return page


@pytest.fixture
def opened(pages: dict[str, Any], server: Server, profile: Path) -> Iterator[Callable[..., Opened]]:
    """Open the page, with nothing stored, in the tab where it was before in this language.

    What its console tells of, such as a violated policy, fails the test.
    """
    profile.write_text(SAMPLE.read_text("utf-8"), "utf-8")
    told: list[str] = []
    asked: set[str] = set()
    address = f"http://127.0.0.1:{server.port}/"
    listeners: dict[str, Callable[[Any], None]] = {
        "console": lambda message: told.append(message.text),
        "pageerror": lambda error: told.append(str(error)),
        "request": lambda request: asked.add(request.url.split("#")[0]),
    }
    for page in pages.values():
        for event, listener in listeners.items():
            page.on(event, listener)

    def open_page(language: str = "en", width: int = 1440) -> Opened:
        page = Opened(pages[language], language)
        page.resize(width)
        page.page.evaluate("window.name = 'new'")
        page.page.goto(address)
        page.page.wait_for_selector("#verdict h2")
        return page

    yield open_page
    for page in pages.values():
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
    assert told == []
    outside = {url for url in asked if not url.startswith((address, "data:"))}
    assert not outside


def until(look: Callable[[], Any], expected: Any) -> None:
    """Wait until it looks as expected."""
    end = time.monotonic() + 10
    while (seen := look()) != expected:
        assert time.monotonic() < end, seen
        time.sleep(0.05)


@in_browser
@in_both_languages
def test_the_answer_is_that_of_make_try(opened: Callable[..., Opened], language: str) -> None:
    """The namespace of the pod counts, with the labels that the provider knows."""
    page = opened(language)
    page.expect("#state").to_have_text(page.say("inForce", "kube-system/eci-profile", 3))
    page.write("pod", POD)
    page.on_the_virtual_node()
    why = page.say("why", "default-namespace-selector", "virtualNodeOnly")
    page.expect("#verdict .why").to_have_text(why)
    page.expect("#verdict .note").to_have_text(page.say("in", "Pod", "train", "batch"))
    result = page.expect("#result")
    wanted = ("objectSelector", 'alibabacloud.com/eci In ["true"]')
    result.to_contain_text(page.say("wantsAbsent", *wanted))
    result.to_contain_text(page.say("isOwn", "gpu", '"ecs.gn6i-c4g1.xlarge"'))
    added = page.page.locator(".diff .add").all_text_contents()
    assert "+    created-by-eci: 'true'" in added
    page.write("pod", "kind: DaemonSet\nspec: {template: {}}\n")
    page.title("leftAlone")
    page.expect("#verdict .why").to_have_text(page.say("left.daemonset"))
    page.write("pod", "{kind: Pod, metadata: {name: a, namespace: kube-system}}")
    page.expect("#verdict .why").to_have_text(page.say("left.not-asked"))


@in_browser
@in_chinese
def test_labels_of_namespaces_can_be_changed(opened: Callable[..., Opened], language: str) -> None:
    page = opened(language)
    page.write("pod", POD)
    page.expect("#namespaces .tag").to_have_text(page.say("from.file"))
    labels = page.page.get_by_label(page.say("labelsOf", "batch"))
    playwright_api.expect(labels).to_have_value("alibabacloud.com/eci=true")
    page.expect("#namespaces .fixed").to_contain_text("kubernetes.io/metadata.name=batch")
    labels.fill('team: "a"\nexample.com/tier: b, c=d')
    page.title("normalNodePrefer", page.say("virtualNode"))
    page.expect("#namespaces .tag").to_have_text(page.say("from.here"))
    labels.fill("team")
    wrong = {"en": "'team': write key=value", "zh": "'team'：请写成 key=value"}  # noqa: RUF001
    until(page.problems, [wrong[language]])
    page.button("reset").click()
    page.on_the_virtual_node()
    page.expect("#namespaces .tag").to_have_text(page.say("from.file"))


@in_browser
@in_english
def test_what_is_not_known_is_unknown(opened: Callable[..., Opened], language: str) -> None:
    page = opened(language)
    page.write("pod", "{kind: Pod, metadata: {name: a, namespace: elsewhere}}")
    page.title("unknown", "elsewhere")
    otherwise = page.say("title.unplaced")
    why = page.say("whyUnknown", "default-namespace-selector", otherwise)
    page.expect("#verdict .why").to_have_text(why)
    page.expect("#namespaces .tag").to_have_text(page.say("from.nowhere"))
    page.expect("#namespaces .fixed").to_contain_text("kubernetes.io/metadata.name=elsewhere")
    wanted = ("namespaceSelector", 'alibabacloud.com/eci In ["true"]', "elsewhere")
    page.expect("#result").to_contain_text(page.say("wantsUnknown", *wanted))
    page.expect("#result .entries .tag").to_have_text(
        [page.say("noMatch"), page.say("unknown"), page.say("noMatch")]
    )
    page.button("noLabels").click()
    page.title("unplaced")
    by_name = {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}
    page.write("selectors", json.dumps([{"name": "a", "namespaceSelector": by_name}]))
    page.on_the_virtual_node()


@in_browser
@in_both_languages
def test_the_answer_stays_in_sight(opened: Callable[..., Opened], language: str) -> None:
    page = opened(language)
    page.example("seed")
    page.on_the_virtual_node()

    def top(selector: str) -> float:
        box: dict[str, float] = page.page.locator(selector).bounding_box()
        return box["y"]

    before = top("#answer"), top("#namespaces"), top("#result h3 >> nth=0")
    assert before[0] < before[2]
    for pane in ("#edit", "#result"):  # each scrolls, and nothing else moves
        page.page.locator(pane).evaluate("node => node.scrollTo(0, 120)")
        assert page.page.evaluate("document.documentElement.scrollTop") == 0
        assert top("#answer") == before[0]
        assert page.page.locator(pane).evaluate("node => node.scrollTop") > 0
    assert top("#namespaces") < before[1]
    assert top("#result h3 >> nth=0") < before[2]


@in_browser
@in_both_languages
def test_on_a_phone_the_answer_follows_the_editors(
    opened: Callable[..., Opened], language: str
) -> None:
    page = opened(language, 390)
    order = page.page.evaluate("Array.from(document.querySelector('main').children, e => e.id)")
    assert order == ["edit", "answer", "result"]
    for width in (390, 768):
        page.resize(width)
        for place in (0, 300, 100_000):
            page.page.evaluate("place => scrollTo(0, place)", place)
            page.expect("#verdict h2").to_be_in_viewport(ratio=1)


@in_browser
@in_chinese
def test_a_typo_leaves_the_last_result(opened: Callable[..., Opened], language: str) -> None:
    page = opened(language)
    page.write("pod", POD)
    page.expect("#result").to_contain_text("nginx")  # no longer the sample's
    page.on_the_virtual_node()
    result = page.page.locator("#result").text_content()
    page.write("selectors", '[\n  {"name": "a", "objectselector": {}},\n  {"name": "b"}\n]')
    page.write("pod", "kind: Pod\nmetadata:\n  labels:\n    app: 1\n")
    expected = {
        "en": [
            'selectors[0] "a": objectselector: unknown field, did you mean objectSelector?',
            'selectors[1] "b": needs a namespaceSelector, an objectSelector, or both',
            'Pod.metadata.labels["app"]: must be a string, got 1; write "1"',
        ],
        "zh": [
            'selectors[0] "a": objectselector: 未知字段，是否想写 objectSelector？',  # noqa: RUF001
            'selectors[1] "b": 需要 namespaceSelector 或 objectSelector，也可以同时指定',  # noqa: RUF001
            'Pod.metadata.labels["app"]: 必须是字符串，当前值：1；请写成 "1"',  # noqa: RUF001
        ],
    }
    until(page.problems, expected[language])
    page.expect("#wrong strong").to_have_text(page.say("wrong", page.say("errors", 3)))
    page.expect("#wrong").to_contain_text(page.say("stale"))
    page.on_the_virtual_node()
    assert page.page.locator("#result").text_content() == result
    page.expect("#result").to_have_class("stale")
    page.expect("#edited").to_have_text(page.say("edited"))
    page.expect("#panel-selectors .cm-lint-marker-error").to_have_count(2)
    page.expect("#panel-selectors .cm-lintRange-error").to_have_count(2)
    page.expect("#pod .cm-lintRange-error").to_have_text("1")
    page.editor("virtualNode")
    page.page.get_by_role("button", name=page.say("goTo", 2, 17, "selectors")).press("Enter")
    page.page.keyboard.insert_text("here")
    assert '{"name": "a", here"objectselector"' in page.text("selectors")
    page.write("selectors", "[]")
    page.write("pod", POD)
    page.title("unplaced")
    page.expect("#wrong").to_be_empty()
    page.expect("#result").not_to_have_class("stale")


@in_browser
def test_the_same_problems_as_check_tells(opened: Callable[..., Opened], profile: Path) -> None:
    page = opened()
    for case in INVALID:
        data = case.get("data") or {"selectors": case["selectors"]}
        metadata = {"name": "eci-profile", "namespace": "kube-system"}
        config_map = {"kind": "ConfigMap", "metadata": metadata, "data": data}
        profile.write_text(yaml.safe_dump(config_map), "utf-8")
        page.button("reload").click()
        expected = [re.sub(r"(?<=: )line \d+, column \d+: ", "", one) for one in case["problems"]]
        until(page.problems, expected)
    page.expect("#state").to_have_text(page.say("invalid", "kube-system/eci-profile", 3))


@in_browser
@in_both_languages
def test_editors_highlight_and_do_not_clip(opened: Callable[..., Opened], language: str) -> None:
    page = opened(language)
    page.write("selectors", "[" + ", ".join(f'{{"name": "{n}"}}' for n in range(40)) + "]")
    page.page.wait_for_selector("#panel-selectors .tok-key")
    assert page.page.locator("#panel-selectors .tok-string").first.text_content() == '"0"'
    page.write("pod", f"kind: Pod # {'a ' * 200}\nmetadata:\n  name: web\n")
    page.expect("#pod .tok-comment").to_be_visible()
    for width in WIDTHS:
        page.resize(width)
        for editor in ("#panel-selectors", "#pod"):
            clipped = "node => node.scrollWidth > node.clientWidth"
            assert not page.page.locator(f"{editor} .cm-scroller").evaluate(clipped)
        assert not page.page.evaluate("document.documentElement.scrollWidth > innerWidth")


@in_browser
@in_english
def test_loading_again_asks_and_can_be_undone(opened: Callable[..., Opened], language: str) -> None:
    page = opened(language)
    page.write("selectors", "[]")
    page.expect("#edited").to_have_text(page.say("edited"))
    page.button("reload").click()
    page.expect("#question").to_have_text(page.say("replace"))
    page.button("no").click()
    assert page.text("selectors") == "[]"
    page.button("reload").click()
    page.button("yes").click()
    page.expect("#edited").to_have_text(page.say("asLoaded"))
    page.editor("selectors").press("Control+z")
    page.expect("#edited").to_have_text(page.say("edited"))
    assert page.text("selectors") == "[]"
    for _ in range(3):  # what was there at first can't be undone
        page.editor("selectors").press("Control+z")
    assert '"gpu"' in page.text("selectors")


@in_browser
@in_chinese
def test_what_one_wrote_survives_a_reload(opened: Callable[..., Opened], language: str) -> None:
    page = opened(language)
    page.write("pod", POD)
    page.write("virtualNode", "{}")
    page.page.get_by_label(page.say("labelsOf", "batch")).fill("team=a")
    page.title("normalNodePrefer", page.say("virtualNode"))
    page.page.reload()
    page.title("normalNodePrefer", page.say("virtualNode"))
    assert page.text("pod") == POD
    assert page.text("virtualNode") == "{}"
    page.button("other").click()
    page.page.reload()
    page.expect("html").to_have_attribute("lang", {"en": "zh-CN", "zh": "en"}[language])


@in_browser
@in_english
@pytest.mark.parametrize("form", ["yaml", "json list"])
def test_a_whole_object_can_be_pasted(
    opened: Callable[..., Opened], language: str, form: str
) -> None:
    page = opened(language)
    before = page.text("selectors")
    data = {
        "selectors": '[{"name": "a", "objectSelector": {}}]\n',
        "record": "always",
        "log": '{"noMatch": {"rate": 0.5}}',
        "vpcId": "",
    }
    metadata = {"name": "eci-profile", "namespace": "kube-system"}
    objects = [
        {"kind": "Namespace", "metadata": {"name": "default", "labels": {"team": "a"}}},
        {"kind": "ConfigMap", "metadata": metadata, "data": data},
    ]
    whole = (
        yaml.safe_dump_all(objects)
        if form == "yaml"
        else json.dumps({"kind": "List", "items": objects}, indent=2)
    )
    page.paste("selectors", whole)
    page.expect("#toast").to_have_text(page.say("taken", "kube-system/eci-profile"))
    assert page.text("selectors") == data["selectors"]
    assert page.text("record") == "always"
    assert page.text("log") == data["log"]
    page.on_the_virtual_node()
    label = page.page.get_by_label(page.say("labelsOf", "default"))
    playwright_api.expect(label).to_have_value("team=a")
    page.editor("selectors").press("Control+z")
    page.settled()
    assert page.text("selectors") == whole
    page.editor("selectors").press("Control+z")
    assert page.text("selectors") == before
    pods = [{"kind": "Pod", "metadata": {"name": name, "namespace": "x"}} for name in "ab"]
    namespace = {"kind": "Namespace", "metadata": {"name": "x"}}
    page.paste("pod", json.dumps({"kind": "List", "items": [*pods, namespace]}))
    page.expect("#pods button").to_have_text(["Pod a", "Pod b"])
    page.title("unplaced")


@in_browser
@in_chinese
def test_examples(opened: Callable[..., Opened], language: str) -> None:
    page = opened(language)
    virtual_node = page.say("virtualNode")
    page.example("gpu")
    page.on_the_virtual_node()
    page.expect("#result").to_contain_text('k8s.aliyun.com/eci-use-specs "ecs.gn6v-c8g1.2xlarge"')
    page.example("arm")
    page.title("virtualNodeOnly", page.say("namedNode", "arm"))
    page.page.locator("#pods button").nth(1).click()
    page.title("refused", page.say("namedNode", "arm"))
    refusal = page.say("unsupported", "hostNetwork")
    why = page.say("whyRefused", "arm", "virtualNodeOnly", refusal)
    page.expect("#verdict .why").to_have_text(why)
    page.example("fair")
    page.title("fair", virtual_node)
    page.expect("#result").to_contain_text(page.say("atBindingHint"))
    page.expect("#result").to_contain_text('controller.kubernetes.io/pod-deletion-cost "-1000"')
    page.expect("#result").to_contain_text(page.say("recordHint"))
    page.example("audit")
    page.on_the_virtual_node()
    page.expect("#verdict .why").to_contain_text(page.say("share", 10))
    page.page.locator("#pods button").nth(0).press("ArrowRight")
    page.title("unplaced")
    page.expect("#verdict .why").to_contain_text(page.say("whyAudited", "batch-to-eci"))
    page.expect("#result .tag.info").to_have_text(page.say("audit"))
    page.example("seed")
    page.on_the_virtual_node()
    page.expect("#question").not_to_be_visible()
    page.write("selectors", "[]")
    page.example("gpu")
    page.expect("#question").to_be_visible()


@in_browser
@in_english
def test_other_kinds_of_results(opened: Callable[..., Opened], language: str) -> None:
    page = opened(language)
    selectors = [
        {"name": "off", "objectSelector": {}, "mode": "off"},
        {"name": "a", "objectSelector": {}, "policy": {"normalNodeOnly": {}}},
        {"name": "more", "effect": {"annotations": {"k8s.aliyun.com/eci-image-cache": "true"}}},
    ]
    page.write("selectors", json.dumps(selectors))
    page.title("normalNodeOnly")
    page.expect("#result .entries .note").to_have_text(
        [page.say("isOff"), page.say("decides"), page.say("isForOthers")]
    )
    page.write("selectors", '[{"name": "a", "objectSelector": {}}]')
    page.write("pod", "{kind: Pod, metadata: {name: a}, spec: {hostNetwork: true}}")
    page.on_the_virtual_node()
    page.expect("#verdict .why").to_contain_text(page.say("unsupported", "hostNetwork"))
    page.write("pod", "{kind: Pod, spec: {nodeSelector: {k8s.aliyun.com/vnode: 'false'}}}")
    page.title("refused", page.say("virtualNode"))
    refusal = page.say("refusedKey", "k8s.aliyun.com/vnode", '"false"', '"true"')
    page.expect("#verdict .why").to_contain_text(refusal)


@in_browser
@in_chinese
def test_a_link_carries_all_of_it(opened: Callable[..., Opened], language: str) -> None:
    page = opened(language)
    page.example("fair")
    page.title("fair", page.say("virtualNode"))
    page.page.get_by_label(page.say("labelsOf", "shop")).fill("team=a")
    page.button("copyLink").click()
    page.expect("#toast").to_have_text(page.say("copiedLink"))
    link = page.copied()
    assert page.page.url == link
    expected = [page.text(key) for key in ("selectors", "pod")]
    other = opened(language)
    other.page.goto(link)
    other.title("fair", other.say("virtualNode"))
    assert [other.text(key) for key in ("selectors", "pod")] == expected
    other.expect("#edited").to_have_text(other.say("edited"))
    label = other.page.get_by_label(other.say("labelsOf", "shop"))
    playwright_api.expect(label).to_have_value("team=a")
    other.write("pod", POD)  # then it isn't what the link has any more
    until(lambda: other.page.evaluate("location.hash"), "")
    broken = opened(language)
    broken.page.goto(f"{link[:-20]}")
    broken.on_the_virtual_node()


@in_browser
@in_english
def test_what_can_be_copied(opened: Callable[..., Opened], language: str, tmp_path: Path) -> None:
    page = opened(language)
    selectors = "\n  # EOF\n[]\n\nEOF\n- $HOME `false` \\n 'a'\n"
    page.write("selectors", selectors)
    page.write("virtualNode", "{}")
    page.button("copyConfigMap").click()
    page.expect("#toast").to_have_text(page.say("copied"))
    config_map = yaml.safe_load(page.copied())
    assert config_map["kind"] == "ConfigMap"
    assert config_map["metadata"] == {"name": "eci-profile", "namespace": "kube-system"}
    assert config_map["data"] == {"selectors": selectors, "virtualNode": "{}\n"}
    page.write("selectors", " ")
    page.button("copyCommand").click()
    until(lambda: page.copied().splitlines()[0].split()[0], "kubectl")
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\nprintf "%s\\n" "$*"\ncat\n')
    kubectl.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    shell = ["sh", "-c", page.copied()]
    output = subprocess.check_output(shell, env=environment, text=True)
    arguments, _, document = output.partition("\n")
    assert arguments == (
        "-n kube-system patch configmap eci-profile --type=merge --patch-file=/dev/stdin"
    )
    assert yaml.safe_load(document) == {"data": {"virtualNode": "{}\n", "selectors": None}}


@in_browser
@in_chinese
def test_the_difference_to_the_loaded_profile(opened: Callable[..., Opened], language: str) -> None:
    page = opened(language)
    page.expect("#changes").to_be_hidden()
    page.write("selectors", page.text("selectors").replace('"gpu"', '"gpus"', 1))
    page.expect("#changes summary").to_have_text(page.say("changes", 1, 1))
    page.page.locator("#changes summary").click()
    page.expect("#changes .remove").to_contain_text('"name": "gpu",')
    page.expect("#changes .add").to_contain_text('"name": "gpus",')


CLUSTER = SAMPLE.with_name("cluster.json").read_text("utf-8")
WEB = json.dumps(
    [
        {
            "name": "web",
            "objectSelector": {"matchLabels": {"app": "web"}},
            "effect": {"annotations": {"k8s.aliyun.com/eci-image-cache": "true"}},
        }
    ]
)


@in_browser
@in_english
@pytest.mark.parametrize("event", ["paste", "drop"])
def test_the_plan_of_the_edit(opened: Callable[..., Opened], language: str, event: str) -> None:
    page = opened(language)
    page.open_plan()
    plan = page.page.locator("#make-plan")
    playwright_api.expect(plan).to_be_disabled()
    page.give(event, CLUSTER)
    name = page.say("pasted") if event == "paste" else "cluster.json"
    page.expect("#dumped").to_have_text(page.say("dumped", name, -(-len(CLUSTER) // 1024)))
    assert page.page.locator("#dump").input_value() == ""
    plan.click()
    page.expect("#planned h3").to_have_text(page.say("plan.nothing", 26))
    page.expect("#plan-table tbody").to_have_count(0)

    page.write("selectors", WEB)
    page.expect("#planned").to_contain_text(page.say("stalePlan"))
    plan.click()
    page.expect("#planned h3").to_have_text(page.say("plan.some", 21, 26))
    page.expect("#planned .tag").to_have_text(
        [f"{page.say('plan.placed')} 21", f"{page.say('plan.unsupported')} 1"]
    )
    page.expect("#plan-table tbody th").to_have_text(
        [
            page.say("plan.workload", "Deployment shop/web", 20),
            page.say("plan.workload", "Deployment shop-test/web", 1),
        ]
    )
    first, second = page.page.locator("#plan-table tbody").all()
    playwright_api.expect(first.locator("td").last).to_have_text("20")
    changed = f'k8s.aliyun.com/eci-image-cache {page.say("plan.absent")} → "true"'
    for text in (page.say("plan.outcome", "virtualNodeOnly", "web"), changed):
        playwright_api.expect(first).to_contain_text(text)
    playwright_api.expect(second).to_contain_text("hostPath")
    first.evaluate("node => { node.dataset.kept = 'yes'; }")
    page.page.evaluate("show()")  # as every few seconds
    page.expect("#plan-table [data-kept]").to_have_count(1)

    page.write("selectors", "[{name: web, x: 1}]")
    page.expect("#planned").to_contain_text(page.say("planErrors"))
    playwright_api.expect(plan).to_be_disabled()


@in_browser
@in_chinese
def test_what_cannot_be_planned_is_said(
    opened: Callable[..., Opened], language: str, tmp_path: Path
) -> None:
    page = opened(language)
    page.open_plan()
    page.expect("#plan").to_contain_text("8 MiB")
    page.button("copyPlanCommand").click()
    until(page.copied, page.page.locator("#plan-command").text_content())
    file = tmp_path / "cluster.json"
    file.write_text(" " * (9 * 2**20), "utf-8")
    page.page.locator("#file").set_input_files(file)
    page.expect("#planned").to_have_text(page.say("tooLarge", "cluster.json", "9.0"))
    playwright_api.expect(page.page.locator("#make-plan")).to_be_disabled()
    file.write_text('{"kind": "List", "items": []}', "utf-8")
    page.page.locator("#file").set_input_files(file)
    page.page.locator("#make-plan").click()
    page.expect("#planned").to_contain_text({"en": "no pods and no", "zh": "没有 Pod"}[language])


def test_both_languages_have_all_words() -> None:
    english, chinese = WORDS["en"], WORDS["zh"]
    assert list(english) == list(chinese)
    assert list(english["phrases"]) == list(chinese["phrases"])
    for key, text in english.items():
        if isinstance(text, str):
            places = set(re.findall(r"\{\d\}", text))
            assert places == set(re.findall(r"\{\d\}", chinese[key])), key
            assert text.isascii() or key in ("other", "changes"), key
            assert not re.search(r"[,;:?!]", chinese[key].replace('eci: "', "")), key
    page = (STATIC / "page.js").read_text("utf-8") + (STATIC / "page.html").read_text("utf-8")
    said = set(re.findall(r"""(?:say|part)\((?:\w+ \? )?"([\w.]+)\"""", page))
    said |= set(re.findall(r'data-(?:say|name)="(\w+)"', page))
    assert said <= set(english)


@in_browser
@pytest.mark.parametrize(
    ("language", "looks"),
    [  # any two of language, width and scheme together
        ("en", ((390, "light"), (768, "dark"), (1440, "light"))),
        ("zh", ((390, "dark"), (768, "light"), (1440, "dark"))),
    ],
    ids=LOCALES,
)
def test_axe_finds_nothing(
    opened: Callable[..., Opened], language: str, looks: tuple[tuple[int, str], ...]
) -> None:
    page = opened(language, 390)
    page.page.evaluate(axe.AXE_SCRIPT)

    def judged() -> None:
        for width, scheme in looks:
            page.resize(width, scheme)
            ground = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, ground[4:-1].split(","))) < 3 * 128) == (scheme == "dark")
            found = page.page.evaluate("axe.run({resultTypes: ['violations']})")
            assert not found["violations"], axe.AxeResults(found).generate_report()
            assert not page.page.evaluate("document.documentElement.scrollWidth > innerWidth")

    page.write("pod", POD)
    page.on_the_virtual_node()
    judged()
    page.example("arm")
    page.page.locator("#pods button").nth(1).click()
    page.title("refused", page.say("namedNode", "arm"))
    page.page.locator("#changes summary").click()
    judged()
    page.open_plan()
    page.give("drop", CLUSTER)
    page.write("selectors", WEB)
    page.expect("#make-plan").to_be_enabled()
    page.page.locator("#make-plan").click()
    page.expect("#plan-table tbody").to_have_count(2)
    page.expect("#planned h3").to_have_text(page.say("plan.some", 21, 26))
    judged()
    page.write("selectors", '[\n  {"name": "a", "x": {}}\n]')
    until(lambda: len(page.problems()), 1)
    judged()
    page.write("selectors", "[{name: a, objectSelector: {}, policy: {fair: {}}}]")
    page.write("pod", "{kind: Pod, metadata: {name: a, namespace: elsewhere}}")
    page.title("fair", page.say("virtualNode"))
    page.button("reload").click()
    page.expect("#question").to_be_visible()
    judged()


@in_browser
@in_both_languages
def test_no_key_breaks_within_a_word(opened: Callable[..., Opened], language: str) -> None:
    page = opened(language, 390)
    keys = (
        "controller.kubernetes.io/pod-deletion-cost",
        "annotations.example.kubernetes.io/specificationofinstances",
    )
    effect = {"annotations": dict.fromkeys(keys, "1")}
    page.write("selectors", json.dumps([{"name": "a", "objectSelector": {}, "effect": effect}]))
    page.expect("#result code.key").to_have_count(2)
    found = page.page.locator("#result code.key").evaluate_all(
        """nodes => nodes.map((node) => {
          const range = document.createRange(), lines = new Map();
          const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
          while (walker.nextNode()) {
            const text = walker.currentNode;
            for (let index = 0; index < text.length; index += 1) {
              range.setStart(text, index);
              range.setEnd(text, index + 1);
              const top = Math.round(range.getBoundingClientRect().top);
              lines.set(top, (lines.get(top) ?? "") + text.data[index]);
            }
          }
          return Array.from(lines.values());
        })"""
    )
    assert sorted("".join(lines) for lines in found) == sorted(keys)
    for lines in found:
        assert all(line.endswith(("/", "-")) for line in lines[:-1]), lines


@in_browser
def test_it_can_be_used_by_keyboard_alone(opened: Callable[..., Opened]) -> None:
    page = opened()
    reached = []
    for _ in range(16):
        page.page.keyboard.press("Tab")
        reached.append(
            page.page.evaluate(
                "document.activeElement.ariaLabel || document.activeElement.id"
                " || document.activeElement.textContent"
            )
        )
    assert reached[:3] == ["Examples", "copy-link", "language"]
    named = ("selectors", "Workloads", page.say("labelsOf", "default"), page.say("change"))
    assert {*named, "reload", "copy-config-map", "copy-command"} <= set(reached)


def test_what_the_page_asks(server: Server, profile: Path) -> None:
    profile.write_text(SAMPLE.read_text("utf-8"), "utf-8")
    loaded = server.request("GET", "/profile")
    assert loaded.status == 200
    assert loaded.json["valid"]
    assert loaded.json["inForce"] == 3
    assert loaded.json["provider"] == "file"
    question = {"profile": loaded.json["data"], "pod": "kind: Pod", "namespaces": {}}
    answer = server.request("POST", "/explain", json.dumps(question).encode())
    assert answer.status == 200
    assert [each["matches"] for each in answer.json["pods"][0]["selectors"]] == [
        False,
        None,  # the labels of its namespace are unknown
        False,
    ]
    for body in (b"", b"{}", b"[", json.dumps({**question, "pod": 5}).encode()):
        bad = server.request("POST", "/explain", body)
        assert bad.status == 400
        assert bad.json["message"] == (
            "the body must have profile, pod and namespaces; it may have language, en or zh"
        )
    assert server.request("POST", "/explain", b" " * (8 * 2**20 + 1)).status == 413


def test_a_profile_that_is_none(server: Server, profile: Path) -> None:
    profile.write_text("{kind: ConfigMap, metadata: {name: eci-profile}, data: {selectors: 0}}")
    loaded = server.request("GET", "/profile").json
    assert not loaded["valid"]
    assert loaded["data"] == {}
    assert loaded["diagnostics"][0]["message"] == "must be text; write `selectors: |` before it"


def test_its_policy_lets_nothing_else_in(server: Server) -> None:
    nonces = set()
    for _ in range(2):
        reply = server.request("GET", "/")
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert reply.headers["cache-control"] == "no-store"
        policy = dict(
            directive.split(" ", 1)
            for directive in reply.headers["content-security-policy"].split("; ")
        )
        assert policy["default-src"] == "'none'"
        assert policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in str(policy)
        assert policy["script-src"] == policy["style-src"]
        nonce = re.fullmatch(r"'nonce-([\w-]{24})'", policy["script-src"])
        assert nonce
        nonces.add(nonce[1])
        page = reply.body.decode()
        tags = re.findall(r"<(?:script|style)[^>]*>", page)
        own, data = f'nonce="{nonce[1]}"', 'type="application/json"'
        assert len(tags) == 5
        assert all((own in tag) != (data in tag) for tag in tags)
        assert not re.search(r"""<[^>]*\s(?:src|href)=["'](?!#|data:,)""", page.split("<script")[0])
    assert len(nonces) == 2


def test_it_has_a_size_to_bear(server: Server) -> None:
    """The editor is most of it."""
    assert len(server.request("GET", "/").body) < 512 * 1024


def test_it_is_off_by_default(tmp_path: Path) -> None:
    settings = {"ECI_PROFILE_PROVIDER": "file", "ECI_PROFILE_FILE": str(SAMPLE)}
    with serving(settings, tmp_path / "log") as server:
        assert server.request("GET", "/").status == 405
        assert server.request("GET", "/profile").status == 405
        posted = server.request("POST", "/explain", b"{}")
        assert posted.status == 400
        assert "AdmissionReview" in posted.json["message"]
