"""What bounds the work on what others write: a row for each loop, regex and recursion over it.

Twice the input may take three times the time at most, and memory as many times the input as the
row says. To add to the table, append a `Row`: its name, what bounds it, how an input of about
``size`` bytes is made, and what is done with it.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from handler.admission.changes import changes
from handler.admission.review import BadReviewError, Response
from handler.admission.review import read as read_review
from handler.admission.review import write as write_review
from handler.admission.warnings import warnings
from handler.author.comparison import compare_on
from handler.author.explanation import diff, document, explain
from handler.author.inventory import Inventory, Relevant
from handler.author.objects import objects_of_file
from handler.author.plan_report import report, to_json
from handler.author.profile_file import read_profile
from handler.author.workloads import PodError, read_pods
from handler.cluster.registration import narrowed
from handler.decision.decide import decide_pod
from handler.decision.matching import Matcher
from handler.lint.diagnostics import examine
from handler.lint.implication import Demands
from handler.profiles.labels import check_label_key, check_label_value, parse_labels
from handler.profiles.model import Profile, Requirement
from handler.profiles.parse import ProfileError, parse
from handler.profiles.text import TextError, locate, read, read_documents


@dataclass(frozen=True)
class Row:
    """``make`` gives an input of about so many bytes; ``memory``: at most so many times that.

    ``ceiling``: what takes no longer, in seconds, may grow as it likes.
    """

    name: str
    bound: str
    make: Callable[[int], Any]
    run: Callable[[Any], object]
    memory: float = 8.0
    size: int = 2**16
    ceiling: float = 0.0


def refused(run: Callable[[Any], object], *errors: type[Exception]) -> Callable[[Any], None]:
    """The same, where the input may be refused."""

    def quiet(given: Any) -> None:
        with contextlib.suppress(*errors):
            run(given)

    return quiet


def repeated(unit: str, before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda size: before + unit * (size // len(unit.encode())) + after


def numbered(unit: str, before: str = "", after: str = "") -> Callable[[int], str]:
    """The unit again and again, with a number in place of its ``%d``."""

    def make(size: int) -> str:
        count = size // (len(unit) + 3)
        return before + "".join(unit % number for number in range(count)) + after

    return make


reading = refused(read, TextError)
parsing = refused(lambda text: parse({"selectors": text}), ProfileError)
documents = refused(lambda text: [None for _ in read_documents(text)], TextError)
nodes = refused(lambda text: parse({"virtualNode": text}), ProfileError)
CONFIG_MAP = "kind: ConfigMap\nmetadata: {name: eci-profile}\ndata:\n  selectors: SELECTORS"


def examining(text: str) -> None:
    examine({"selectors": text})


def checking(text: str) -> None:
    file = read_profile(text, "kube-system", "eci-profile")
    diagnostics = examine(file.data)
    assert len(diagnostics) == 101
    for diagnostic in diagnostics:
        file.position("selectors", diagnostic.position)


profile_of = refused(lambda text: read_profile(text, "", ""), TextError, LookupError)
pods_of = refused(lambda text: sum(1 for _ in read_pods(text)), PodError)


def explaining(text: str) -> None:
    matcher = Matcher(parse({"selectors": '[{"name": "a", "objectSelector": {}}]'}))
    for pod in read_pods(text):
        explained = document(pod, "a", {}, explain(pod.pod, {}, matcher))
        diff(pod.value, explained["pod"])


TEXT = [
    Row("escaped quotes", "one pass over marks", repeated('\\"', '["'), reading),
    Row("escaped quotes after a comment", "one pass over marks", repeated('\\"', '#\n"'), reading),
    Row("quotes", "one pass over marks", repeated('"', "["), reading),
    Row("single quotes", "one pass over marks", repeated("'", "["), reading),
    Row("pairs of quotes", "one pass over marks", repeated("''", "["), reading),
    Row("comments", "one pass over marks", repeated("#\n", "[", "]"), reading),
    Row(
        "comments before a list",
        "one pass over marks",
        repeated("# c\n", "", "- a: ["),
        reading,
        memory=16,
    ),
    Row("a comment without end", "one pass over marks", repeated("#", "["), reading),
    Row("tabs", "one pass over marks", repeated("\t", "[", "x"), reading),
    Row("backslashes", "one pass over marks", repeated("\\", "["), reading),
    Row(
        "full-width punctuation",
        "one pass over mistakes",
        repeated("a" * 30 + "：", "{", "]"),  # noqa: RUF001
        reading,
    ),
    Row("slashes", "one pass over mistakes", repeated("// ", "[", "\n]]"), reading),
    Row("dashes and a tab", "one pass over mistakes", repeated("- \t", "", "\n]"), reading),
    Row(
        "keys and mistakes",
        "one pass over mistakes",
        repeated("a" * 30 + ": ，\n", "", "]"),  # noqa: RUF001
        reading,
    ),
    Row("blanks", "json's own scanner", repeated(" "), reading),
    Row("line breaks", "the YAML parser", repeated("\n"), reading),
    Row(
        "line breaks before an error",
        "one pass over line breaks",
        repeated("\n", "[", ""),
        reading,
    ),
    Row("digits", "an int has 100 digits at most", repeated("9", "[", "]"), reading),
    Row("digits in YAML", "an int has 100 digits at most", repeated("9", "- "), reading),
    Row("digits of a fraction", "Decimal is linear", repeated("9", "- 1."), reading),
    Row(
        "digits and a letter",
        "no part of the regex can stand for another",
        repeated("9", "- ", "x9"),
        reading,
    ),
    Row(
        "digits of an exponent",
        "Decimal and float are linear",
        repeated("9", "[1e", "]"),
        reading,
    ),
    Row("a long plain text", "the YAML parser", repeated("a "), reading),
    Row("a block", "the YAML parser", repeated("a\n ", "a: |\n "), reading),
    Row("values of a list", "MAX_VALUES", repeated("1,", "[", "1]"), reading, memory=40),
    Row("values of a list in YAML", "MAX_VALUES", repeated("a,", "[", "]"), reading, memory=64),
    Row("lists in a list", "MAX_VALUES", repeated("[],", "[", "[]]"), reading, memory=48),
    Row("lists in a list in YAML", "MAX_VALUES", repeated("[],", "[", "a]"), reading, memory=64),
    Row("objects", "MAX_VALUES", repeated("{},", "[", "{}]"), reading, memory=64),
    Row("nested lists", "MAX_DEPTH", repeated("["), reading),
    Row(
        "nested lists that end",
        "MAX_DEPTH",
        lambda size: "[" * (size // 2) + "]" * (size // 2),
        reading,
        memory=80,
    ),
    Row("nested lists in YAML", "MAX_DEPTH", repeated("- "), reading),
    Row("nested objects", "MAX_DEPTH", repeated('{"a":'), reading, memory=80),
    Row(
        "nested to the limit",
        "MAX_DEPTH",
        repeated("[" * 90 + "]" * 90 + ",", "[", "0]"),
        reading,
        memory=48,
    ),
    Row(
        "nested to the limit in YAML",
        "MAX_DEPTH",
        repeated("[" * 90 + "]" * 90 + ",", "[", "a]"),
        reading,
        memory=64,
    ),
    Row("keys", "a dict", numbered('"%d":1,', "{", '"a":1}'), reading, memory=64),
    Row(
        "a key given again and again",
        "a Counter",
        repeated('"a":1,', "{", '"a":1}'),
        reading,
        memory=64,
    ),
    Row(
        "keys given twice",
        "a Counter for each object",
        repeated('{"a":1,"a":1},', "[", "{}]"),
        reading,
        memory=64,
    ),
    Row(
        "keys given twice in YAML",
        "a set for each object",
        numbered("{a%d: 1, b: 1, b: 1},", "[", "]"),
        reading,
        memory=64,
    ),
    Row(
        "a key given again and again in YAML",
        "a set for each object",
        repeated("a: 1\n"),
        reading,
    ),
    Row(
        "keys given twice, each once",
        "a set for each object",
        lambda size: numbered("a%d: 1\n")(size // 2) * 2,
        reading,
        memory=64,
    ),
    Row("documents", "reading stops at the second", repeated("---\n"), reading),
    Row("documents of a stream", "each is let go", repeated("--- a\n"), documents),
    Row("objects of a stream", "each is let go", repeated("a: [b]\n---\n"), documents),
    Row("anchors", "reading stops at the first", repeated("- &a b\n"), reading),
    Row("tags", "reading stops at the first", repeated("!a", "- "), reading),
    Row("questions", "reading stops at the first", repeated("? "), reading),
    Row("places of values", "MAX_VALUES", repeated("a,", "[", "]"), locate, memory=160),
    Row(
        "places of nested values",
        "a place holds those in it",
        repeated("[" * 90 + "]" * 90 + ",", "[", "a]"),
        locate,
        memory=240,
    ),
    Row("places with surrogates", "one pass over escapes", repeated("\\ud83d", '["', '"]'), locate),
    Row("places with backslashes", "one pass over escapes", repeated("\\\\", '["', '"]'), locate),
]


def selectors(fields: str, after: str = "") -> Callable[[int], str]:
    """Selectors of these fields, with a number in place of each ``%d``."""
    unit = f'{{"name":"%d",{fields}}}'

    def make(size: int) -> str:
        count = size // (len(unit) + 3 * unit.count("%d"))
        given = (unit % ((number,) * unit.count("%d")) for number in range(count))
        return f"[{','.join([*given, *filter(None, [after])])}]"

    return make


def entries(before: str, unit: str, after: str) -> Callable[[int], str]:
    """One selector, with an entry again and again in it."""
    return numbered(unit, '[{"name":"a",' + before, after + "}]")


PROFILES = [
    Row(
        "selectors", "a loop", selectors('"objectSelector":{"matchLabels":{"a":"%d"}}'), parsing, 40
    ),
    Row(
        "labels that are no text",
        "MAX_PROBLEMS",
        selectors('"objectSelector":{},"effect":{"labels":{"a":%d}}'),
        parsing,
        32,
    ),
    Row(
        "labels that are no text in one selector",
        "the first entries",
        entries('"effect":{"labels":{', '"a%d":1,', '"a":1}}'),
        parsing,
        48,
    ),
    Row("unknown fields", "MAX_PROBLEMS", selectors('"objectselector":{}'), parsing, 32),
    Row(
        "unknown fields in one selector",
        "the first entries",
        entries("", '"a%d":1,', '"b":1'),
        parsing,
        48,
    ),
    Row(
        "unknown fields of all kinds",
        "MAX_PROBLEMS",
        selectors('"objectSelector":{"a":1},"effect":{"b":1},"policy":{"c":1}'),
        parsing,
        40,
    ),
    Row(
        "a long unknown field",
        "nothing long is compared",
        repeated("objectselector", '[{"', '":1}]'),
        parsing,
    ),
    Row(
        "a name given twice",
        "a dict of names",
        repeated('{"name":"a","objectSelector":{}},', "[", "{}]"),
        parsing,
        40,
    ),
    Row("a long name", "what is shown is cut", repeated("a", '[{"name":"', '"}]'), parsing),
    Row(
        "values of an expression",
        "10 000 values of a selector",
        entries(
            '"objectSelector":{"matchExpressions":[{"key":"a","operator":"In","values":[',
            '"-%d",',
            '"a"]}]}',
        ),
        parsing,
        80,
    ),
    Row(
        "expressions",
        "10 000 values of a selector",
        entries('"objectSelector":{"matchExpressions":[', '{"key":"-%d"},', "{}]}"),
        parsing,
        64,
    ),
    Row(
        "policies",
        "the first entries",
        entries('"policy":{', '"a%d":{},', '"fair":{}}'),
        parsing,
        48,
    ),
    Row(
        "an object where any value may be",
        "no recursion",
        repeated("[", '[{"name":"a","objectSelector":{},"policy":{"normalNodePrefer":{"cpuRatio":'),
        parsing,
    ),
    Row(
        "keys given twice where any value may be",
        "the first 100",
        repeated(
            '{"a":1,"a":1},',
            '[{"name":"a","objectSelector":{},"policy":{"normalNodePrefer":{"cpuRatio":[',
            "1]}}}]",
        ),
        parsing,
        64,
    ),
    Row(
        "a long deletion cost",
        "10 digits",
        repeated(
            "9",
            '[{"name":"a","effect":{"annotations":{"controller.kubernetes.io/pod-deletion-cost":"',
            '"}}}]',
        ),
        parsing,
    ),
    Row(
        "a long priority",
        "100 digits",
        repeated("9", '[{"name":"a","objectSelector":{},"priority":', "}]"),
        parsing,
    ),
    Row(
        "annotations",
        "a loop",
        entries(
            '"objectSelector":{},"effect":{"annotations":{', '"k8s.aliyun.com/%d":"",', '"a":""}}'
        ),
        parsing,
        48,
    ),
    Row(
        "tolerations",
        "1 000 values of a node",
        repeated("{},", '{"tolerations":[', "{}]}"),
        nodes,
        64,
    ),
    Row(
        "labels of a node",
        "1 000 values of a node",
        numbered('"%d":"-",', '{"nodeSelector":{', '"a":""}}'),
        nodes,
        64,
    ),
]

DIAGNOSTICS = [
    Row(
        "positions of problems",
        "the text is located once",
        selectors('"objectSelector":{},"effect":{"labels":{"a":%d}}'),
        examining,
        64,
    ),
    Row("warnings", "MAX_PROBLEMS", selectors('"objectSelector":{}'), examining, 64),
    Row(
        "selectors that all match",
        "a million steps",
        selectors('"objectSelector":{"matchLabels":{"a":"b"}},"effect":{"labels":{"k%d":""}}'),
        examining,
        64,
        ceiling=1.0,
    ),
    Row(
        "selectors with a label in common",
        "a million steps",
        selectors('"objectSelector":{"matchLabels":{"a":"b","c":"%d"}}'),
        examining,
        64,
        ceiling=1.0,
    ),
    Row(
        "labels that others ask for",
        "a million steps",
        selectors(
            '"objectSelector":{"matchExpressions":[{"key":"k%d","operator":"DoesNotExist"}]},"effect":{"labels":{"k%d":""}}'
        ),
        examining,
        64,
        ceiling=1.0,
    ),
    Row(
        "excluded values",
        "a set",
        entries(
            '"objectSelector":{"matchExpressions":[',
            '{"key":"a","operator":"NotIn","values":["%d"]},',
            '{"key":"b","operator":"Exists"}]}',
        ),
        examining,
        64,
        size=2**14,
    ),
    Row(
        "annotations that ECI does not have",
        "MAX_PROBLEMS",
        entries(
            '"objectSelector":{"matchLabels":{"a":"b"}},"effect":{"annotations":{',
            '"k8s.aliyun.com/%d":"",',
            '"a":""}}',
        ),
        examining,
        64,
    ),
    Row(
        "positions in a file",
        "its lines are split once",
        numbered("    - {name: a%d, x: 1}\n", CONFIG_MAP.replace("SELECTORS", "|\n")),
        checking,
        160,
    ),
]

LABELS = [
    Row("a key", "a length", repeated("a"), refused(check_label_key, ValueError)),
    Row(
        "a key with a prefix",
        "a length",
        repeated("a", after="/a"),
        refused(check_label_key, ValueError),
    ),
    Row(
        "a key with a prefix of parts",
        "a length",
        repeated("a.", after="/a"),
        refused(check_label_key, ValueError),
    ),
    Row("a value", "a length", repeated("a", after="-"), refused(check_label_value, ValueError)),
    Row(
        "labels as they are written",
        "one pass",
        numbered("a%d=b,"),
        refused(parse_labels, ValueError),
        40,
    ),
    Row(
        "labels as YAML has them",
        "one pass",
        numbered('"a%d": "b"\n'),
        refused(parse_labels, ValueError),
        40,
    ),
    Row("nothing between commas", "one pass", repeated(","), refused(parse_labels, ValueError)),
    Row(
        "a long label as it is written",
        "what is shown is cut",
        repeated("a"),
        refused(parse_labels, ValueError),
    ),
    Row(
        "demands",
        "sets, made once",
        lambda size: [
            Requirement("a", "NotIn", frozenset((str(number),))) for number in range(size // 64)
        ],
        Demands,
    ),
]

FILES = [
    Row("blank lines before a list", "a line at a time", repeated("\n", after="x"), profile_of, 32),
    Row("comments before a list", "a line at a time", repeated("# c\n", after="[]"), profile_of),
    Row("marks before a list", "a line at a time", repeated("---\n", after="x"), profile_of, 64),
    Row("blanks before a list", "a line at a time", repeated(" ", after="\n"), profile_of),
    Row("objects in a stream", "each is let go", repeated("{kind: Pod}\n---\n"), profile_of, 8),
    Row(
        "items of a List",
        "a value at a time",
        repeated("{kind: Pod},", "{kind: List, items: [", "]}"),
        profile_of,
        160,
    ),
    Row("Lists in Lists", "MAX_DEPTH", repeated("{kind: List, items: ["), profile_of),
    Row("pods", "a value at a time", repeated("{kind: Pod}\n---\n"), pods_of, 80),
    Row(
        "templates without pods",
        "each value is looked at once",
        repeated("template: {spec: [", "kind: Rollout\nspec: {", "]}"),
        pods_of,
        80,
    ),
    Row(
        "values of an object that has no pod",
        "each value is looked at once",
        repeated("  - {template: {spec: a}}\n", "kind: Rollout\nspec:\n"),
        pods_of,
        160,
    ),
    Row(
        "a pod of many lines",
        "10 000 lines are compared",
        numbered("    a%d: b\n", "kind: Pod\nmetadata:\n  annotations:\n"),
        explaining,
        256,
    ),
    Row(
        "a pod of lines that are all the same",
        "10 000 lines are compared",
        repeated("  - a\n", "kind: Pod\nspec:\n  x:\n"),
        explaining,
        256,
    ),
    Row(
        "wrong labels of a pod",
        "the first is told",
        numbered("    a%d: 1\n", "kind: Pod\nmetadata:\n  labels:\n"),
        pods_of,
        160,
    ),
]

IN_FORCE = parse(
    {
        "selectors": """[{"name": "a", "objectSelector": {}, "policy": {"normalNodePrefer": {}},
            "effect": {"annotations": {"0": "x"}, "labels": {"1": "y"}}}]""",
    }
)


def reviewing(body: bytes) -> None:
    """All that a review goes through on the event loop, but its look-ups."""
    review = read_review(body)
    assert review.pod
    labels = (review.pod.metadata and review.pod.metadata.labels) or {}
    matcher = Matcher(IN_FORCE)
    decision = decide_pod(review.pod, matcher.match(labels, {}), matcher, "1")
    response = Response(operations=decision.operations, warnings=warnings(decision))
    write_review(review, response.encoded())


def in_pod(path: str, brackets: str, unit: str) -> Callable[[int], bytes]:
    """A review of a pod in which a field has the unit again and again."""
    keys = path.split(".")
    head = """{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1",
        "operation":"CREATE","resource":{"resource":"pods"},"namespace":"a","object":{"""
    before = head + "".join(f'"{key}":{{' for key in keys[:-1]) + f'"{keys[-1]}":' + brackets[0]
    after = unit.replace("%d", "last").rstrip(",") + brackets[1]
    make = (numbered if "%d" in unit else repeated)(unit, before, after)
    return lambda size: (make(size) + "}" * (len(keys) + 2)).encode()


deciding = refused(reviewing, BadReviewError)
REQUIRED = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution"
ENTRIES = "10 000 entries"

REVIEWS = [
    Row("labels of a pod", ENTRIES, in_pod("metadata.labels", "{}", '"%d":"",'), deciding, 16),
    Row(
        "annotations of a pod",
        ENTRIES,
        in_pod("metadata.annotations", "{}", '"%d":"",'),
        deciding,
        16,
    ),
    Row("owners", ENTRIES, in_pod("metadata.ownerReferences", "[]", "{},"), deciding, 24),
    Row("labels of its node", ENTRIES, in_pod("spec.nodeSelector", "{}", '"%d":"",'), deciding, 16),
    Row("tolerations of a pod", ENTRIES, in_pod("spec.tolerations", "[]", "{},"), deciding, 24),
    Row("terms", ENTRIES, in_pod(f"{REQUIRED}.nodeSelectorTerms", "[]", "{},"), deciding, 24),
    Row(
        "conditions",
        ENTRIES,
        in_pod(
            f"{REQUIRED}.nodeSelectorTerms",
            "[]",
            '{"matchExpressions":[{"key":"a","operator":"In","values":["%d"]}]},',
        ),
        deciding,
    ),
    Row("preferred terms", ENTRIES, in_pod(PREFERRED, "[]", "{},"), deciding, 40),
    Row(
        "containers",
        "skipped, not built",
        in_pod("spec.containers", "[]", '{"env":[[]]},'),
        deciding,
    ),
    Row(
        "commas in strings",
        "chunks",
        in_pod("metadata.labels", "{}", '"%d":",,,,,,,,,,,,,,,,",'),
        deciding,
        16,
    ),
    Row(
        "quotes in strings",
        "chunks",
        in_pod("metadata.labels", "{}", r'"%d":"\"\"\"\",'),
        deciding,
        16,
    ),
    Row(
        "no review",
        "skipped, not built",
        repeated("[],", "[", "[]]"),
        lambda text: deciding(text.encode()),
    ),
    Row("no JSON", "reading stops", repeated('"', "{"), lambda text: deciding(text.encode())),
]


def renaming(count_of: int) -> tuple[dict[str, str], dict[str, str]]:
    """Two profiles of about so many bytes together, each with selectors of its own and others."""
    old, new = (
        "[" + ",".join(f'{{"name":"{name}{n}"}}' for n in range(count_of // 40)) + "]"
        for name in ("", "x")
    )
    return {"selectors": old}, {"selectors": f"{new[:-1]},{old[1:]}"}


EDITS = [
    Row(
        "selectors of an edit",
        "one look-up for each",
        renaming,
        lambda edit: changes(*edit),
        memory=48,
    ),
]


WIDE = {"webhooks": [{"name": "mutate.eci-profile.svc", "rules": [{"resources": ["pods"]}]}]}


def narrowing(text: str) -> None:
    """What becomes of the registration by a profile."""
    narrowed(WIDE, parse({"selectors": text}))


REGISTRATIONS = [
    Row(
        "distinct pairs of selectors",
        "64 pairs",
        selectors('"objectSelector":{"matchLabels":{"a":"%d"}}'),
        narrowing,
        40,
    ),
    Row(
        "selectors of one pair",
        "a dict of pairs",
        selectors('"objectSelector":{"matchLabels":{"a":"b"}}'),
        narrowing,
        40,
    ),
    Row(
        "values of a pair",
        "512 KiB",
        entries(
            '"objectSelector":{"matchExpressions":[{"key":"a","operator":"In","values":[',
            '"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx%d",',
            '"a"]}]}',
        ),
        narrowing,
        80,
    ),
    Row(
        "expressions of a pair",
        "10 000 values of a selector",
        entries(
            '"namespaceSelector":{"matchExpressions":[',
            '{"key":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%d","operator":"Exists"},',
            '{"key":"a","operator":"Exists"}]}',
        ),
        narrowing,
        64,
    ),
]


EDITED = parse({"selectors": json.dumps([{"name": "b", "objectSelector": {}}])})
OF_NAMESPACES = parse(
    {
        "selectors": json.dumps(
            [
                {
                    "name": f"{number}",
                    "namespaceSelector": {"matchLabels": {"a": "b"}},
                    "objectSelector": {"matchLabels": {"c": f"{number}"}},
                }
                for number in range(1000)
            ]
        )
    }
)


def planning(text: str, new: Profile = EDITED) -> None:
    inventory = Inventory(Relevant(IN_FORCE, new))
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        for value in objects_of_file(file.name):
            inventory.add(value)
    comparison = compare_on(inventory, IN_FORCE, new)
    sum(map(len, report(comparison)))
    to_json(comparison, "en")


def planning_by_namespaces(text: str) -> None:
    planning(text, OF_NAMESPACES)


OWNED = (
    '{"kind":"Pod","metadata":{"ownerReferences":[{"kind":"A","name":"%d","controller":true}]}}\n'
)

PLANS = [
    Row("pods of as many workloads", "a dict", numbered(OWNED), planning, 64),
    Row(
        "pods that are all alike",
        "they are counted",
        repeated('{"kind":"Pod","metadata":{}},', '{"items":[', "{}]}"),
        planning,
        40,
    ),
    Row(
        "pods that are all different",
        "a dict",
        numbered('{"kind":"Pod","metadata":{"annotations":{"0":"%d"}}}\n'),
        planning,
        40,
    ),
    Row(
        "pods in unknown namespaces",
        "an index of selectors",
        numbered('{"kind":"Pod","metadata":{"namespace":"%d","labels":{"c":"1"}}}\n'),
        planning_by_namespaces,
        80,
    ),
    Row(
        "owners of a pod",
        "the first that controls it",
        repeated("{},", '{"kind":"Pod","metadata":{"ownerReferences":[', "{}]}}"),
        planning,
        80,
    ),
]

TABLE = [
    *EDITS,
    *REGISTRATIONS,
    *PLANS,
    *TEXT,
    *PROFILES,
    *DIAGNOSTICS,
    *LABELS,
    *FILES,
    *REVIEWS,
]
