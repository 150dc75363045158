"""The function: method, path and body in; status, headers and body out. Independent of hosts."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from ..admission.admission import Admission
from ..admission.executor import BusyError
from ..admission.review import BadReviewError
from ..cluster.cache import LoadError
from ..cluster.store import Store
from ..telemetry import metrics
from ..telemetry.records import Outcome, Records

if TYPE_CHECKING:
    from .page import Page

__all__ = ["Answer", "Function", "failure"]

_JSON = {"content-type": "application/json"}

_log = logging.getLogger("eci-profile")


class Answer(Struct, frozen=True):
    """An HTTP response."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: _JSON)


class Function:
    """Answers reviews, probes and Prometheus. ``max_body``: the most bytes of a body.

    With a page, the page is at ``/``, and a POST to ``/explain`` or ``/plan`` is a request of the
    page.
    """

    def __init__(
        self, admission: Admission, store: Store, max_body: int, page: Page | None = None
    ) -> None:
        self.max_body = max_body
        self.stopping = False
        self._admission = admission
        self._store = store
        self._page = page
        self._records = Records()
        self._get: Mapping[str, Callable[[], Awaitable[Answer]]] = {
            "/healthz": self._alive,
            "/health/liveness": self._alive,
            "/_/health": self._alive,
            "/readyz": self._ready,
            "/health/readiness": self._ready,
            "/_/ready": self._ready,
            "/metrics": self._metrics,
        }
        if page:
            self._get = {
                **self._get,
                "/": lambda: _html(page),
                "/profile": lambda: self._of_page(page.profile()),
            }

    async def answer(self, method: str, path: str, body: bytes | None = b"") -> Answer:
        """Answer a request. The body is None if it was too long."""
        if method == "POST":
            if body is None:
                return self._too_large()
            if self._page and path == "/explain":
                return await self._of_page(self._page.explain(body))
            if self._page and path == "/plan":
                return await self._of_page(self._page.plan(body))
            return await self._review(body)
        answer = self._get.get(path)
        if answer is not None and method in ("GET", "HEAD"):
            return await answer()
        return failure(
            405,
            "MethodNotAllowed",
            f"{method} {path} is not supported: POST an AdmissionReview, or GET one of "
            + ", ".join(self._get),
            {"allow": "POST, GET, HEAD" if answer else "POST"},
        )

    def stop(self) -> None:
        """Stop being ready, so that requests go elsewhere; requests are still answered."""
        self.stopping = True
        self._store.stop()

    async def _review(self, body: bytes) -> Answer:
        began = time.perf_counter()
        try:
            reviewed = await self._admission.review(body)
        except Exception as error:
            outcome, answer, facts = _undecided(error)
            self._records.add(outcome, time.perf_counter() - began, facts)
        else:
            verdict = reviewed.verdict
            answer = Answer(200, reviewed.body, _JSON)
            seconds = time.perf_counter() - began
            self._records.add(verdict.outcome, seconds, verdict.facts, verdict.share)
        return answer

    def _too_large(self) -> Answer:
        self._records.add(Outcome.TOO_LARGE, 0.0, {})
        text = f"the body is longer than {self.max_body} bytes (ECI_PROFILE_MAX_BODY)"
        return failure(413, "RequestEntityTooLarge", text)

    async def _of_page(self, found: Awaitable[Mapping[str, Any]]) -> Answer:
        try:
            return _json(200, await found, {"cache-control": "no-store"})
        except ValueError as error:
            return failure(400, "BadRequest", str(error))
        except (LoadError, BusyError) as error:
            return failure(503, "ServiceUnavailable", str(error))
        except Exception as error:
            return _unexpected(error)

    async def _alive(self) -> Answer:
        # Some hosts never ask for readiness.
        self._store.look_after_registration()
        return _json(200, {"status": "alive"})

    async def _ready(self) -> Answer:
        if self.stopping:
            return failure(503, "ServiceUnavailable", "the process is shutting down")
        try:
            state = await self._store.profile()
        except LoadError as error:
            return failure(503, "ServiceUnavailable", str(error))
        if state.matcher is None:
            return failure(503, "ServiceUnavailable", f"the profile is invalid: {state.errors}")
        ready = {"status": "ready", "selectors": len(state.matcher.profile.selectors)}
        if why := self._store.outdated(state):
            ready["outdated"] = f"the last good profile is in force, {why}"
        return _json(200, ready)

    async def _metrics(self) -> Answer:
        self._records.write()
        return Answer(200, metrics.exposition(), {"content-type": metrics.CONTENT_TYPE})


async def _html(page: Page) -> Answer:
    return Answer(200, *await page.html())


def _undecided(error: Exception) -> tuple[Outcome, Answer, Mapping[str, Any]]:
    reason = str(error)
    match error:
        case BadReviewError():
            answer = failure(400, "BadRequest", reason)
            return Outcome.BAD_REQUEST, answer, {"reason": reason}
        case LoadError() | BusyError():
            answer = failure(503, "ServiceUnavailable", reason)
            return Outcome.UNAVAILABLE, answer, {"reason": reason}
        case _:
            return Outcome.ERROR, _unexpected(error), {}


def _unexpected(error: Exception) -> Answer:
    _log.error("unexpected error", exc_info=error)
    text = f"unexpected {type(error).__name__}, see the log of eci-profile"
    return failure(500, "InternalError", text)


def _json(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(body).encode(), {**_JSON, **(headers or {})})


def failure(
    code: int, reason: str, message: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return an error as a Kubernetes Status, whose message kubectl shows as it is."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return _json(code, status, headers)
