"""The page for those who write profiles: what it shows, and what it asks the function."""

from __future__ import annotations

import asyncio
import difflib
import json
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from pydantic import StrictStr, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as validated

from ..admission.executor import BoundedExecutor
from ..author.explanation import diff, document, explain
from ..author.workloads import PlannedPod, PodError, read_pods
from ..cluster.cache import LoadError
from ..cluster.source import SourceError
from ..cluster.store import Store
from ..decision.matching import Matcher
from ..lint.diagnostics import Diagnostic, examine
from ..messages.message import Language, Message, message_of, translated
from ..profiles.labels import NAME_LABEL, parse_labels
from ..profiles.manifests import Manifest, read_manifests
from ..profiles.model import Profile
from ..profiles.parse import KEYS, parse

__all__ = ["EXAMPLES", "Page"]

EXAMPLES = ("seed", "gpu", "arm", "fair", "audit")
"""The examples to start from: files in ``static/examples``, in the order of the page."""

_MOST_BYTES = 1536 * 1024  # as large as an object of Kubernetes may be
_MOST_PODS = 100  # each is explained by all selectors, of which there may be thousands
_MOST_NAMESPACES = 20  # that one question makes the function read
_MOST_CHANGED = 1_000  # lines, to find the differences; the time may grow with their square
_CONTEXT = 3  # lines around a difference
_STATIC = Path(__file__).parent / "static"
_PART = re.compile(r"\{\{(\w+)\}\}")


@validated(frozen=True, slots=True, config={"alias_generator": to_camel})
class _Question:
    """What one has written: the data of a profile, pods in YAML, and labels of namespaces.

    The labels of other namespaces than those are the ones that the function knows. ``language``
    is that of the messages in the answer.
    """

    profile: dict[StrictStr, StrictStr]
    pod: StrictStr
    namespaces: dict[StrictStr, StrictStr]
    language: Language = "en"


_QUESTION = TypeAdapter(_Question)


@dataclass(slots=True)
class _Reading:
    """What a question has, as far as it could be read. ``taken``: what a whole object had in it."""

    data: Mapping[str, object]
    taken: Mapping[str, Any] | None = None
    language: Language = "en"
    pods: list[PlannedPod] = field(default_factory=list)
    given: dict[str, Mapping[str, str]] = field(default_factory=dict)
    listed: Collection[str] | None = None
    pod_error: Mapping[str, Any] | None = None
    label_errors: dict[str, str] = field(default_factory=dict)


