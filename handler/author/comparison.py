"""Compares two profiles on the objects of a cluster, workload by workload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import get_args

from ..decision.matching import Matcher
from ..decision.pod import Pod
from ..profiles.labels import NAME_LABEL
from ..profiles.model import Profile, Selector
from .changes import Change, Result, Uncertain, compare
from .inventory import CONTROLLER_LABELS, Alike, Group, Inventory, Key
from .recreation import Recreation, from_template

__all__ = ["Comparison", "Counted", "Difference", "WorkloadChanges", "compare_on"]

_EXAMPLES = 3
_MOST_DIFFERENCES = 3  # reported for each workload


@dataclass(slots=True)
class Counted:
    """A number of pods, and the names of a few of them."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, count: int, names: list[str]) -> None:
        """Add ``count`` pods. ``names`` are the names of all or some of them."""
        self.count += count
        self.examples += names[: _EXAMPLES - len(self.examples)]


@dataclass(frozen=True, slots=True)
class Difference:
    """A label that decisions depend on, and that differs between a pod and its template."""

    key: str
    pod: str | None
    template: str | None


@dataclass(slots=True)
class WorkloadChanges:
    """What changes for the pods of a workload. ``pods`` is the number of all its pods.

    ``undecided``: how many of them depend on labels of their namespace that are not known.
    """

    key: Key
    pods: int = 0
    changes: dict[Change, Counted] = field(default_factory=dict)
    differing: dict[Difference, Counted] = field(default_factory=dict)
    undecided: int = 0

    @property
    def worth_telling(self) -> bool:
        """Whether there is anything to report."""
        return bool(self.changes or self.differing or self.undecided)


@dataclass(slots=True)
class Comparison:
    """What changes in each workload, and the number of pods for each result.

    ``refused`` and ``unsupported``: the number of pods for which this is new. ``finished``: the
    number of pods that have ended and are not created again. ``unmatched``: the selectors of the
    new profile that match nothing in the inventory. ``drawn``: whether a profile has a selector
    with a percentage, so that pods are drawn.
    """

    workloads: list[WorkloadChanges] = field(default_factory=list)
    pods: int = 0
    finished: int = 0
    results: dict[Result, int] = field(default_factory=lambda: dict.fromkeys(get_args(Result), 0))
    refused: int = 0
    unsupported: int = 0
    undecided: int = 0
    unknown_namespaces: set[str] = field(default_factory=set)
    unmatched: list[str] = field(default_factory=list)
    drawn: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything changes."""
        return any(
            change.result != "unchanged" for each in self.workloads for change in each.changes
        )


def compare_on(inventory: Inventory, current: Profile, new: Profile) -> Comparison:
    """Compare two profiles on an inventory that was made for them."""
    return _Comparer(inventory, current, new).run()


class _Comparer:
    def __init__(self, inventory: Inventory, current: Profile, new: Profile) -> None:
        self._inventory = inventory
        self._current, self._new = Matcher(current), Matcher(new)
        self._recreation = Recreation(self._current)
        self._uncertain = [Uncertain(each) for each in (current, new)]
        self._equal = _equal(current, new)
        self._matched: set[str] = set()
        self._found = Comparison(finished=inventory.finished, drawn=inventory.relevant.drawn)

    def run(self) -> Comparison:
        for group in self._inventory.groups():
            workload = self._compare(group)
            self._count(workload)
            if workload.worth_telling:
                self._found.workloads.append(workload)
        self._found.unmatched = [
            each.name
            for each in sorted(self._new.profile.selectors, key=lambda each: each.index)
            if each.name not in self._matched and _can_match(each)
        ]
        return self._found

    def _compare(self, group: Group) -> WorkloadChanges:
        workload = WorkloadChanges(group.key)
        namespace = group.key.namespace
        known = self._inventory.namespaces.get(namespace)
        labels = {**(known or {}), NAME_LABEL: namespace}
        if group.template:
            self._decide(workload, group.template, Alike(group.template), labels, known is not None)
        for alike, template in group.alike:
            workload.pods += alike.count
            if template is None:
                pod = self._recreation.of(alike.pod, labels)
            else:
                pod = from_template(template, alike.pod)
                self._differ(workload, alike, template)
            self._decide(workload, pod, alike, labels, known is not None)
        return workload

    def _decide(
        self,
        workload: WorkloadChanges,
        pod: Pod,
        alike: Alike,
        labels: Mapping[str, str],
        known: bool,
    ) -> None:
        if not (known or self._equal) and any(each.about(pod, labels) for each in self._uncertain):
            workload.undecided += alike.count
            self._found.undecided += alike.count
            self._found.unknown_namespaces.add(workload.key.namespace)
            return
        for uid, count, names in self._draws(alike):
            change = compare(pod, labels, self._current, self._new, uid, self._note)
            self._found.results[change.result] += count
            if change.worth_telling:
                workload.changes.setdefault(change, Counted()).add(count, names)

    def _draws(self, alike: Alike) -> Iterator[tuple[str | None, int, list[str]]]:
        """Yield the uid to decide with, and the number and names of the pods that it is for.

        Each pod needs its own uid only if pods are drawn.
        """
        if self._found.drawn and alike.pods:
            for uid, name in alike.pods:
                yield uid or name, 1, [name]
        else:
            yield None, alike.count, [name for _, name in alike.pods]

    def _differ(self, workload: WorkloadChanges, alike: Alike, template: Pod) -> None:
        own = (alike.pod.metadata and alike.pod.metadata.labels) or {}
        given = (template.metadata and template.metadata.labels) or {}
        if own == given:
            return
        added = self._recreation.labels
        for key in sorted((own.keys() | given.keys()) & self._inventory.relevant.asked):
            value, wanted = own.get(key), given.get(key)
            if value != wanted and key not in CONTROLLER_LABELS and (key, value) not in added:
                difference = Difference(key, value, wanted)
                if difference in workload.differing or len(workload.differing) < _MOST_DIFFERENCES:
                    names = [name for _, name in alike.pods[:_EXAMPLES]]
                    workload.differing.setdefault(difference, Counted()).add(alike.count, names)

    def _note(self, selector: Selector) -> None:
        self._matched.add(selector.name)

    def _count(self, workload: WorkloadChanges) -> None:
        found = self._found
        found.pods += workload.pods
        found.refused += sum(n.count for change, n in workload.changes.items() if change.refused)
        found.unsupported += sum(
            n.count for change, n in workload.changes.items() if change.unsupported
        )


def _equal(one: Profile, other: Profile) -> bool:
    return (one.selectors, one.virtual_nodes, one.record_always) == (
        other.selectors,
        other.virtual_nodes,
        other.record_always,
    )


def _can_match(selector: Selector) -> bool:
    """Whether a decision at creation can contain it."""
    return selector.mode != "off" and not (selector.effect_only and selector.at == "binding")
