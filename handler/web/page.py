"""The web page for editing profiles, and the answers to its requests."""

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
"""The examples on the page, in its order: names of files in ``static/examples``."""

_MOST_BYTES = 1536 * 1024  # the largest object that Kubernetes accepts
_MOST_PODS = 100  # each is compared with every selector, of which there may be thousands
_MOST_NAMESPACES = 20  # read for one request
_MOST_CHANGED = 1_000  # lines to compare; the time can grow with their square
_CONTEXT = 3  # lines around a difference
_STATIC = Path(__file__).parent / "static"
_PART = re.compile(r"\{\{(\w+)\}\}")


@validated(frozen=True, slots=True, config={"alias_generator": to_camel})
class _Question:
    """A request to explain: the data of a profile, pods in YAML, and labels of namespaces.

    The labels of other namespaces are read from the store. ``language`` is that of the messages in
    the answer.
    """

    profile: dict[StrictStr, StrictStr]
    pod: StrictStr
    namespaces: dict[StrictStr, StrictStr]
    language: Language = "en"


_QUESTION = TypeAdapter(_Question)


@dataclass(slots=True)
class _Reading:
    """A parsed request, with the errors in it.

    ``taken``: the contents of the ConfigMap if ``selectors`` was a whole object. ``given``: labels
    of namespaces in the request. ``listed``: the names of all namespaces, None if unknown.
    """

    data: Mapping[str, object]
    taken: Mapping[str, Any] | None = None
    language: Language = "en"
    pods: list[PlannedPod] = field(default_factory=list)
    given: dict[str, Mapping[str, str]] = field(default_factory=dict)
    listed: Collection[str] | None = None
    pod_error: Mapping[str, Any] | None = None
    label_errors: dict[str, str] = field(default_factory=dict)


class Page:
    """The page, and the answers to its requests as objects for JSON.

    ``listed`` returns the names of all known namespaces and may raise SourceError. Without it, a
    namespace is known if the store can read it.
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
        """Return the page and its headers.

        Its Content-Security-Policy allows only scripts and styles with the nonce of this response.
        """
        parts = await asyncio.to_thread(_parts)  # 10 ms the first time; reviews must not wait
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
        """Return the profile as it was last read, and the number of selectors in force.

        The diagnostics have ``messages`` by language. Raises LoadError if it was never read.
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
        """Explain what the profile in a body does to the pods in it, or report the errors in them.

        Raises ValueError if the body does not have the page's format or is longer than 1.5 MiB.
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
        """Plan what the profile in a body would change for the objects in it.

        The first line of the body is JSON with the data of the profile. The rest is the output of
        ``kubectl get -o json``. Raises ValueError if the first line is not like this, and
        LoadError if the current profile was never read.
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
        """Return the labels of a namespace, or None if they are unknown."""
        if listed is not None and name not in listed:
            return None
        try:
            return await self._store.namespace_labels(name)
        except LoadError:
            return None


def _planned(body: bytes, current: Profile) -> Mapping[str, Any]:
    from .planned import planned  # imported only if a plan is requested, with its dependencies

    return planned(body, current)


@cache
def _parts() -> Sequence[bytes]:
    """Return the parts of the page between which the nonce goes. Read once, when first needed."""
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
    """Read an example: a YAML file of a ConfigMap, then Namespaces and pods or workloads."""
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
    """Return the labels of the Namespaces by name, without values that are not strings."""
    return {
        each.name: {key: value for key, value in labels.items() if isinstance(value, str)}
        for each in manifests
        if each.kind == "Namespace"
        if isinstance(labels := each.metadata.get("labels") or {}, dict)
    }


def _texts(data: Mapping[str, object]) -> dict[str, str]:
    return {key: text for key in KEYS if isinstance(text := data.get(key), str)}


def _unpacked(data: Mapping[str, str]) -> _Reading:
    """Return the data of a profile, or that of the ConfigMap if ``selectors`` is a whole object."""
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
            # Keep values of other types, so that they are reported.
            if len(texts) != len(found.keys() & set(KEYS)):
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
    """Return the differences from the loaded profile, for each key that differs."""
    compared = ((key, loaded.get(key, ""), data.get(key, "")) for key in KEYS)
    return [
        {"key": key, "lines": [translated(line, language) for line in _differences(old, new)]}
        for key, old, new in compared
        if isinstance(new, str) and old.strip() != new.strip()
    ]


def _differences(before: str, after: str) -> list[str]:
    """Return the lines of a unified diff, without header and line numbers."""
    old, new = before.splitlines(), after.splitlines()
    first = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
    if first is None:
        first = min(len(old), len(new))
    last, most = 0, min(len(old), len(new)) - first  # equal lines at the end
    while last < most and old[-1 - last] == new[-1 - last]:
        last += 1
    start, end = max(first - _CONTEXT, 0), max(last - _CONTEXT, 0)
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    if len(old) + len(new) > _MOST_CHANGED:
        return [
            Message(
                "@@ too many lines to compare: {before} and {after} @@",
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
