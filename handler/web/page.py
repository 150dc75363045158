"""The page for those who write profiles: what it shows, and what it asks the function."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import StrictStr, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as validated

from ..admission.executor import BoundedExecutor
from ..author.explanation import diff, document, explain
from ..author.workloads import PlannedPod, PodError, read_pods
from ..cluster.store import Store
from ..decision.matching import Matcher
from ..lint.diagnostics import Diagnostic, examine
from ..profiles.labels import parse_labels
from ..profiles.model import Profile
from ..profiles.parse import parse

__all__ = ["Page"]

_MOST_BYTES = 1536 * 1024  # as large as an object of Kubernetes may be
_MOST_PODS = 100  # each is explained by all selectors, of which there may be thousands
_FILE = Path(__file__).parent / "page.html"


@validated(frozen=True, slots=True, config={"alias_generator": to_camel})
class _Question:
    """What one has written: the data of a profile, pods in YAML, and labels ``key=value,...``."""

    profile: dict[StrictStr, StrictStr]
    pod: StrictStr
    namespace_labels: StrictStr


_QUESTION = TypeAdapter(_Question)


class Page:
    """The page and its answers, as JSON has them. ``headers`` are those of the page itself."""

    def __init__(self, store: Store, executor: BoundedExecutor) -> None:
        self._store = store
        self._executor = executor
        self.html = _FILE.read_bytes()
        self.headers: Mapping[str, str] = {
            "content-type": "text/html; charset=utf-8",
            "content-security-policy": _policy(self.html.decode()),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-cache",
        }

    async def profile(self) -> Mapping[str, Any]:
        """The profile as it was last read, and what is in force. Raises LoadError."""
        state = await self._store.profile()
        data = {
            key: text
            for key in ("selectors", "virtualNode")
            if isinstance(text := state.config_map.data.get(key), str)
        }
        diagnostics = await self._executor.run(examine, state.config_map.data)
        return {
            "namespace": self._store.namespace,
            "name": self._store.name,
            "data": data,
            "valid": not state.errors,
            "inForce": None if state.matcher is None else len(state.matcher.profile.selectors),
            "diagnostics": list(map(_diagnostic, diagnostics)),
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
            raise ValueError("the body must have profile, pod and namespaceLabels") from None
        return await self._executor.run(_answer, question)


def _answer(question: _Question) -> Mapping[str, Any]:
    diagnostics = examine(question.profile)
    invalid = any(each.severity == "error" for each in diagnostics)
    matcher = Matcher(Profile() if invalid else parse(question.profile))
    answer: dict[str, Any] = {"diagnostics": list(map(_diagnostic, diagnostics)), "pods": []}
    labels: Mapping[str, str] = {}
    pods: list[PlannedPod] = []
    try:
        labels = parse_labels(question.namespace_labels)
    except ValueError as error:
        answer["labelsError"] = str(error)
    try:
        pods = list(islice(read_pods(question.pod), _MOST_PODS + 1))
    except PodError as error:
        line, column = error.position
        answer["podError"] = {"message": str(error), "line": line, "column": column}
    if len(pods) > _MOST_PODS:
        message = f"there are more than {_MOST_PODS} pods; try fewer at a time"
        answer["podError"] = {"message": message, "line": 1, "column": 1}
        return answer
    if invalid or "labelsError" in answer:
        return answer
    for pod in pods:
        explained = document(pod, pod.namespace, labels, explain(pod.pod, labels, matcher))
        answer["pods"].append({**explained, "diff": diff(pod.value, explained["pod"])})
    return answer


def _diagnostic(diagnostic: Diagnostic) -> Mapping[str, Any]:
    line, column = diagnostic.position
    problem = diagnostic.problem
    return {
        "severity": diagnostic.severity,
        "key": problem.root,
        "line": line,
        "column": column,
        "path": problem.path,
        "message": problem.message,
    }


def _policy(html: str) -> str:
    """A Content-Security-Policy for just the page's own script and style, and this server."""

    def own(tag: str) -> str:
        texts = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        hashes = (hashlib.sha256(text.encode()).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes)

    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {own('script')}",
            f"style-src {own('style')}",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
