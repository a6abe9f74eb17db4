"""Questions of our own, asked over the same connections as what is relayed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from .ask import LONGEST_REPLY, Question, Reply, Unreachable
from .connect import Place
from .request import authority, render

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from ...answers import Fields
    from .connection import Upstream
    from .pool import Pool
    from .response import ResponseHead


class Questions:
    """Asks over the connections of a pool."""

    def __init__(self, pool: Pool, clock: IReactorTime) -> None:
        self._pool = pool
        self._clock = clock

    def ask(self, question: Question) -> Deferred[Reply]:
        """Ask; a Deferred that is cancelled asks no more.

        All of it has as long as connecting and a registry's silence may take, however it trickles:
        many may wait for the answer, and it is short.
        """
        return _Asking(question, self._pool).start(self._clock)


class _Asking:
    """One question on its way."""

    def __init__(self, question: Question, pool: Pool) -> None:
        self._question = question
        self._pool = pool
        terms = question.registry.terms
        self._place = Place(question.origin, terms.authorities)
        self._reply: Deferred[Reply] = Deferred(lambda _: self._leave())
        self._upstream: Upstream | None = None
        self._head: ResponseHead | None = None
        self._body = bytearray()
        self._has_tried_again = False

    def start(self, clock: IReactorTime) -> Deferred[Reply]:
        terms = self._question.registry.terms
        self._acquire()
        return self._reply.addTimeout(terms.connect + terms.idle, clock, self._late)

    def _late(self, _: object, __: float) -> Failure:
        return Failure(self._unreachable(504, "gives no answer: it takes too long to answer"))

    def _acquire(self) -> None:
        terms = self._question.registry.terms
        fresh = self._has_tried_again or self._question.method != b"GET"
        self._pool.acquire(self._place, terms, self, fresh=fresh)

    def connected(self, upstream: Upstream) -> None:
        """Ask it here."""
        self._upstream = upstream
        method, target, fields, body = (
            self._question.method,
            self._question.target,
            self._question.fields,
            self._question.body,
        )
        if body:
            fields = (*fields, (b"content-length", b"%d" % len(body)))
        fields = ((b"host", authority(self._question.origin)), *fields)
        upstream.ask(render(method, target, fields) + body, method, self)
        upstream.sent()

    def interim(self, head: ResponseHead) -> None:
        """The answer is still to come."""

    def answered(self, head: ResponseHead) -> None:
        """The answer begins."""
        self._head = head

    def content(self, data: bytes) -> None:
        """Keep a part of its body."""
        self._body += data
        if len(self._body) > LONGEST_REPLY and self._upstream is not None:
            self._leave()
            self._fail(502, "has too long an answer")

    def ended(self, trailers: Fields) -> None:
        """The answer is whole."""
        self._upstream = None
        if self._reply.called:
            return
        assert self._head is not None
        fields = tuple((name.lower(), value) for name, value in self._head.fields)
        self._reply.callback(Reply(self._head.status, fields, bytes(self._body)))

    def flush(self) -> None:
        """There will be more."""

    def failed(self, why: Unreachable, *, is_stale: bool) -> None:
        """There is no answer."""
        self._upstream = None
        if is_stale and self._question.method == b"GET" and not self._has_tried_again:
            self._has_tried_again = True
            self._acquire()
        else:
            self._fail(why.status, f"gives no answer: {why.message}")

    def _fail(self, status: int, message: str) -> None:
        if not self._reply.called:
            self._reply.errback(self._unreachable(status, message))

    def _unreachable(self, status: int, message: str) -> Unreachable:
        """Clients are told of a registry by its name: its address is not theirs to know."""
        registry, origin = self._question.registry, self._question.origin
        asked = f"the registry '{registry.name}'"
        if origin != registry.origin:
            asked = f"the realm of '{registry.name}' ({origin})"
        return Unreachable(status, f"{asked} {message}")

    def _leave(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abandon()
        else:
            self._pool.leave(self._place, self)

    def hold_body(self) -> None:
        """All of it has been handed over."""

    def resume_body(self) -> None:
        """All of it has been handed over."""
