"""One HTTP connection: what is well-formed goes to twisted.web, a request a turn of the reactor.

The connection takes the bytes first and hands `HTTPChannel` whole heads that `strict` has read. So
the deadlines, the limits and the order of requests are decided here, and twisted.web sees nothing
that it would read more generously. Bodies are dropped: no answer depends on one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.web.http import HTTPChannel, datetimeToString
from zope.interface import implementer

from ..answers import Reason, Refusal, refused
from ..logs.access_log import entry_of
from ..metrics.events import Event
from ..respond import Response
from ..target import means_v2
from . import wire
from .body import Body, TooLong, framing_of
from .deadline import Deadline
from .progress import taken
from .strict import END, Head, has_bare_lf, read_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure
    from twisted.web.http import Request
    from twisted.web.http_headers import Headers

    from .hosting import Host, StreamTransport


PROXY_IDLE_TIME = 650.0
"""How long a proxy of ours may send no request, in seconds: their own limits are ten minutes at the
most, and who closes first must be the proxy, or a request may meet a closing connection."""
LINGER_TIME = 5.0
"""How long a client may leave its half open after we have closed ours, in seconds."""

_EMPTY_LINES = re.compile(rb"(?:\r\n)*")
# A line feed on its own is no line's end (RFC 9112 §2.2), and the other readers of a chain differ
# about it. It can be told before the head is whole; waiting would only end in a timeout.
_LINE_END = re.compile(rb"\r?\n")
# What twisted.web must not see, for it is settled before.
SETTLED = (b"connection", b"content-length", b"transfer-encoding", b"expect")


@implementer(IHalfCloseableProtocol)
class Connection(HTTPChannel):
    """A transport's protocol; `site` counts it among its connections while it lives."""

    # Deadlines are kept here; HTTPChannel's begins anew with every byte.
    timeOut = None

    site: Host
    transport: StreamTransport  # type: ignore[assignment]  # narrower than any ITransport

    def __init__(self, reactor: IReactorTime) -> None:
        HTTPChannel.__init__(self)
        self._reactor = reactor
        self._head_time = self._idle_time = 0.0
        self._head_size = 0
        self._received = b""
        self._searched = 0  # how much of it is known not to end a head
        self._head: Head | None = None
        self._body: Body | None = None
        self._turn: IDelayedCall | None = None
        self._deadline = Deadline(self._time_out, reactor)
        self._is_idle = True  # no request has begun
        self._idle_since = reactor.seconds()
        self._is_answering = False
        self._is_blocked = False  # the client does not take its answers
        self._is_over = False  # no request is read any more
        self._is_draining = False  # answers say that they are the last
        self._is_leaving = False  # not even a next request is waited for
        self._has_ended = False  # the client has sent its last byte
        self._has_shut = False  # our half is closed
        self._taken = 0  # how much the client had taken when it was last looked at

    # Bytes in.

    def connectionMade(self) -> None:
        HTTPChannel.connectionMade(self)
        limits = self.site.limits()
        trusted = self.site.trusts(HTTPChannel.getPeer(self))
        self._head_time = limits.head
        self._idle_time = max(limits.idle, PROXY_IDLE_TIME) if trusted else limits.idle
        self._head_size = int(limits.head_size)
        # `read_head` has the last word on sizes; a byte of a target may become three.
        self.totalHeadersSize = 4 * self._head_size
        self.maxHeaders = self._head_size
        self._deadline.set(self._idle_time)
        self.site.add(self)

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        self._received += data
        if self._is_ready:
            self._take()
        elif len(self._received) > self._head_size:
            self.transport.pauseProducing()

    @property
    def _is_ready(self) -> bool:
        """Whether a request may be taken now."""
        return self._turn is None and not (self._is_answering or self._is_blocked or self._is_over)

    def _take(self) -> None:
        """Take one request from what has been received, as far as it is there."""
        try:
            if self._body is None:
                self._take_head()
            else:
                self._take_body(self._body)
        except Refusal as refusal:
            self._refuse(refusal)
        if self._is_ready:
            self._wait()

    def _take_head(self) -> None:
        if empty := _EMPTY_LINES.match(self._received):  # RFC 9112 §2.2
            self._received = self._received[empty.end() :]
        if self._received in (b"", b"\r"):
            return
        if self._is_idle:
            self._is_idle = False
            self._deadline.set(self._head_time)
        end = self._find_end()
        if end < 0:
            return
        head = self._received[: end + len(END)]
        self._head = self._read_head(head)
        self._received = self._received[len(head) :]
        self._take_request(self._head)

    def _read_head(self, raw: bytes) -> Head:
        """Read a head; raises `Refusal`."""
        return read_head(raw)

    def _take_request(self, head: Head) -> None:
        """Answer a request after its body."""
        framing = framing_of(head)
        if framing is None:
            self._answer(head)
            return
        try:
            self._body = Body(framing)
        except TooLong:
            self._answer(head, is_last=True)
            return
        if head.expects_continue and not self._received:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._take_body(self._body)

    def _find_end(self) -> int:
        """Where the head's empty line begins, -1 if it is not there yet.

        No byte is searched twice, and what is refused does not depend on how the bytes came.
        """
        searched, self._searched = self._searched, len(self._received)
        end = self._received.find(END, max(searched - len(END) + 1, 0))
        size = len(self._received) if end < 0 else end + len(END)
        if has_bare_lf(self._received, searched, min(size, self._head_size)):
            raise Refusal(400, "lines must end with CR LF", Reason.LINE_END)
        if size > self._head_size or (size == self._head_size and end < 0):
            if self._received.find(b"\r\n", 0, self._head_size) < 0:
                raise Refusal(414, "the request line is too long", Reason.LINE_SIZE)
            raise Refusal(431, "the head is too long", Reason.HEAD_SIZE)
        if end >= 0:
            self._searched = 0
        return end

    def _take_body(self, body: Body) -> None:
        assert self._head is not None
        received, self._received = self._received, b""
        try:
            rest = body.take(received)
        except TooLong:
            self._answer(self._head, is_last=True)
            return
        if rest is not None:
            self._received = rest
            self._answer(self._head)

    # Answers out.

    def _answer(self, head: Head, *, is_last: bool = False) -> None:
        """Let twisted.web answer a request that has been read whole, or to where we gave up."""
        self._body = None
        self._is_answering = True
        if is_last:
            self._is_over = True
            self.site.count(Event.BODY)
        self._deadline.set(None)
        HTTPChannel.lineReceived(self, b"%s %s HTTP/%s" % (head.method, head.target, head.version))
        for name, value in head.fields:
            if name not in SETTLED:
                HTTPChannel.lineReceived(self, b"%s: %s" % (name, value))
        HTTPChannel.lineReceived(self, b"")

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Whether the connection goes on after this request's answer."""
        assert self._head is not None
        if self._is_over or not self._head.persists:
            return False
        return bool(self._received) or not (self._is_draining or self._has_ended)

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write an answer's head: as HTTP/1.1, whatever the request's version (RFC 9110 §2.5)."""
        fields = [(name, value) for name, values in headers.getAllRawHeaders() for value in values]
        self.transport.write(wire.render_head(int(code), fields, close=not self.persistent))

    def requestDone(self, request: Request) -> None:
        """Go on with the next request, or end the connection."""
        self._is_answering = False
        if not self.persistent:
            self.requests.remove(request)
            self._end_after(is_whole=True)
            return
        HTTPChannel.requestDone(self, request)
        self._go_on_after()

    def _end_after(self, *, is_whole: bool) -> None:
        """End the connection after the answer to a request of which all has been read, or not."""
        assert self._head is not None
        if self._head.persists or self._is_over or self._received or not is_whole:
            self._end()
        else:
            # The client has asked for it, and sends nothing more.
            self._finish()

    def _go_on_after(self) -> None:
        """Go on with the next request."""
        self._is_idle = True
        self._idle_since = self._reactor.seconds()
        self._deadline.set(self._idle_time)
        self._go_on()

    def _go_on(self) -> None:
        """Take what is there in another turn of the reactor: others get theirs in between."""
        if self._is_ready and self._received:
            self.transport.pauseProducing()
            self._turn = self._reactor.callLater(0, self._next)
        elif self._is_ready:
            self._wait()

    def _next(self) -> None:
        self._turn = None
        if self._is_ready:
            self._take()

    def _wait(self) -> None:
        """Wait for more bytes, if the request needs them and there may be any."""
        if self._has_ended or (self._is_leaving and self._is_idle):
            self._finish()
        else:
            self.transport.resumeProducing()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what cannot be read, and end the connection: what follows has no beginning."""
        head = self._head if self._body is not None else None
        if head is not None:
            method, target = head.method, head.target
        else:
            line = _LINE_END.split(self._received[: self._head_size], maxsplit=1)[0]
            method, _, rest = line.partition(b" ")
            target = rest.partition(b" ")[0]
        answer = refused(refusal, under_v2=means_v2(target))
        now = self._reactor.seconds()
        # Without a target it is only a word.
        body = b"" if method == b"HEAD" and target else answer.body
        fields = wire.answer_fields(answer, datetimeToString(now))
        response = Response(answer, self.site.client(HTTPChannel.getPeer(self), head))
        lines = _no_lines if head is None else head.lines
        entry = entry_of(response, method, target, lines, b"1.1" if head is None else head.version)
        self.site.record(entry._replace(time=now, size=len(body)))
        self.transport.write(wire.render_head(answer.status, fields, close=True) + body)
        self._end()

    # The ends of a connection.

    def _end(self) -> None:
        """Close our half as soon as all is sent, and drop what still comes.

        If we closed while unread bytes are there, the client's kernel would throw our answer away
        (RFC 9112 §9.6).
        """
        self._stop()
        if self._has_ended:
            self.transport.loseConnection()
        else:
            self.transport.resumeProducing()
            self.transport.loseWriteConnection()

    def _finish(self) -> None:
        """Close as soon as all is sent: nothing has come that is not answered."""
        self._stop()
        self.transport.loseConnection()

    def _stop(self) -> None:
        self._is_over = True
        self._received = b""
        self._await_client(self._idle_time)
        self.transport.unregisterProducer()

    def drain(self) -> None:
        """Let the next answer be the last one, and say so: the client may have asked already."""
        self._is_draining = True

    def close_idle(self, since: float) -> None:
        """Close, if the last request ended before `since`, or else as soon as there is none."""
        if self._idle_since <= since:
            self._is_draining = self._is_leaving = True
            if self._is_ready:
                self._wait()

    def abort(self) -> None:
        """Close at once."""
        self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """The client has sent its last byte; what it sent before is still answered."""
        self._has_ended = True
        if self._is_over and not self._is_answering:
            self.transport.loseConnection()
        elif self._is_ready:
            self._wait()

    def writeConnectionLost(self) -> None:
        """All is sent and our half is closed: it is the client's turn to close."""
        self._has_shut = True
        self._await_client(LINGER_TIME)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._is_over = True
        self._deadline.cancel()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self.site.discard(self)
        HTTPChannel.connectionLost(self, reason)

    # Deadlines and back-pressure.

    def _time_out(self) -> None:
        """A deadline has passed: 408 for what is half there, and no word to who is silent."""
        if self._is_over or self._is_blocked:
            if taken(self.transport) > self._taken:
                self._await_client(LINGER_TIME if self._has_shut else self._idle_time)
                return
            self.site.count(Event.LINGER if self._has_shut else Event.UNREAD)
            self.transport.abortConnection()
        elif self._is_idle:
            self.site.count(Event.IDLE)
            self._finish()
        else:
            self._refuse(Refusal(408, "the request took too long", Reason.TIMEOUT))

    def _await_client(self, seconds: float) -> None:
        """Give the client so much time to take some of what it has been sent, or to close."""
        self._taken = taken(self.transport)
        self._deadline.set(seconds)

    def pauseProducing(self) -> None:
        """The client does not take its answers: it gets no more until it does."""
        self._is_blocked = True
        self._taken = taken(self.transport)
        self.transport.pauseProducing()
        HTTPChannel.pauseProducing(self)

    def resumeProducing(self) -> None:
        """The client has taken its answers."""
        self._is_blocked = False
        HTTPChannel.resumeProducing(self)
        self._go_on()


def _no_lines(name: bytes) -> Sequence[bytes]:
    return ()
