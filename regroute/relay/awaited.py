"""A request that is answered here, when its body has come and others have been asked."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from ..answers import Reason, refuse, refused
from ..web.body import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from ..answers import Answer, Fields, Refusal

_log = Logger()


class Awaited:
    """The exchange of a request that `ask` has the answer to, by its body.

    `give` sends an answer and records it; the second argument is when the request began, by
    `perf_counter`. A client that leaves before gets none, and nothing is recorded.
    """

    wants_continue = True

    def __init__(
        self,
        ask: Callable[[bytes], Deferred[Answer]],
        give: Callable[[Answer, float], None],
    ) -> None:
        self._began = perf_counter()
        self._ask = ask
        self._give = give
        self._body = bytearray()
        self._answer: Deferred[Answer] | None = None
        self._is_over = False

    def begin(self) -> None:
        """Its body is to come."""

    def take(self, content: bytes) -> None:
        """Keep a part of the body, up to what such a body may be."""
        if self._is_over:
            return
        self._body += content
        if len(self._body) > LIMIT:
            self._conclude(
                refuse(413, "the body is too long", under_v2=True, reason=Reason.FRAMING)
            )

    def end(self, trailers: Fields) -> None:
        """Look for the answer."""
        if self._is_over:
            return
        self._answer = self._ask(bytes(self._body))
        self._answer.addCallbacks(self._conclude, self._fail)

    def _conclude(self, answer: Answer) -> None:
        if not self._is_over:
            self._is_over = True
            self._give(answer, self._began)

    def _fail(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            _log.failure("no answer to a request", failure)
            self._conclude(refuse(500, "internal error", under_v2=True, reason=Reason.INTERNAL))

    def pause(self) -> None:
        """It is sent at once."""

    def resume(self) -> None:
        """It is sent at once."""

    def refuse(self, refusal: Refusal) -> None:
        """The body cannot be read to its end."""
        self._conclude(refused(refusal, under_v2=True))

    def lose(self) -> None:
        """The client has left."""
        if not self._is_over:
            self._is_over = True
            if self._answer is not None:
                self._answer.cancel()
