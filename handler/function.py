"""The function: method, path and body in; status, headers and body out. Knows no host."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from . import log, metrics
from .admission import Admission
from .cache import LoadError
from .review import BadReviewError

if TYPE_CHECKING:
    from .page import Page

__all__ = ["Answer", "Function", "failure"]

_JSON = {"content-type": "application/json"}
_LEVELS = {
    **dict.fromkeys(("patched", "unchanged"), logging.INFO),
    **dict.fromkeys(("ignored", "left_alone", "no_match"), logging.DEBUG),
    **dict.fromkeys(("profile_accepted", "profile_refused"), logging.INFO),
    "unavailable": logging.DEBUG,  # the cache says it once
    **dict.fromkeys(("bad_request", "too_large", "error"), logging.WARNING),
}
_COUNTS = {outcome: metrics.REVIEWS.labels(outcome) for outcome in _LEVELS}

_log = logging.getLogger("eci-profile")


class Answer(Struct, frozen=True):
    """An HTTP response."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: _JSON)


class Function:
    """Answers reviews, probes and Prometheus. ``max_body``: the most bytes a body may have.

    With a page, it is at ``/``, and what is posted to ``/explain`` is no review but the page's.
    """

    def __init__(self, admission: Admission, max_body: int, page: Page | None = None) -> None:
        self.max_body = max_body
        self.stopping = False
        self._admission = admission
        self._page = page
        self._get: Mapping[str, Callable[[], Awaitable[Answer]]] = {
            "/healthz": _alive,
            "/health/liveness": _alive,
            "/_/health": _alive,
            "/readyz": self._ready,
            "/health/readiness": self._ready,
            "/_/ready": self._ready,
            "/metrics": _metrics,
        }
        if page:
            html, headers = page.html, page.headers
            self._get = {
                **self._get,
                "/": lambda: _given(Answer(200, html, headers)),
                "/profile": lambda: self._of_page(page.profile()),
            }

    async def answer(self, method: str, path: str, body: bytes | None = b"") -> Answer:
        """Answer a request. A body of None stands for one that is longer than it may be."""
        if method == "POST":
            if self._page and path == "/explain" and body is not None:
                return await self._of_page(self._page.explain(body))
            return await self._review(body)
        answer = self._get.get(path)
        if answer is not None and method in ("GET", "HEAD"):
            return await answer()
        return failure(
            405,
            "MethodNotAllowed",
            f"{method} {path} is not answered: POST an AdmissionReview, or GET one of "
            + ", ".join(self._get),
            {"allow": "POST, GET, HEAD" if answer else "POST"},
        )

    def stop(self) -> None:
        """Be ready no longer, so that requests go elsewhere; those that come are answered."""
        self.stopping = True

    async def _review(self, body: bytes | None) -> Answer:
        began = time.perf_counter()
        outcome, answer, facts = await self._decide(body)
        seconds = time.perf_counter() - began
        _COUNTS[outcome].inc()
        metrics.SECONDS.observe(seconds)
        level = _LEVELS[outcome]
        if _log.isEnabledFor(level):
            milliseconds = round(seconds * 1000, 3)
            log.line(level, "review", {"outcome": outcome, **facts, "ms": milliseconds})
        return answer

    async def _decide(self, body: bytes | None) -> tuple[str, Answer, Mapping[str, Any]]:
        try:
            if body is None:
                text = f"the body is longer than {self.max_body} bytes (ECI_PROFILE_MAX_BODY)"
                return "too_large", failure(413, "RequestEntityTooLarge", text), {}
            decision = await self._admission.decide(body)
        except BadReviewError as error:
            reason = str(error)
            return "bad_request", failure(400, "BadRequest", reason), {"reason": reason}
        except LoadError as error:
            reason = str(error)
            return "unavailable", failure(503, "ServiceUnavailable", reason), {"reason": reason}
        except Exception as error:
            return "error", _unexpected(error), {}
        return decision.outcome, Answer(200, decision.body), decision.facts

    async def _of_page(self, found: Awaitable[Mapping[str, Any]]) -> Answer:
        try:
            return _json(200, await found, {"cache-control": "no-store"})
        except ValueError as error:
            return failure(400, "BadRequest", str(error))
        except LoadError as error:
            return failure(503, "ServiceUnavailable", str(error))
        except Exception as error:
            return _unexpected(error)

    async def _ready(self) -> Answer:
        if self.stopping:
            return failure(503, "ServiceUnavailable", "the process is about to end")
        try:
            state = await self._admission.state()
        except LoadError as error:
            return failure(503, "ServiceUnavailable", str(error))
        if state.matcher is None:
            return failure(503, "ServiceUnavailable", f"the profile is invalid: {state.errors}")
        selectors = len(state.matcher.profile.selectors)
        return _json(200, {"status": "ready", "selectors": selectors})


async def _given(answer: Answer) -> Answer:
    return answer


async def _alive() -> Answer:
    return _json(200, {"status": "alive"})


async def _metrics() -> Answer:
    return Answer(200, metrics.exposition(), {"content-type": metrics.CONTENT_TYPE})


def _unexpected(error: Exception) -> Answer:
    _log.error("unexpected error", exc_info=error)
    text = f"unexpected {type(error).__name__}, see the log of eci-profile"
    return failure(500, "InternalError", text)


def _json(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(body).encode(), {**_JSON, **(headers or {})})


def failure(
    code: int, reason: str, message: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """An error, as Kubernetes writes one, so that kubectl shows the message as it is."""
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
