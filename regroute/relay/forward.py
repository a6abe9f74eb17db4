"""One relayed request: its way to the registry, and the answer's way back, as the bytes come."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from ..answers import Answer, Reason, refuse
from ..target import is_under_v2
from .passing import Passing, renamed, render_trailers
from .token.credentials import Send
from .upstream.response import render as render_head

if TYPE_CHECKING:
    from ..answers import Fields, Refusal
    from ..registry import Terms
    from ..web.exchange import Asking
    from .plan import Plan
    from .upstream.ask import Unreachable
    from .upstream.connect import Place
    from .upstream.connection import Upstream
    from .upstream.response import ResponseHead

LEFT = 499
"""The status in the log of a request whose client has left before its answer."""

_NOTHING = Send()


class Connections(Protocol):
    """Who gives out connections to registries."""

    def acquire(self, where: Place, terms: Terms, waiter: Forward, *, fresh: bool) -> None:
        """Give a forward a connection by its `connected`, or tell it by its `failed`."""

    def leave(self, where: Place, waiter: Forward) -> None:
        """A forward wants none any more."""


class Office(Protocol):
    """Who knows credentials and keeps the books."""

    def clear(self, forward: Forward) -> None:
        """Say what a request may carry, by its `go` or its `answer`, now or later."""

    def is_contradicted(self, forward: Forward, head: ResponseHead) -> bool:
        """Hear a registry's 401; whether `clear` says something else than before by now."""

    def challenge(self, forward: Forward, head: ResponseHead) -> Fields | Answer | None:
        """What the client is told in the place of a registry's own challenge, if anything: other
        fields, or another answer.
        """

    def give(self, forward: Forward, answer: Answer) -> None:
        """Give the client an answer of our own."""

    def record(self, forward: Forward, status: int) -> None:
        """Record the registry's answer, as far as it has been sent."""

    def trouble(self, forward: Forward, why: Unreachable) -> None:
        """Tell of an answer that has not come, or not to its end."""


