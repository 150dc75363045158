"""Reviews: which are answered with what, and what has to be known for it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from .cache import LOAD_SECONDS, Cache, Health, LoadError
from .executor import BoundedExecutor, in_threads
from .loader import ProfileLoader, State
from .mutation import left_alone, mutate
from .pod import Metadata, Pod
from .problems import Problem
from .profile import ProfileError, parse
from .review import Envelope, Response, Review, read, read_config_map_data, write
from .settings import Settings
from .shorten import shorten
from .sources import NotFoundError, Source, SourceError

__all__ = ["NAMESPACE_THREADS", "Admission", "Decision"]

NAMESPACE_THREADS = 16
_NAMESPACES = 10_000  # as many as Kubernetes is made for
_NAMESPACE_KEPT = 600.0  # seconds
_MOST_JUDGED = 4  # profiles that wait; kube-apiserver waits 10 s, and one takes 2 s at most
_LONGEST_FACT = 253  # characters in the log: as long as a name may be
_MOST_PROBLEMS = 20  # shown when a profile is refused: a screen of them


class Decision(Struct, frozen=True):
    """The answer to a review. ``facts`` are for the log."""

    outcome: str
    body: bytes
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Admission:
    """Decides reviews. One for a process, used on one event loop."""

    def __init__(self, settings: Settings, source: Source) -> None:
        self._profile_is = (settings.namespace, settings.name)
        self._key = "/".join(self._profile_is)
        self._source = source
        self._loader = ProfileLoader(source, settings.namespace, settings.name)
        health = Health()
        self._profile = Cache(
            "profile",
            in_threads("profile", 1, self._loader.load),
            ttl=settings.ttl,
            keep=math.inf,
            size=1,
            health=health,
        )
        self._namespaces = Cache(
            "namespace",
            in_threads("namespace", NAMESPACE_THREADS, self._namespace_labels),
            ttl=settings.ttl,
            keep=_NAMESPACE_KEPT,
            size=_NAMESPACES,
            health=health,
        )
        self.judging = BoundedExecutor("judging", _MOST_JUDGED)
        """Judges profiles that somebody wrote."""
        self._reports: set[asyncio.Future[None]] = set()

    def preload(self) -> None:
        """Read the profile ahead of the first review. Raises LoadError."""
        self._loader.load()

    async def decide(self, body: bytes) -> Decision:
        """Answer an AdmissionReview.

        Raises BadReviewError if it is none, and LoadError if what it takes can't be known.
        """
        review = read(body)
        request, pod = review.request, review.pod
        if pod is None:
            return await self._of_no_pod(review, body)
        facts = _facts(request, pod)
        if reason := left_alone(pod):
            return Decision("left_alone", write(review, Response()), {**facts, "reason": reason})
        began = time.monotonic()
        state = await self._profile.get(self._key)
        if not request.dry_run:
            self._report_once(state)
        if state.matcher is None:
            raise LoadError(f"the profile is invalid: {state.errors.splitlines()[0]}")
        labels = (pod.metadata and pod.metadata.labels) or {}
        selectors = state.matcher.match_by_pod(labels)
        if selectors is None:
            left = LOAD_SECONDS - (time.monotonic() - began)
            namespace_labels = await self._namespaces.get(request.namespace or "", left)
            selectors = state.matcher.match(labels, namespace_labels)
        if not selectors:
            return Decision("no_match", write(review, Response()), facts)
        mutation = mutate(pod, selectors, state.matcher.profile.virtual_node)
        names = ",".join(mutation.selectors)
        facts["selectors"] = names
        facts["placement"] = "refused" if mutation.refused else mutation.placement
        facts["warnings"] = len(mutation.warnings)
        response = Response(
            operations=mutation.operations,
            warnings=mutation.warnings,
            audit_annotations={"selectors": names, "placement": mutation.placement or ""},
        )
        outcome = "patched" if mutation.operations else "unchanged"
        return Decision(outcome, write(review, response), facts)

    async def state(self) -> State:
        """The state of the profile; a bad one is reported.

        Raises LoadError if it was never read.
        """
        state = await self._profile.get(self._key)
        self._report_once(state)
        return state

    def _report_once(self, state: State) -> None:
        if state.errors and not state.reported:
            state.reported = True
            report = asyncio.get_running_loop().run_in_executor(None, self._loader.report, state)
            self._reports.add(report)
            report.add_done_callback(self._reports.discard)

    async def _of_no_pod(self, review: Review, body: bytes) -> Decision:
        request = review.request
        if (
            request.concerns("configmaps", "CREATE", "UPDATE")
            and (request.namespace, request.name) == self._profile_is
        ):
            return await self._profile_edit(review, body)
        return Decision("ignored", write(review, Response()), _facts(request))

    async def _profile_edit(self, review: Review, body: bytes) -> Decision:
        facts = _facts(review.request)
        try:
            # A large profile takes a while; pods don't wait for it.
            data = read_config_map_data(body)
            doubtful = await self.judging.run(_doubts, data)
        except ProfileError as error:
            refusal = _refusal(error)
            return Decision(
                "profile_refused",
                write(review, Response(allowed=False, refusal=refusal)),
                {**facts, "problems": len(error.problems)},
            )
        warnings = [str(doubt) for doubt in doubtful]
        return Decision("profile_accepted", write(review, Response(warnings=warnings)), facts)

    def _namespace_labels(self, name: str) -> Mapping[str, str]:
        try:
            return self._source.namespace_labels(name)
        except SourceError as error:
            gone = isinstance(error, NotFoundError)
            raise LoadError(str(error), gone=gone, retry_after=error.retry_after) from None


def _facts(request: Envelope, pod: Pod | None = None) -> dict[str, Any]:
    metadata = (pod and pod.metadata) or Metadata()
    name = request.name or metadata.name or metadata.generate_name or ""
    return {
        "uid": shorten(request.uid, _LONGEST_FACT),
        "namespace": request.namespace and shorten(request.namespace, _LONGEST_FACT),
        "object": shorten(name, _LONGEST_FACT) or None,
        "dry_run": bool(request.dry_run),
    }


def _doubts(data: Mapping[str, Any]) -> list[Problem]:
    # Imported here: profiles are edited seldom, and a start does without.
    from .doubts import doubts

    return doubts(parse(data))


def _refusal(error: ProfileError) -> str:
    """A problem a line: kubectl shows it as it is, and kubectl edit above the text edited."""
    count = len(error.problems)
    shown = [f"  {problem}" for problem in error.problems[:_MOST_PROBLEMS]]
    if count > _MOST_PROBLEMS:
        shown.append(f"  and {count - _MOST_PROBLEMS} more")
    problems = "1 problem" if count == 1 else f"{count} problems"
    return "\n".join((f"the profile was not saved, it has {problems}:", *shown))
