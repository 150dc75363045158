"""Which selectors of a profile match: an index, so that a pod costs what its labels cost."""

from __future__ import annotations

from collections.abc import Mapping

from .labels import Requirement, unmet
from .profile import Profile, Selector

__all__ = ["Matcher"]

Labels = Mapping[str, str]
Entry = tuple[int, Selector]  # with its rank, by which matches are put in order


class _Index:
    """Finds the selectors whose requirements on one side (pod or namespace) labels can meet.

    A selector stands under one of its requirements that needs a label: each key and value of an
    In, or the key of an Exists. The rest, which need none, are looked at each time.
    """

    def __init__(self) -> None:
        self._by_pair: dict[tuple[str, str], list[Entry]] = {}
        self._by_key: dict[str, list[Entry]] = {}
        self._rest: list[Entry] = []

    def add(self, entry: Entry, requirements: tuple[Requirement, ...]) -> None:
        ins = [requirement for requirement in requirements if requirement.operator == "In"]
        if ins:
            narrowest = min(ins, key=lambda requirement: len(requirement.values))
            for value in narrowest.values:
                self._by_pair.setdefault((narrowest.key, value), []).append(entry)
            return
        for requirement in requirements:
            if requirement.operator == "Exists":
                self._by_key.setdefault(requirement.key, []).append(entry)
                return
        self._rest.append(entry)

    def candidates(self, labels: Labels) -> list[Entry]:
        found = self._rest.copy()
        for pair in labels.items():
            found += self._by_pair.get(pair, ())
            if self._by_key:
                found += self._by_key.get(pair[0], ())
        return found


class Matcher:
    """Answers for one profile which of its selectors match a pod, in the order they count."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._by_pod = _Index()
        self._by_namespace = _Index()
        for entry in enumerate(profile.selectors):
            selector = entry[1]
            if selector.object:
                self._by_pod.add(entry, selector.object)
            else:
                self._by_namespace.add(entry, selector.namespace or ())
        self._namespace_alone_counts = any(
            selector.namespace and not selector.object for selector in profile.selectors
        )

    def needs_namespace(self, pod_labels: Labels) -> bool:
        """Whether, given the pod's labels, its namespace's labels can matter."""
        return self._namespace_alone_counts or any(
            selector.namespace and unmet(selector.object, pod_labels) is None
            for _, selector in self._by_pod.candidates(pod_labels)
        )

    def match(self, pod_labels: Labels, namespace_labels: Labels) -> list[Selector]:
        """The selectors that match. Namespace labels that aren't needed may be empty."""
        found = [
            entry
            for entry in (
                *self._by_pod.candidates(pod_labels),
                *self._by_namespace.candidates(namespace_labels),
            )
            if unmet(entry[1].object, pod_labels) is None
            and unmet(entry[1].namespace, namespace_labels) is None
        ]
        if len(found) > 1:
            found.sort(key=lambda entry: entry[0])
        return [selector for _, selector in found]