class Forward:
    """The exchange of a relayed request."""

    wants_continue = False  # the registry says so

    __slots__ = (
        "_has_begun",
        "_has_tried_again",
        "_is_over",
        "_is_whole",
        "_office",
        "_passing",
        "_pool",
        "_request",
        "_upstream",
        "began",
        "client",
        "plan",
        "sent",
    )

    def __init__(self, plan: Plan, client: Asking, pool: Connections, office: Office) -> None:
        self.began = perf_counter()
        self.plan = plan
        self.client = client
        self._pool = pool
        self._office = office
        self.sent = _NOTHING
        """What has been sent of credentials."""
        self._request = b""
        self._is_whole = False  # the request has come to its end
        self._has_tried_again = False
        self._upstream: Upstream | None = None
        self._passing: Passing | None = None
        self._has_begun = False  # the answer has been sent, in part
        self._is_over = False

    # The request.

    def begin(self) -> None:
        """Ask what the request may carry, and let the body wait for it."""
        if self.plan.is_looping:
            self._give_up(502, "the request has been here again and again")
            return
        if self.plan.has_body:
            self.client.hold_body()
        self._office.clear(self)

    def go(self, send: Send) -> None:
        """Look for a connection to send it on, with these credentials."""
        if self._is_over:
            return
        self.sent = send
        self._request = self.plan.request(send)
        self._acquire()

    def _acquire(self) -> None:
        plan = self.plan
        fresh = plan.is_once or self._has_tried_again
        self._pool.acquire(plan.place, plan.relay.to.terms, self, fresh=fresh)

    def connected(self, upstream: Upstream) -> None:
        """Send the request."""
        self._upstream = upstream
        plan = self.plan
        upstream.ask(self._request, plan.head.method, self)
        if plan.has_body:
            self.client.resume_body()
        else:
            upstream.sent()

    def take(self, content: bytes) -> None:
        """Send a part of the body on."""
        if self._upstream is None:
            # What has been answered already has no need of it.
            return
        if self.plan.head.is_chunked:
            content = b"%x\r\n%b\r\n" % (len(content), content)
        self._upstream.write(content)

    def end(self, trailers: Fields) -> None:
        """The request is whole."""
        self._is_whole = True
        if self._upstream is None or not self.plan.has_body:
            return
        if self.plan.head.is_chunked:
            self._upstream.write(render_trailers(trailers))
        self._upstream.sent()

    def hold_body(self) -> None:
        """The registry does not take the body so fast."""
        if not self._is_whole:
            self.client.hold_body()

    def resume_body(self) -> None:
        """It has taken it so far."""
        self.client.resume_body()

    # The answer.

    def interim(self, head: ResponseHead) -> None:
        """Tell the client what comes before the answer."""
        if self.plan.head.version == b"1.1":
            fields = renamed(self.plan, head) if head.leads else head.end_to_end
            self.client.send(render_head(head.status, head.reason, fields))

    def answered(self, head: ResponseHead) -> None:
        """Begin with the answer."""
        if head.status == 401 and self._is_refused(head):
            return
        plan = self.plan
        if head.leads and _leads_back(plan, head):
            self._give_up(502, "it redirects the request to itself")
            return
        self._passing = Passing(plan, head, self.client.may_persist)

    def _is_refused(self, head: ResponseHead) -> bool:
        """Whether a 401 is not the answer: it is tried again, or answered here."""
        office = self._office
        again = not (self._has_tried_again or self.plan.is_once)
        if office.is_contradicted(self, head) and again:
            self._has_tried_again = True
            self._let_go()
            office.clear(self)
            return True
        told = office.challenge(self, head)
        if told is None:
            return False
        if isinstance(told, Answer):
            self.answer(told)
        else:
            self._passing = Passing(self.plan, head, self.client.may_persist, told)
        return True

    def content(self, data: bytes) -> None:
        """A part of the answer's body."""
        if self._passing is not None:
            self._passing.content(data)

    def flush(self) -> None:
        """Send what has come, unless the rest is to come with it."""
        if self._passing is not None and not self._is_over and (data := self._passing.due()):
            self._has_begun = True
            self.client.send(data)

    def ended(self, trailers: Fields) -> None:
        """The answer is whole."""
        passing = self._passing
        self._upstream = None
        if self._is_over or passing is None:
            return
        data = passing.end(trailers)
        self._has_begun = self._is_over = True
        self._office.record(self, passing.status)
        if data:
            self.client.send(data)
        self.client.finish(persists=passing.persists)

    def failed(self, why: Unreachable, *, is_stale: bool) -> None:
        """There is no answer, or no more of it."""
        self._upstream = None
        if self._is_over:
            return
        if is_stale and not (self.plan.is_once or self._has_tried_again):
            self._has_tried_again = True
            self._acquire()
            return
        self._office.trouble(self, why)
        if self._has_begun:
            self._break_off()
        else:
            self._give_up(why.status, why.message)

    def _break_off(self) -> None:
        """The answer has no end, and the client must notice."""
        assert self._passing is not None
        self._is_over = True
        self._office.record(self, self._passing.status)
        self.client.break_off()

    def _give_up(self, status: int, why: str) -> None:
        registry = self.plan.relay.registry
        message = f"the registry '{registry}' gives no answer: {why}"
        self._refuse(status, message, Reason.UNREACHABLE)

    def _refuse(self, status: int, message: str, reason: Reason) -> None:
        relay = self.plan.relay
        answer = refuse(
            status,
            message,
            under_v2=is_under_v2(relay.target),
            rule=relay.rule,
            kind=relay.kind,
            reason=reason,
        )
        self.answer(replace(answer, registry=relay.registry))

    def answer(self, answer: Answer) -> None:
        """Give an answer of our own, where none has begun."""
        if self._is_over:
            return
        self._is_over = True
        self._let_go()
        self._office.give(self, answer)

    def _let_go(self) -> None:
        """The registry need not go on."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abandon()
        else:
            self._pool.leave(self.plan.place, self)

    # The client.

    def pause(self) -> None:
        """The client does not take the answer so fast."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume(self) -> None:
        """It has taken it so far."""
        if self._upstream is not None:
            self._upstream.resume()

    def refuse(self, refusal: Refusal) -> None:
        """The request cannot be read to its end."""
        if self._has_begun:
            self._let_go()
            self._break_off()
        else:
            self._refuse(refusal.status, refusal.message, refusal.reason)

    def lose(self) -> None:
        """The client has left."""
        if self._is_over:
            return
        self._is_over = True
        self._let_go()
        status = self._passing.status if self._has_begun and self._passing else LEFT
        self._office.record(self, status)

    @property
    def location(self) -> str | None:
        """Where the answer leads."""
        return None if self._passing is None else self._passing.location

    @property
    def size(self) -> int:
        """How many bytes of the answer's body have been sent."""
        return self._passing.size if self._has_begun and self._passing else 0


def _leads_back(plan: Plan, head: ResponseHead) -> bool:
    if head.lines(b"set-cookie") and not is_under_v2(plan.relay.target):
        # A browser asks again with the cookie, and so for another thing. What asks a registry keeps
        # none.
        return False
    method = plan.head.method.decode("ascii")
    return any(
        plan.names.leads_back(method, head.status, location) for location in head.lines(b"location")
    )
