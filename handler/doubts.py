"""What a profile allows but hardly means. For those who edit one: too slow for each load."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from .implication import Demands
from .labels import unmet
from .matching import Matcher
from .mutation import OPT_OUT
from .problems import Problem, problem, show
from .profile import Profile, Selector
from .text import Location

__all__ = ["doubts"]

_FAMILY = "k8s.aliyun.com/"
_ANNOTATIONS = Path(__file__).parent / "eci-annotations.yaml"
_MOST_COMPARED = 500_000  # pairs of selectors, some microseconds each
_SINCE = (1, 16)  # the webhooks of earlier clusters have no objectSelector (363068)


def doubts(profile: Profile, cluster: tuple[int, int] | None = None) -> list[Problem]:
    """The doubts about a valid profile, selector by selector.

    ``cluster``: the version of the cluster that it is for, such as (1, 30), if it is known.
    """
    found = [*profile.doubts, *_Examination(profile, cluster).doubts()]
    return sorted(found, key=lambda doubt: (doubt.root, *doubt.location[:1]))


@dataclass(frozen=True, slots=True)
class _Sides:
    pod: Demands
    namespace: Demands

    def imply(self, other: Selector) -> bool:
        """Whether the other selector matches all that the one with these sides matches."""
        return self.pod.imply(other.object) and self.namespace.imply(other.namespace)


class _Examination:
    def __init__(self, profile: Profile, cluster: tuple[int, int] | None) -> None:
        self._selectors = profile.selectors
        self._cluster = cluster
        self._rank = {selector.index: rank for rank, selector in enumerate(profile.selectors)}
        self._named = [
            {"name": selector.name} for selector in sorted(profile.selectors, key=lambda s: s.index)
        ]
        self._matcher = Matcher(profile)
        # What a match costs: those that ask for no label are looked at each time.
        self._cost = 1 + sum(
            all(
                each.operator in ("NotIn", "DoesNotExist")
                for each in selector.object or selector.namespace or ()
            )
            for selector in profile.selectors
        )
        self._budget = _MOST_COMPARED
        self._by_label: dict[str, list[Selector]] = {}
        for selector in profile.selectors:
            for key in {each.key for each in selector.object or ()}:
                self._by_label.setdefault(key, []).append(selector)

    def doubts(self) -> Iterator[Problem]:
        for selector in self._selectors:
            sides = _Sides(Demands(selector.object), Demands(selector.namespace))
            never = list(self._never(selector, sides))
            yield from never or self._of_one_that_matches(selector, sides)
            yield from self._annotations(selector)
            yield from self._object_selector(selector)
        if self._budget < 0:
            message = "too many selectors match the same pods, not all of them were compared"
            yield problem("selectors", self._named, (), message)

    def _of_one_that_matches(self, selector: Selector, sides: _Sides) -> Iterator[Problem]:
        if not selector.object and not selector.namespace:
            yield self._doubt(selector, message="matches every pod")
        if self._budget >= 0:
            earlier = self._earlier_that_match_too(selector, sides)
            yield from self._placement(selector, earlier)
            yield from self._effects(selector, earlier)
            yield from self._labels(selector, sides)

    def _never(self, selector: Selector, sides: _Sides) -> Iterator[Problem]:
        for field, demands in (
            ("namespaceSelector", sides.namespace),
            ("objectSelector", sides.pod),
        ):
            if key := demands.contradiction():
                message = f"can never match: its requirements on {show(key)} contradict each other"
                yield self._doubt(selector, field, message=message)
        key, value = OPT_OUT
        if sides.pod.only(key) == frozenset((value,)):
            message = f"can never match: pods labelled {key}={value} are left alone"
            yield self._doubt(selector, "objectSelector", message=message)

    def _earlier_that_match_too(self, selector: Selector, sides: _Sides) -> list[Selector]:
        """The earlier selectors that match whenever this one does."""
        found = self._matcher.match(sides.pod.example(), sides.namespace.example())
        self._budget -= self._cost + len(found)
        rank = self._rank[selector.index]
        return [other for other in found if self._rank[other.index] < rank and sides.imply(other)]

    def _placement(self, selector: Selector, earlier: Sequence[Selector]) -> Iterator[Problem]:
        if not earlier:
            return
        first = earlier[0]
        why = f"selector {show(first.name)} comes first and matches whenever this one does"
        if selector.policy != first.policy:
            message = f"its placement, {selector.policy}, never counts: {why}"
            yield self._doubt(selector, message=message)
        elif not selector.annotations and not selector.labels:
            yield self._doubt(selector, message=f"is without effect: {why}")

    def _effects(self, selector: Selector, earlier: Sequence[Selector]) -> Iterator[Problem]:
        for kind, entries in _entries(selector):
            for key, value in entries.items():
                winner = next((each for each in earlier if key in dict(_entries(each))[kind]), None)
                kept = winner and dict(_entries(winner))[kind][key]
                if winner and kept != value:
                    message = (
                        f"never counts: selector {show(winner.name)} comes first, matches whenever"
                        f" this one does and sets {show(kept)}"
                    )
                    yield self._doubt(selector, "effect", kind, key, message=message, at_key=True)

    def _labels(self, selector: Selector, sides: _Sides) -> Iterator[Problem]:
        for key, value in selector.labels.items():
            asking = self._by_label.get(key, [])
            self._budget -= len(asking)
            fed = [
                other.name
                for other in asking
                if other is not selector and not sides.imply(other) and _fed(other, key, value)
            ]
            if fed:
                more = f" and {len(fed) - 1} more" if len(fed) > 1 else ""
                message = (
                    f"selector {show(fed[0])}{more} asks for it, but sees only the labels that a"
                    " pod comes with; it would match if the patched pod were sent again"
                )
                yield self._doubt(selector, "effect", "labels", key, message=message, at_key=True)

    def _annotations(self, selector: Selector) -> Iterator[Problem]:
        for key in selector.annotations:
            if key.startswith(_FAMILY) and (message := _of_annotation(key)):
                way = ("effect", "annotations", key)
                yield self._doubt(selector, *way, message=message, at_key=True)

    def _object_selector(self, selector: Selector) -> Iterator[Problem]:
        if selector.object is not None and self._cluster and self._cluster < _SINCE:
            version = ".".join(map(str, self._cluster))
            message = f"Kubernetes {version} has it only behind a feature gate, 1.16 always"
            yield self._doubt(selector, "objectSelector", message=message, at_key=True)

    def _doubt(
        self, selector: Selector, *location: str, message: str, at_key: bool = False
    ) -> Problem:
        way: Location = (selector.index, *location)
        return problem("selectors", self._named, way, message, at_key=at_key)


def _entries(selector: Selector) -> tuple[tuple[str, Mapping[str, str]], ...]:
    return ("annotations", selector.annotations), ("labels", selector.labels)


def _fed(selector: Selector, key: str, value: str) -> bool:
    """Whether a label with this value can make the selector match."""
    about = [each for each in selector.object or () if each.key == key]
    return unmet(about, {}) is not None and unmet(about, {key: value}) is None


@cache
def _known() -> tuple[frozenset[str], frozenset[str]]:
    known = yaml.safe_load(_ANNOTATIONS.read_text("utf-8"))
    return frozenset(known["added"]), frozenset(known["reported"])


def _of_annotation(key: str) -> str | None:
    added, reported = _known()
    if key in added:
        return None
    if key in reported:
        return "ECI adds this annotation itself, it does nothing here"
    close = difflib.get_close_matches(key, sorted(added), n=1, cutoff=0.85)
    instead = f", did you mean {close[0]}?" if close else ""
    return f"ECI documents no such annotation{instead}"
