"""Dispatches reviews by resource."""

from __future__ import annotations

from msgspec import Struct

from ..cluster.store import Store
from ..messages.message import Language
from ..telemetry.records import Outcome
from .bindings import judge_binding
from .edits import judge_edit
from .executor import BoundedExecutor
from .pods import PodJudge
from .review import Review, read, read_binding, read_edit, write
from .verdict import Verdict, facts_of

__all__ = ["Admission", "Reviewed"]


class Reviewed(Struct, frozen=True):
    """The response to a review, and its result."""

    body: bytes
    verdict: Verdict


class Admission:
    """Answers reviews. There is one per process, for one event loop.

    ``executor`` validates edits of the profile. ``bindings``: whether effects at binding are
    switched on. ``language``: that of a refused edit's message.
    """

    def __init__(
        self,
        store: Store,
        executor: BoundedExecutor,
        *,
        bindings: bool = False,
        language: Language = "en",
    ) -> None:
        self._store = store
        self._pods = PodJudge(store)
        self._executor = executor
        self._bindings = bindings
        self._language: Language = language

    async def review(self, body: bytes) -> Reviewed:
        """Answer an AdmissionReview.

        Raises BadReviewError if it is invalid, LoadError if a needed object cannot be read, and
        BusyError if too many edits of the profile are being validated.
        """
        review = read(body)
        if review.pod is not None:  # nearly always
            verdict = await self._pods.judge(review.request, review.pod)
        else:
            verdict = await self._judge_other(review, body)
        return Reviewed(write(review, verdict.response), verdict)

    async def _judge_other(self, review: Review, body: bytes) -> Verdict:
        request = review.request
        if self._bindings and request.concerns("pods", "CREATE", sub_resource="binding"):
            return await judge_binding(self._store, request, read_binding(review, body))
        profile = self._store.namespace, self._store.name
        if (
            request.concerns("configmaps", "CREATE", "UPDATE")
            and (request.namespace, request.name) == profile
        ):
            edit = read_edit(body)
            return await judge_edit(
                self._executor, request, edit, bindings=self._bindings, language=self._language
            )
        return Verdict(Outcome.IGNORED, facts_of(request))