class Page:
    """The page and its answers, as JSON has them.

    ``listed`` returns the names of all namespaces that are known, where there is such a list; it
    may raise SourceError. Without, the store says which it knows.
    """

    def __init__(
        self,
        store: Store,
        executor: BoundedExecutor,
        listed: Callable[[], Collection[str]] | None = None,
    ) -> None:
        self._store = store
        self._executor = executor
        self._listed = listed

    async def html(self) -> tuple[bytes, Mapping[str, str]]:
        """The page, and its headers. Its policy lets in just what has the nonce of this answer."""
        parts = await asyncio.to_thread(_parts)  # at first it takes 10 ms, which reviews don't wait
        nonce = secrets.token_urlsafe(18)
        policy = "; ".join(
            (
                "default-src 'none'",
                f"script-src 'nonce-{nonce}'",
                f"style-src 'nonce-{nonce}'",
                "img-src data:",
                "connect-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            )
        )
        return nonce.encode().join(parts), {
            "content-type": "text/html; charset=utf-8",
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
        }

    async def profile(self) -> Mapping[str, Any]:
        """The profile as it was last read, and what is in force. Raises LoadError.

        Its diagnostics have ``messages``, by language.
        """
        state = await self._store.profile()
        diagnostics = await self._executor.run(examine, state.config_map.data)
        return {
            "namespace": self._store.namespace,
            "name": self._store.name,
            "provider": "file" if self._listed else "cluster",
            "data": _texts(state.config_map.data),
            "valid": not state.errors,
            "inForce": None if state.matcher is None else len(state.matcher.profile.selectors),
            "diagnostics": [
                {
                    **_diagnostic(each, "en"),
                    "messages": {
                        language: translated(each.problem.message, language)
                        for language in get_args(Language)
                    },
                }
                for each in diagnostics
            ],
        }

    async def explain(self, body: bytes) -> Mapping[str, Any]:
        """What the profile in a body does to the pods in it, or what is wrong with either.

        Raises ValueError if the body is not as the page writes it, or longer than 1.5 MiB.
        """
        if len(body) > _MOST_BYTES:
            raise ValueError(f"the body must have at most {_MOST_BYTES} bytes, it has {len(body)}")
        try:
            question = _QUESTION.validate_json(body)
        except ValidationError:
            raise ValueError(
                "the body must have profile, pod and namespaces; it may have language, en or zh"
            ) from None
        reading = await self._executor.run(self._read, question)
        missing = dict.fromkeys(
            pod.namespace for pod in reading.pods if pod.namespace not in reading.given
        )
        names = list(islice(missing, _MOST_NAMESPACES))
        labels = await asyncio.gather(*map(self._labels, names, [reading.listed] * len(names)))
        known = {name: found for name, found in zip(names, labels, strict=True) if found}
        loaded: Mapping[str, str] = {}
        with suppress(LoadError):
            loaded = _texts((await self._store.profile()).config_map.data)
        return await self._executor.run(_answer, reading, known, loaded)

    async def plan(self, body: bytes) -> Mapping[str, Any]:
        """What a profile would change: the one in a body, for the objects that follow it there.

        The body's first line is the data of the profile, in JSON; all else is what
        ``kubectl get -o json`` writes. Raises ValueError if the body is not like that, and
        LoadError.
        """
        state = await self._store.profile()
        current = Profile() if state.matcher is None else state.matcher.profile
        return await self._executor.run(_planned, body, current)

    def _read(self, question: _Question) -> _Reading:
        reading = _unpacked(question.profile)
        language = reading.language = question.language
        if self._listed:
            with suppress(SourceError):
                reading.listed = self._listed()
        try:
            reading.pods = list(islice(read_pods(question.pod), _MOST_PODS + 1))
            if "Namespace" in question.pod:
                reading.given = _namespaces(list(read_manifests(question.pod)))
        except PodError as error:
            reading.pods = []
            reading.pod_error = _at(translated(error.message, language), *error.position)
        except ValueError as error:
            reading.pod_error = _at(translated(message_of(error), language))
        if len(reading.pods) > _MOST_PODS:
            reading.pods = []
            message = Message(
                "there are more than {most} pods; try fewer at a time", most=_MOST_PODS
            )
            reading.pod_error = _at(translated(message, language))
        for name in {pod.namespace for pod in reading.pods} & question.namespaces.keys():
            text = question.namespaces[name]
            try:
                reading.given[name] = parse_labels(text)
            except ValueError as error:
                reading.label_errors[name] = translated(message_of(error), language)
        return reading

    async def _labels(self, name: str, listed: Collection[str] | None) -> Mapping[str, str] | None:
        """The labels of a namespace, None if they aren't known."""
        if listed is not None and name not in listed:
            return None
        try:
            return await self._store.namespace_labels(name)
        except LoadError:
            return None


def _planned(body: bytes, current: Profile) -> Mapping[str, Any]:
    from .planned import planned  # with what it needs: only for those who ask for a plan

    return planned(body, current)


@cache
def _parts() -> Sequence[bytes]:
    """The page, read when it is first asked for, without its nonce: that goes in between."""
    texts = {
        "style": _file("page.css"),
        "editor": _file("editor.js"),
        "script": _file("page.js"),
        "words": _json(json.loads(_file("words.json"))),
        "keys": " ".join(KEYS),
        "examples": _json({name: _example(name) for name in EXAMPLES}),
        "nonce": "{{nonce}}",
    }
    page = _PART.sub(lambda found: texts[found[1]], _file("page.html"))
    return page.encode().split(b"{{nonce}}")


def _file(name: str) -> str:
    return (_STATIC / name).read_text("utf-8")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _example(name: str) -> Mapping[str, Any]:
    """An example: a ConfigMap, Namespaces, and the pods, each a document of a file."""
    documents = _file(f"examples/{name}.yaml").split("\n---\n")
    manifests = [manifest for text in documents for manifest in read_manifests(text)]
    return {
        "profile": manifests[0].value["data"],
        "namespaces": _namespaces(manifests),
        "pod": "---\n".join(
            f"{text.strip()}\n"
            for text, manifest in zip(documents, manifests, strict=True)
            if manifest.kind not in ("ConfigMap", "Namespace")
        ),
    }


def _namespaces(manifests: Sequence[Manifest]) -> dict[str, Mapping[str, str]]:
    """The labels of the Namespaces, as far as they are texts."""
    return {
        each.name: {key: value for key, value in labels.items() if isinstance(value, str)}
        for each in manifests
        if each.kind == "Namespace"
        if isinstance(labels := each.metadata.get("labels") or {}, dict)
    }


def _texts(data: Mapping[str, object]) -> dict[str, str]:
    return {key: text for key in KEYS if isinstance(text := data.get(key), str)}


def _unpacked(data: Mapping[str, str]) -> _Reading:
    """The data of a profile; of a whole object instead of selectors, what it has in it."""
    text = data.get("selectors", "")
    if "ConfigMap" not in text:
        return _Reading(data)
    try:
        manifests = list(read_manifests(text))
    except ValueError:
        return _Reading(data)
    for manifest in manifests:
        found = manifest.value.get("data")
        if manifest.kind == "ConfigMap" and isinstance(found, dict) and "selectors" in found:
            texts = _texts(found)
            if len(texts) != len(found.keys() & set(KEYS)):  # a value that is none stays in sight
                return _Reading(found)
            namespace = manifest.metadata.get("namespace")
            name = f"{namespace}/{manifest.name}" if namespace else manifest.name
            taken = {"name": name, "data": texts, "namespaces": _namespaces(manifests)}
            return _Reading(texts, taken)
    return _Reading(data)


def _answer(
    reading: _Reading, known: Mapping[str, Mapping[str, str]], loaded: Mapping[str, str]
) -> Mapping[str, Any]:
    language = reading.language
    diagnostics = examine(reading.data)
    invalid = any(each.severity == "error" for each in diagnostics)
    answer: dict[str, Any] = {
        "diagnostics": [_diagnostic(each, language) for each in diagnostics],
        "changes": _changes(loaded, reading.data, language),
        "namespaces": [],
        "labelErrors": reading.label_errors,
        "pods": [],
    }
    if reading.taken:
        answer["taken"] = reading.taken
    if reading.pod_error:
        answer["podError"] = reading.pod_error
    labels: dict[str, Mapping[str, str]] = {}
    for name in dict.fromkeys(pod.namespace for pod in reading.pods):
        found = reading.given.get(name, known.get(name))
        labels[name] = {**(found or {}), NAME_LABEL: name}
        answer["namespaces"].append(
            {"name": name, "labels": labels[name], "known": found is not None}
        )
    if invalid or reading.pod_error or reading.label_errors:
        return answer
    matcher = Matcher(parse(reading.data) if reading.data else Profile())
    for pod in reading.pods:
        of_namespace = labels[pod.namespace]
        complete = pod.namespace in reading.given or pod.namespace in known
        explanation = explain(pod.pod, of_namespace, matcher, pod.unknown, complete=complete)
        explained = document(pod, pod.namespace, of_namespace, explanation, language)
        lines = [translated(line, language) for line in diff(pod.value, explained["pod"])]
        answer["pods"].append({**explained, "diff": lines})
    return answer


def _changes(
    loaded: Mapping[str, str], data: Mapping[str, object], language: Language
) -> list[Mapping[str, Any]]:
    """How the profile differs from the one that was loaded, for each key that does."""
    compared = ((key, loaded.get(key, ""), data.get(key, "")) for key in KEYS)
    return [
        {"key": key, "lines": [translated(line, language) for line in _differences(old, new)]}
        for key, old, new in compared
        if isinstance(new, str) and old.strip() != new.strip()
    ]


def _differences(before: str, after: str) -> list[str]:
    """The lines of a unified diff without its head and line numbers."""
    old, new = before.splitlines(), after.splitlines()
    first = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
    if first is None:
        first = min(len(old), len(new))
    last, most = 0, min(len(old), len(new)) - first  # lines at the end that are the same
    while last < most and old[-1 - last] == new[-1 - last]:
        last += 1
    start, end = max(first - _CONTEXT, 0), max(last - _CONTEXT, 0)
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    if len(old) + len(new) > _MOST_CHANGED:
        return [
            Message(
                "@@ {before} and {after} lines are too many to compare @@",
                before=len(old),
                after=len(new),
            )
        ]
    lines = islice(difflib.unified_diff(old, new, n=_CONTEXT, lineterm=""), 2, None)
    return ["@@" if line.startswith("@@") else line for line in lines]


def _at(message: str, line: int = 1, column: int = 1) -> Mapping[str, Any]:
    return {"message": message, "line": line, "column": column}


def _diagnostic(diagnostic: Diagnostic, language: Language) -> Mapping[str, Any]:
    line, column = diagnostic.position
    problem = diagnostic.problem
    return {
        "severity": diagnostic.severity,
        "key": problem.root,
        "path": problem.path,
        **_at(translated(problem.message, language), line, column),
    }
