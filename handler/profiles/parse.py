"""The profile: from the ConfigMap's text to the selectors in force, or every problem it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .model import DEFAULT_POLICY, Profile, Selector, Toleration, VirtualNode
from .problems import Problem, Problems, problem, unreadable
from .schema import (
    WrittenEffect,
    WrittenSelector,
    WrittenToleration,
    WrittenVirtualNode,
    check_selectors,
    check_virtual_node,
)
from .text import MAX_BYTES, Reading, TextError, read, too_large

__all__ = ["ParsedProfile", "ProfileError", "parse"]


class ProfileError(ValueError):
    """The profile can't be taken.

    ``problems`` are the reasons in the order of the text, the first 100; ``count`` is the number
    of all.
    """

    def __init__(self, problems: Problems) -> None:
        self.problems = tuple(problems.first)
        self.count = problems.count
        super().__init__("\n".join(self.lines(len(self.problems))))

    def lines(self, most: int) -> list[str]:
        """A line for each problem, and after so many, one that says how many more there are."""
        shown = [str(problem) for problem in self.problems[:most]]
        more = self.count - len(shown)
        return [*shown, f"and {more} more"] if more else shown


@dataclass(frozen=True, slots=True)
class ParsedProfile(Profile):
    """A profile, and what is allowed in its text but hardly meant, as far as reading it tells."""

    warnings: tuple[Problem, ...] = ()


def parse(data: Mapping[str, object] | None) -> ParsedProfile:
    """Read the data of a ConfigMap. Keys but selectors and virtualNode belong to others.

    Raises ProfileError, which names every problem: a profile is taken whole or not at all.
    """
    problems = Problems()
    selectors_text = _read(data, "selectors", problems)
    selectors, found = check_selectors(_given(selectors_text.value, []))
    problems.add(found.first, found.count)
    node_text = _read(data, "virtualNode", problems)
    node, found = check_virtual_node(_given(node_text.value, {}))
    problems.add(found.first, found.count)
    if problems.count:
        raise ProfileError(problems)
    warnings = (
        *_duplicates("selectors", selectors_text),
        *_duplicates("virtualNode", node_text),
        *_warnings(selectors, selectors_text.value),
    )
    del selectors_text  # a large one's memory serves for what is made now
    ordered = sorted(enumerate(selectors), key=lambda entry: -(entry[1].priority or 0))
    in_force = tuple(_selector(*entry) for entry in ordered)
    return ParsedProfile(in_force, _virtual_node(node), warnings)


def _read(data: Mapping[str, object] | None, key: str, problems: Problems) -> Reading:
    text = (data or {}).get(key)
    if text is None:
        return Reading(None)
    if not isinstance(text, str):
        message = f"must be text; write `{key}: |` before it"
    elif size := too_large(text):
        message = f"has {size} bytes, but a ConfigMap holds at most {MAX_BYTES} (1.5 MiB)"
    else:
        try:
            return read(text)
        except TextError as error:
            problems.add([unreadable(key, error)])
            return Reading(None)
    problems.add([problem(key, None, (), message)])
    return Reading(None)


def _given(value: Any, default: Any) -> Any:
    return default if value in (None, "") else value


def _duplicates(root: str, reading: Reading) -> Iterator[Problem]:
    for location in reading.duplicates:
        message = "is given twice in one object, the last one counts"
        yield problem(root, reading.value, location, message, at_key=True)


def _warnings(selectors: Iterable[WrittenSelector], value: Any) -> Iterator[Problem]:
    for index, selector in enumerate(selectors):
        prefer = selector.policy and selector.policy.normal_node_prefer
        if prefer and (prefer.cpu_ratio, prefer.memory_ratio) != (None, None):
            yield problem(
                "selectors",
                value,
                (index, "policy", "normalNodePrefer"),
                "cpuRatio and memoryRatio are without effect",
            )


def _selector(index: int, written: WrittenSelector) -> Selector:
    namespace, pod = written.namespace_selector, written.object_selector
    effect = written.effect or WrittenEffect()
    return Selector(
        written.name,
        namespace.requirements() if namespace else None,
        pod.requirements() if pod else None,
        dict(sorted((effect.annotations or {}).items())),
        dict(sorted((effect.labels or {}).items())),
        written.policy.name() if written.policy else DEFAULT_POLICY,
        index,
    )


def _virtual_node(written: WrittenVirtualNode) -> VirtualNode:
    node = VirtualNode()
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
