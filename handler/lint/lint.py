"""Warns about probable mistakes in a valid profile. For edits only: too slow for each load."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from pathlib import Path

import yaml

from ..decision.matching import Matcher
from ..messages.message import Message
from ..profiles.collection import put_off
from ..profiles.model import OPT_OUT, Selector, unmet
from ..profiles.parse import ParsedProfile
from ..profiles.problems import MAX_PROBLEMS, Problem, problem, show
from ..profiles.text import Location
from .implication import Demands

__all__ = ["lint"]

_FAMILY = "k8s.aliyun.com/"
_ANNOTATIONS = Path(__file__).parent / "eci-annotations.yaml"
# The time of comparing selectors grows with the square of their number, so it stops after so many
# steps, each of less than a microsecond. It counts steps and not seconds, so that a profile has the
# same warnings on every machine. They suffice for 600 selectors that all match the same pods, and
# for 10 000 on different labels.
_STEPS = 1_000_000
_VALUES_PER_STEP = 8
_LABELS_SINCE = (1, 35)  # the gate PodTopologyLabelsAdmission
_SINCE = (1, 16)  # earlier versions have no objectSelector in webhooks (363068)


@put_off()
def lint(profile: ParsedProfile, cluster: tuple[int, int] | None = None) -> list[Problem]:
    """Return the warnings about a valid profile, by selector, at most about a hundred.

    ``cluster``: the version of the cluster, such as (1, 30), if it is known.
    """
    every = chain(profile.warnings, _Linter(profile, cluster).warnings())
    found = list(islice(every, MAX_PROBLEMS))
    if next(every, None):
        message = Message(
            "there are more than {most} warnings; only {most} are reported", most=MAX_PROBLEMS
        )
        found.append(problem("selectors", None, (), message))
    return sorted(found, key=lambda each: (each.root, *each.location[:1]))


@dataclass(frozen=True, slots=True)
class _Sides:
    pod: Demands
    namespace: Demands

    def imply(self, other: Selector) -> bool:
        """Whether the other selector matches all that the one with these sides matches."""
        return self.pod.imply(other.object) and self.namespace.imply(other.namespace)


class _Linter:
    def __init__(self, profile: ParsedProfile, cluster: tuple[int, int] | None) -> None:
        self._selectors = profile.selectors
        self._cluster = cluster
        self._named = [
            {"name": selector.name} for selector in sorted(profile.selectors, key=lambda s: s.index)
        ]
        self._matcher = Matcher(profile)
        self._steps = 0
        self._incomplete = False  # whether a comparison was left out
        self._costs = [_cost(selector) for selector in profile.selectors]  # by rank
        self._by_label: dict[str, list[Selector]] = {}
        for selector in profile.selectors:
            for key in {each.key for each in selector.object or ()}:
                self._by_label.setdefault(key, []).append(selector)

    def warnings(self) -> Iterator[Problem]:
        if not self._selectors:
            message = Message("there are no selectors, so no pods are changed")
            yield problem("selectors", self._named, (), message)
        for selector in self._selectors:
            if not selector.effect_only:
                sides = _Sides(Demands(selector.object), Demands(selector.namespace))
                never = list(self._never(selector, sides))
                yield from never or self._of_one_that_matches(selector, sides)
                yield from self._virtual_node(selector)
            yield from self._binding(selector)
            yield from self._annotations(selector)
            yield from self._object_selector(selector)
        if self._incomplete:
            message = Message(
                "too many selectors match the same pods, not all of them were compared"
            )
            yield problem("selectors", self._named, (), message)

    def _of_one_that_matches(self, selector: Selector, sides: _Sides) -> Iterator[Problem]:
        if not selector.object and not selector.namespace:
            yield self._warning(selector, message=Message("matches every pod"))
        if not self._late():
            others = self._others_that_match_too(selector, sides)
            earlier = [other for other in others if other.rank < selector.rank]
            yield from self._placement(selector, earlier)
            yield from self._effects(selector, earlier)
            if selector.mode == "audit" and others and not earlier:
                yield from self._audited(selector, others[0])
            yield from self._labels(selector, sides)

    def _never(self, selector: Selector, sides: _Sides) -> Iterator[Problem]:
        for field, demands in (
            ("namespaceSelector", sides.namespace),
            ("objectSelector", sides.pod),
        ):
            if key := demands.contradiction():
                message = Message(
                    "can never match: its requirements on {key} contradict each other",
                    key=show(key),
                )
                yield self._warning(selector, field, message=message)
        key, value = OPT_OUT
        if sides.pod.only(key) == frozenset((value,)):
            message = Message(
                "can never match: pods with the label {label} are never changed",
                label=f"{key}={value}",
            )
            yield self._warning(selector, "objectSelector", message=message)

    def _others_that_match_too(self, selector: Selector, sides: _Sides) -> list[Selector]:
        """The other selectors that apply whenever this one matches."""
        candidates = self._matcher.candidates(sides.pod.example(), sides.namespace.example())
        self._steps += sum(self._costs[other.rank] for other in candidates)
        return [
            other
            for other in candidates
            if other is not selector
            and other.mode == "enforce"
            and other.percentage == 100
            and sides.imply(other)
        ]

    def _virtual_node(self, selector: Selector) -> Iterator[Problem]:
        if selector.percentage == 0:
            yield self._warning(selector, "percentage", message=Message("selects no pods"))
        needs = selector.policy in ("virtualNodeOnly", "normalNodePrefer")
        if needs and selector.node and not selector.node.node_selector:
            message = Message(
                "its virtual node has no nodeSelector, so {policy} has the same effect as fair",
                policy=selector.policy,
            )
            yield self._warning(selector, message=message)

    def _binding(self, selector: Selector) -> Iterator[Problem]:
        if selector.at != "binding":
            return
        if not selector.has_effect:
            message = Message("there is nothing to add")
            yield self._warning(selector, "effect", "at", message=message)
        elif not selector.effect_only and selector.policy == "virtualNodeOnly":
            message = Message(
                "with virtualNodeOnly, pods always go to the virtual node; remove it to add the"
                " effect at creation"
            )
            yield self._warning(selector, "effect", "at", message=message)
        elif selector.policy == "normalNodeOnly" and not selector.effect_only:
            message = Message("with normalNodeOnly, pods are not sent to the virtual node")
            yield self._warning(selector, "effect", "at", message=message)
        if selector.labels and self._cluster and self._cluster < _LABELS_SINCE:
            version = ".".join(map(str, self._cluster))
            message = Message(
                "Kubernetes {version} does not add labels at binding; 1.35 or later is required",
                version=version,
            )
            yield self._warning(selector, "effect", "labels", message=message)

    def _late(self) -> bool:
        self._incomplete = self._steps > _STEPS
        return self._incomplete

    def _placement(self, selector: Selector, earlier: Sequence[Selector]) -> Iterator[Problem]:
        if not earlier:
            return
        first = earlier[0]
        if selector.policy != first.policy:
            message = Message(
                "its placement, {policy}, is never used: the earlier selector {first} matches all"
                " of its pods",
                policy=selector.policy,
                first=show(first.name),
            )
            yield self._warning(selector, message=message)
        elif not selector.annotations and not selector.labels:
            message = Message(
                "has no effect: the earlier selector {first} matches all of its pods",
                first=show(first.name),
            )
            yield self._warning(selector, message=message)

    def _audited(self, selector: Selector, later: Selector) -> Iterator[Problem]:
        message = Message(
            "its pods are changed anyway: the later selector {later} matches all of them",
            later=show(later.name),
        )
        yield self._warning(selector, "mode", message=message)

    def _effects(self, selector: Selector, earlier: Sequence[Selector]) -> Iterator[Problem]:
        for kind, entries in _entries(selector):
            if not entries:
                continue
            winners: dict[str, Selector] = {}
            for each in earlier:
                if self._late():
                    return
                theirs = getattr(each, kind)
                self._steps += 1 + min(len(entries), len(theirs)) // _VALUES_PER_STEP
                for key in entries.keys() & theirs.keys():
                    winners.setdefault(key, each)
            for key in sorted(winners):
                winner = winners[key]
                kept = dict(_entries(winner))[kind][key]
                if kept != entries[key]:
                    message = Message(
                        "is never used: the earlier selector {first} matches all of its pods and"
                        " sets {value}",
                        first=show(winner.name),
                        value=show(kept),
                    )
                    yield self._warning(selector, "effect", kind, key, message=message, at_key=True)

    def _labels(self, selector: Selector, sides: _Sides) -> Iterator[Problem]:
        for key, value in selector.labels.items():
            if self._late():
                return
            asking = self._by_label.get(key, [])
            self._steps += 1 + sum(self._costs[other.rank] for other in asking)
            fed = [
                other.name
                for other in asking
                if other is not selector and not sides.imply(other) and _fed(other, key, value)
            ]
            if fed:
                asking_too = Message("selector {name}", name=show(fed[0]))
                if len(fed) > 1:
                    asking_too = Message(
                        "selector {name} and {count} more", name=show(fed[0]), count=len(fed) - 1
                    )
                message = Message(
                    "required by {selectors}, but matching uses the labels of the pod as"
                    " submitted; it would match only if the patched pod were submitted again",
                    selectors=asking_too,
                )
                yield self._warning(selector, "effect", "labels", key, message=message, at_key=True)

    def _annotations(self, selector: Selector) -> Iterator[Problem]:
        for key in selector.annotations:
            if key.startswith(_FAMILY) and (message := _of_annotation(key)):
                location = ("effect", "annotations", key)
                yield self._warning(selector, *location, message=message, at_key=True)

    def _object_selector(self, selector: Selector) -> Iterator[Problem]:
        if selector.object is not None and self._cluster and self._cluster < _SINCE:
            version = ".".join(map(str, self._cluster))
            message = Message(
                "Kubernetes {version} requires a feature gate for it; 1.16 and later do not",
                version=version,
            )
            yield self._warning(selector, "objectSelector", message=message, at_key=True)

    def _warning(
        self, selector: Selector, *location: str, message: Message, at_key: bool = False
    ) -> Problem:
        whole: Location = (selector.index, *location)
        return problem("selectors", self._named, whole, message, at_key=at_key)


def _cost(selector: Selector) -> int:
    """Return the most steps that a comparison with the requirements of the selector takes."""
    return 1 + sum(
        1 + len(requirement.values) // _VALUES_PER_STEP
        for requirement in chain(selector.object or (), selector.namespace or ())
    )


def _entries(selector: Selector) -> tuple[tuple[str, Mapping[str, str]], ...]:
    return ("annotations", selector.annotations), ("labels", selector.labels)


def _fed(selector: Selector, key: str, value: str) -> bool:
    """Whether a label with this value can make the selector match."""
    about = [each for each in selector.object or () if each.key == key]
    return unmet(about, {}) is not None and unmet(about, {key: value}) is None


@cache
def _known() -> tuple[dict[str, None], frozenset[str]]:
    known = yaml.safe_load(_ANNOTATIONS.read_text("utf-8"))
    return dict.fromkeys(sorted(known["added"])), frozenset(known["reported"])


def _of_annotation(key: str) -> Message | None:
    added, reported = _known()
    if key in added:
        return None
    if key in reported:
        return Message("ECI adds this annotation itself, it has no effect here")
    close = difflib.get_close_matches(key, added, n=1, cutoff=0.85)
    if close:
        return Message(
            "this annotation is not in the ECI documentation, did you mean {meant}?", meant=close[0]
        )
    return Message("this annotation is not in the ECI documentation")
