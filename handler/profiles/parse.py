"""Parses a profile: from the data of the ConfigMap to selectors, or to its problems."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from ..messages.message import Language, Message, translated
from .mistakes import mistake_in
from .model import DEFAULT_POLICY, NoMatchLog, Profile, Selector, Toleration, VirtualNode
from .problems import Problem, Problems, either, problem, show, unreadable
from .schema import (
    WrittenEffect,
    WrittenLog,
    WrittenSelector,
    WrittenToleration,
    WrittenVirtualNode,
    check_log,
    check_selectors,
    check_virtual_node,
    check_virtual_nodes,
)
from .text import MAX_BYTES, Reading, TextError, read, too_large

__all__ = ["KEYS", "ParsedProfile", "ProfileError", "count_selectors", "parse"]

_RECORDS = ("needed", "always")
_DEFAULTS: Mapping[str, Any] = {
    "selectors": [],
    "virtualNode": {},
    "virtualNodes": {},
    "record": "needed",
    "log": {},
}
KEYS = tuple(_DEFAULTS)
"""The keys of the ConfigMap that are read."""
_MOST_KEYS = 1_000  # examined for misspelt ones
_LONGEST_KEY = 40
_CLOSE = 0.8


class ProfileError(ValueError):
    """The profile is invalid.

    ``problems`` are the first 100 in the order of the text; ``count`` is the number of all.
    """

    def __init__(self, problems: Problems) -> None:
        self.problems = tuple(problems.first)
        self.count = problems.count
        super().__init__("\n".join(self.lines(len(self.problems))))

    def lines(self, most: int, language: Language = "en") -> list[str]:
        """Return a line for each problem, at most so many, and one that counts the others."""
        shown = [problem.told(language) for problem in self.problems[:most]]
        more = self.count - len(shown)
        if more:
            shown.append(translated(Message("and {count} more", count=more), language))
        return shown


@dataclass(frozen=True, slots=True)
class ParsedProfile(Profile):
    """A profile, and the warnings that were found while it was read."""

    warnings: tuple[Problem, ...] = ()


def parse(data: Mapping[str, object] | None) -> ParsedProfile:
    """Read the data of a ConfigMap. Keys other than `KEYS` are ignored.

    Raises ProfileError with every problem: a profile is used as a whole or not at all.
    """
    texts = {key: _read(data, key) for key in KEYS}
    given = {key: _given(key, reading.value) for key, (reading, _) in texts.items()}
    node, of_node = check_virtual_node(given["virtualNode"])
    nodes, of_nodes = check_virtual_nodes(given["virtualNodes"])
    selectors, of_selectors = check_selectors(given["selectors"], nodes)
    log, of_log = check_log(given["log"])
    found = (of_selectors, of_node, of_nodes, _check_record(given["record"]), of_log)
    problems = Problems()
    for (_, unread), of_value in zip(texts.values(), found, strict=True):
        problems.extend(unread)
        problems.extend(of_value)
    if problems.count:
        raise ProfileError(problems)
    warnings = (
        *(each for key in KEYS for each in _duplicates(key, texts[key][0])),
        *_warnings(selectors, given["selectors"]),
        *_misspelt_keys(data or {}),
    )
    always = given["record"] == "always"
    del texts, given  # frees the memory of a large one before the selectors are built
    ordered = sorted(enumerate(selectors), key=lambda entry: -(entry[1].priority or 0))
    default = _virtual_node("", node)
    named = {name: _virtual_node(name, written) for name, written in nodes.items()}
    in_force = tuple(_selector(rank, *entry, default, named) for rank, entry in enumerate(ordered))
    nodes_in_force = (default, *named.values())
    return ParsedProfile(in_force, nodes_in_force, always, _no_match_log(log), warnings)


def count_selectors(data: Mapping[str, object]) -> int | None:
    """Return the length of the list of selectors, valid or not; None if there is no list."""
    reading, problems = _read(data, "selectors")
    value = _given("selectors", reading.value)
    return len(value) if isinstance(value, list) and not problems.count else None


def _read(data: Mapping[str, object] | None, key: str) -> tuple[Reading, Problems]:
    text, problems = (data or {}).get(key), Problems()
    if text is None:
        return Reading(None), problems
    if not isinstance(text, str):
        message = Message("must be text; write `{key}: |` before it", key=key)
    elif size := too_large(text):
        message = Message(
            "has {size} bytes, but a ConfigMap holds at most {most} (1.5 MiB)",
            size=size,
            most=MAX_BYTES,
        )
    else:
        try:
            reading = read(text)
            if isinstance(reading.value, str) and (mistake := mistake_in(text)):
                raise mistake
        except TextError as error:
            problems.add([unreadable(key, error)])
            return Reading(None), problems
        return reading, problems
    problems.add([problem(key, None, (), message)])
    return Reading(None), problems


def _given(key: str, value: Any) -> Any:
    return _DEFAULTS[key] if value in (None, "") else value


def _check_record(value: Any) -> Problems:
    problems = Problems()
    if value not in _RECORDS:
        expected = either(list(map(show, _RECORDS)))
        message = Message("must be {expected}, got {value}", expected=expected, value=show(value))
        problems.add([problem("record", value, (), message)])
    return problems


def _duplicates(root: str, reading: Reading) -> Iterator[Problem]:
    for location in reading.duplicates:
        message = Message("duplicate key, the last value is used")
        yield problem(root, reading.value, location, message, at_key=True)


def _warnings(selectors: Iterable[WrittenSelector], value: Any) -> Iterator[Problem]:
    for index, selector in enumerate(selectors):
        prefer = selector.policy and selector.policy.normal_node_prefer
        if prefer and (prefer.cpu_ratio, prefer.memory_ratio) != (None, None):
            yield problem(
                "selectors",
                value,
                (index, "policy", "normalNodePrefer"),
                Message("cpuRatio and memoryRatio have no effect"),
            )


def _misspelt_keys(data: Mapping[str, object]) -> Iterator[Problem]:
    """Warn about keys that look misspelt. All other keys belong to other components."""
    known = {key.lower(): key for key in KEYS}
    for key in islice(data, _MOST_KEYS):
        if key not in KEYS and len(key) <= _LONGEST_KEY:
            close = difflib.get_close_matches(key.lower(), known, n=1, cutoff=_CLOSE)
            if close:
                message = Message(
                    "unknown key, ignored; did you mean {meant}?",
                    meant=known[close[0]],
                )
                yield problem(key, None, (), message)


def _selector(
    rank: int,
    index: int,
    written: WrittenSelector,
    default: VirtualNode,
    named: Mapping[str, VirtualNode],
) -> Selector:
    namespace, pod = written.namespace_selector, written.object_selector
    effect = written.effect or WrittenEffect()
    effect_only = namespace is None and pod is None
    node = None if effect_only and written.virtual_node is None else default
    return Selector(
        written.name,
        namespace.requirements() if namespace else None,
        pod.requirements() if pod else None,
        dict(sorted((effect.annotations or {}).items())),
        dict(sorted((effect.labels or {}).items())),
        effect.at or "creation",
        written.policy.name() if written.policy else DEFAULT_POLICY,
        written.mode or "enforce",
        100 if written.percentage is None else written.percentage,
        node if written.virtual_node is None else named[written.virtual_node],
        index,
        rank,
    )


def _no_match_log(written: WrittenLog) -> NoMatchLog | None:
    if written.no_match is None:
        return None
    rate = written.no_match.rate
    return NoMatchLog(written.no_match.namespace, 1.0 if rate is None else float(rate))


def _virtual_node(name: str, written: WrittenVirtualNode) -> VirtualNode:
    node = VirtualNode(name=name, unsupported=written.unsupported or "warn")
    if written.node_selector is not None:
        node = replace(node, node_selector=dict(sorted(written.node_selector.items())))
    if written.tolerations is not None:
        node = replace(node, tolerations=tuple(map(_toleration, written.tolerations)))
    return node


def _toleration(written: WrittenToleration) -> Toleration:
    return Toleration(
        written.key,
        written.operator,
        written.value,
        written.effect,
        written.toleration_seconds,
    )
