"""Finds the selectors that match, by an index: the time depends on the labels of the pod."""

from __future__ import annotations

from collections.abc import Mapping

from ..profiles.model import Profile, Requirement, Selector, unmet

__all__ = ["Matcher"]

Labels = Mapping[str, str]
Entry = tuple[Selector, tuple[Requirement, ...]]
"""A selector, and its requirements on one side that the index does not check."""


class _Index:
    """Finds the selectors whose requirements on one side (pod or namespace) are met by labels.

    A selector is indexed under one of its requirements that needs a label: each key and value of
    an In, or the key of an Exists. The others, which need no label, are checked each time.
    """

    def __init__(self) -> None:
        self._by_pair: dict[tuple[str, str], list[Entry]] = {}
        self._by_key: dict[str, list[Entry]] = {}
        self._rest: list[Entry] = []

    def add(self, selector: Selector, requirements: tuple[Requirement, ...]) -> None:
        ins = [requirement for requirement in requirements if requirement.operator == "In"]
        exists = [requirement for requirement in requirements if requirement.operator == "Exists"]
        if ins:
            narrowest = min(ins, key=lambda requirement: len(requirement.values))
            entry = (selector, _without(requirements, narrowest))
            for value in narrowest.values:
                self._by_pair.setdefault((narrowest.key, value), []).append(entry)
        elif exists:
            entry = (selector, _without(requirements, exists[0]))
            self._by_key.setdefault(exists[0].key, []).append(entry)
        else:
            self._rest.append((selector, requirements))

    def candidates(self, labels: Labels) -> list[Entry]:
        found = self._rest.copy()
        for pair in self._by_pair.keys() & labels.items():
            found += self._by_pair[pair]
        for key in self._by_key.keys() & labels.keys():
            found += self._by_key[key]
        return found

    def met(self, labels: Labels) -> list[Entry]:
        return [
            entry
            for entry in self.candidates(labels)
            if not entry[1] or unmet(entry[1], labels) is None
        ]


class Matcher:
    """Finds the selectors of one profile that match a pod, in order of precedence.

    Selectors that are off match nothing, and those with an effect only are not matched here; the
    others are in ``asking``. ``draws``: whether a percentage is drawn. ``selects_all``: all
    selectors that match apply. ``needs_records``: a pod may need a decision record.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.effect_only = tuple(
            each for each in profile.selectors if each.effect_only and each.mode != "off"
        )
        self.waits_for_binding = profile.waits_for_binding
        self.needs_records = profile.record_always or any(
            each.needs_record for each in profile.selectors
        )
        self._by_pod = _Index()
        self._by_namespace = _Index()  # of selectors that match the labels of any pod
        self.asking = tuple(
            each for each in profile.selectors if not each.effect_only and each.mode != "off"
        )
        self.draws = any(each.percentage != 100 for each in self.asking)
        self.selects_all = not self.draws and all(each.mode != "audit" for each in self.asking)
        for selector in self.asking:
            if selector.object:
                self._by_pod.add(selector, selector.object)
            else:
                self._by_namespace.add(selector, selector.namespace or ())
        self._always = self._by_namespace.met({})
        self._namespace_alone_counts = any(
            each.namespace and not each.object for each in self.asking
        )

    def match_by_pod(self, pod_labels: Labels) -> list[Selector] | None:
        """Return the selectors that match, or None if that depends on the namespace's labels."""
        if self._namespace_alone_counts:
            return None
        found = self._by_pod.met(pod_labels)
        for entry in found:
            if entry[0].namespace:
                return None
        return _in_order(found + self._always)

    def match(self, pod_labels: Labels, namespace_labels: Labels) -> list[Selector]:
        """The selectors that match."""
        found = [
            entry
            for entry in self._by_pod.met(pod_labels)
            if unmet(entry[0].namespace, namespace_labels) is None
        ]
        return _in_order(found + self._by_namespace.met(namespace_labels))

    def candidates(self, pod_labels: Labels, namespace_labels: Labels) -> list[Selector]:
        """The selectors that the index finds, which contain those that match, in the same order."""
        return _in_order(
            self._by_pod.candidates(pod_labels) + self._by_namespace.candidates(namespace_labels)
        )


def _without(
    requirements: tuple[Requirement, ...], answered: Requirement
) -> tuple[Requirement, ...]:
    return tuple(requirement for requirement in requirements if requirement is not answered)


def _in_order(found: list[Entry]) -> list[Selector]:
    if len(found) > 1:
        found.sort(key=lambda entry: entry[0].rank)
    return [entry[0] for entry in found]
