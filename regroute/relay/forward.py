"""One relayed request: its way to the registry, and the answer's way back, as the bytes come."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from twisted.logger import Logger
from twisted.web.http import datetimeToString

from ..answers import Answer, Reason, refuse
from ..logs.access_log import entry_of
from ..target import is_under_v2
from ..web import wire
from ..web.body import framing_of
from .ask import Unreachable
from .connect import Place
from .request import render as render_request
from .response import render as render_response

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from ..answers import Fields, Relay
    from ..respond import Response
    from ..web.exchange import Asking
    from ..web.strict import Head
    from .pool import Pool
    from .response import ResponseHead
    from .upstream import Upstream

SMALL = 64 * 1024
"""Up to how many bytes an answer is sent whole or not at all."""
LEFT = 499
"""The status in the log of a request whose client has left before its answer."""

_SAFE = (b"GET", b"HEAD", b"OPTIONS")

_log = Logger()


class Forward:
    """The exchange of a relayed request."""

    def __init__(
        self,
        head: Head,
        response: Response,
        relay: Relay,
        fields: Fields,
        client: Asking,
        pool: Pool,
        clock: IReactorTime,
    ) -> None:
        self._began = perf_counter()
        self._head = head
        self._response = response
        self._relay = relay
        self._fields = fields
        self._client = client
        self._pool = pool
        self._clock = clock
        terms = relay.to.terms
        self._place = Place(relay.to.origin, terms.authorities)
        self._framing = framing_of(head)
        # Nothing of it can be sent twice.
        self._is_once = self._framing is not None or head.method not in _SAFE
        self._is_whole = False  # the request has come to its end
        self._has_tried_again = False
        self._upstream: Upstream | None = None
        self._answer: ResponseHead | None = None
        self._out: list[bytes] = []  # of the answer, and not sent yet
        self._size = 0  # of the answer's body, in bytes
        self._is_waiting = False  # a small answer, until it is whole
        self._is_chunked = False  # the answer, to the client
        self._persists = False
        self._has_begun = False  # the answer has been sent, in part
        self._is_over = False

    # The request.

    def begin(self) -> None:
        """Look for a connection, and let the body wait for it."""
        if self._framing is not None:
            self._client.hold_body()
        self._acquire()

    def _acquire(self) -> None:
        fresh = self._is_once or self._has_tried_again
        self._pool.acquire(self._place, self._relay.to.terms, self, fresh=fresh)

    def connected(self, upstream: Upstream) -> None:
        """Send the request."""
        self._upstream = upstream
        target = self._relay.target.encode("ascii")
        request = render_request(self._head.method, target, self._fields)
        upstream.ask(request, self._head.method, self)
        if self._framing is None:
            if self._is_whole:
                upstream.sent()
        else:
            self._client.resume_body()

    def take(self, content: bytes) -> None:
        """Send a part of the body on."""
        assert self._upstream is not None
        if self._head.is_chunked:
            content = b"%x\r\n%b\r\n" % (len(content), content)
        self._upstream.write(content)

    def end(self, trailers: Fields) -> None:
        """The request is whole."""
        self._is_whole = True
        if self._upstream is None:
            return
        if self._head.is_chunked:
            lines = b"".join(b"%b: %b\r\n" % field for field in trailers)
            self._upstream.write(b"0\r\n%b\r\n" % lines)
        self._upstream.sent()

    def hold_body(self) -> None:
        """The registry does not take the body so fast."""
        if not self._is_whole:
            self._client.hold_body()

    def resume_body(self) -> None:
        """It has taken it so far."""
        self._client.resume_body()

    # The answer.

    def interim(self, head: ResponseHead) -> None:
        """Tell the client what comes before the answer."""
        if self._head.version == b"1.1":
            self._client.send(render_response(head.status, head.reason, head.end_to_end))

    def answered(self, head: ResponseHead) -> None:
        """Begin with the answer."""
        self._answer = head
        self._begin_answer(head, head.end_to_end)

    def _begin_answer(self, head: ResponseHead, fields: Fields) -> None:
        persists = self._client.may_persist
        if head.is_bodiless:
            pass
        elif head.length is not None:
            fields = (*fields, (b"Content-Length", b"%d" % head.length))
            self._is_waiting = head.length <= SMALL
        elif self._head.version == b"1.1":
            fields = (*fields, (b"Transfer-Encoding", b"chunked"))
            self._is_chunked = self._head.method != b"HEAD"
        else:
            persists = False
        if not persists:
            fields = (*fields, (b"Connection", b"close"))
        self._persists = persists
        self._out.append(render_response(head.status, head.reason, fields))

    def content(self, data: bytes) -> None:
        """A part of the answer's body."""
        self._size += len(data)
        if self._is_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._out.append(data)

    def flush(self) -> None:
        """Send what has come, unless the rest is to come with it."""
        if self._out and not self._is_waiting and not self._is_over:
            self._has_begun = True
            self._client.send(b"".join(self._out))
            self._out.clear()

    def ended(self, trailers: Fields) -> None:
        """The answer is whole."""
        assert self._answer is not None
        if self._is_over:
            return
        if self._is_chunked:
            lines = b"".join(b"%b: %b\r\n" % field for field in trailers)
            self._out.append(b"0\r\n%b\r\n" % lines)
        self._record(self._answer.status)
        self._is_waiting = False
        self.flush()
        self._is_over = True
        self._upstream = None
        self._client.finish(persists=self._persists)

    def failed(self, why: Unreachable, *, is_stale: bool) -> None:
        """There is no answer, or no more of it."""
        if self._is_over:
            return
        self._upstream = None
        if is_stale and not self._is_once and not self._has_tried_again:
            self._has_tried_again = True
            self._acquire()
            return
        _log.warn(
            "{registry} ({origin}): {why}",
            registry=self._relay.registry,
            origin=self._relay.to.origin,
            why=why.message,
        )
        if self._has_begun:
            self._record(self._answer.status if self._answer else why.status)
            self._is_over = True
            self._client.break_off()
            return
        self._respond(
            refuse(
                why.status,
                f"the registry {self._relay.registry} has no answer: {why.message}",
                under_v2=is_under_v2(self._relay.target),
                rule=self._relay.rule,
                kind=self._relay.kind,
                reason=Reason.UNREACHABLE,
            )
        )

    def _respond(self, answer: Answer) -> None:
        """Give an answer of our own, where none has begun."""
        persists = self._client.may_persist
        now = self._clock.seconds()
        fields = wire.answer_fields(answer, datetimeToString(now))
        body = b"" if self._head.method == b"HEAD" else answer.body
        self._size = len(body)
        self._record(answer.status, answer.reason)
        self._is_over = True
        self._client.send(wire.render_head(answer.status, fields, close=not persists) + body)
        self._client.finish(persists=persists)

    # The client.

    def pause(self) -> None:
        """The client does not take the answer so fast."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume(self) -> None:
        """It has taken it so far."""
        if self._upstream is not None:
            self._upstream.resume()

    def lose(self) -> bool:
        """The client has left: the registry need not go on."""
        if self._is_over:
            return self._has_begun
        self._is_over = True
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abandon()
        else:
            self._pool.leave(self._place, self)
        self._record(self._answer.status if self._answer and self._has_begun else LEFT)
        return self._has_begun

    def _record(self, status: int, reason: Reason | None = None) -> None:
        head = self._head
        entry = entry_of(self._response, head.method, head.target, head.lines, head.version)
        location = self._answer.lines(b"location") if self._answer else []
        self._client.record(
            entry._replace(
                time=self._clock.seconds(),
                status=status,
                location=location[0].decode("latin-1") if location else None,
                size=self._size,
                microseconds=int((perf_counter() - self._began) * 1e6),
                reason=reason,
            )
        )
