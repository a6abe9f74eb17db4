"""One HTTP connection: what is well-formed goes to twisted.web, a request a turn of the reactor.

The connection takes the bytes first and hands `HTTPChannel` whole heads that `strict` has read. So
the deadlines, the limits and the order of requests are decided here, and twisted.web sees nothing
that it would read more generously. Bodies are dropped: no answer depends on one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.web.http import HTTPChannel, datetimeToString
from zope.interface import implementer

from ..answers import Answer, Refusal, refuse
from ..target import means_v2
from . import wire
from .body import Body, TooLong
from .strict import END, Head, read_head

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure
    from twisted.web.http import Request
    from twisted.web.http_headers import Headers

    from .tree import Site

HEAD_SIZE = 16 * 1024
"""The longest head, in bytes."""
HEAD_TIME = 10.0
"""How long a head and its body may take, in seconds from the first byte."""
IDLE_TIME = 75.0
"""How long a connection may stay without a request, in seconds."""
LINGER_TIME = 5.0
"""How long a client may take to read the last answer of a connection that we end, in seconds."""

# A line feed on its own is no line's end (RFC 9112 §2.2), and the other readers of a chain differ
# about it. It can be told before the head is whole; waiting would only end in a timeout.
_BARE_LF = re.compile(rb"(?<!\r)\n")
# What twisted.web must not see, for it is settled before.
_SETTLED = (b"connection", b"content-length", b"transfer-encoding", b"expect")


class StreamTransport(Protocol):
    """What a connection needs of its transport: Twisted's TCP transports have it."""

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def loseWriteConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def unregisterProducer(self) -> None: ...


@implementer(IHalfCloseableProtocol)
class Connection(HTTPChannel):
    """A transport's protocol; `site` counts it among its connections while it lives."""

    # `read_head` has the last word on sizes.
    MAX_LENGTH = totalHeadersSize = 4 * HEAD_SIZE
    maxHeaders = HEAD_SIZE

    # Deadlines are kept here; HTTPChannel's begins anew with every byte.
    timeOut = None

    site: Site
    transport: StreamTransport  # type: ignore[assignment]  # narrower than any ITransport

    def __init__(self, reactor: IReactorTime) -> None:
        HTTPChannel.__init__(self)
        self._reactor = reactor
        self._received = b""
        self._head: Head | None = None
        self._body: Body | None = None
        self._turn: IDelayedCall | None = None
        self._deadline: IDelayedCall | None = None
        self._is_answering = False
        self._is_blocked = False  # the client does not take its answers
        self._is_over = False  # no request is read any more
        self._is_draining = False
        self._has_ended = False  # the client has sent its last byte

    # Bytes in.

    def connectionMade(self) -> None:
        HTTPChannel.connectionMade(self)
        self._set_deadline(IDLE_TIME)
        self.site.add(self)

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        if not self._received and not self._is_answering and self._body is None:
            self._set_deadline(HEAD_TIME)
        self._received += data
        if self._turn is None and not self._is_answering and not self._is_blocked:
            self._take()
        elif len(self._received) > HEAD_SIZE:
            self.transport.pauseProducing()

    def _take(self) -> None:
        """Take one request from what has been received, as far as it is there."""
        try:
            if self._body is None:
                self._take_head()
            else:
                self._take_body(self._body)
        except Refusal as refusal:
            self._refuse(refusal)

    def _take_head(self) -> None:
        while self._received.startswith(b"\r\n"):  # RFC 9112 §2.2
            self._received = self._received[2:]
        end = self._received.find(END)
        _check_size(self._received, end)
        if end < 0:
            if _BARE_LF.search(self._received):
                raise Refusal(400, "lines must end with CR LF")
            return
        head = self._received[: end + len(END)]
        self._head = read_head(head)
        self._received = self._received[len(head) :]
        if not self._head.is_chunked and not self._head.content_length:
            self._answer(self._head)
            return
        try:
            self._body = Body(self._head)
        except TooLong:
            self._answer(self._head, is_last=True)
            return
        if self._head.expects_continue and not self._received:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._take_body(self._body)

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
        self._is_over = is_last
        lines = [b"%s %s HTTP/1.1" % (head.method, head.target)]
        lines += [b"%s: %s" % field for field in head.fields if field[0] not in _SETTLED]
        HTTPChannel.dataReceived(self, b"\r\n".join(lines) + END)

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
        """Go on with the next request in another turn, so that others get theirs in between."""
        self._is_answering = False
        if self._is_over:
            self.requests.remove(request)
            self._end()
            return
        HTTPChannel.requestDone(self, request)
        if self.persistent:
            self._set_deadline(HEAD_TIME if self._received else IDLE_TIME)
            self._schedule()
        else:
            self._is_over = True

    def _cancel_turn(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _schedule(self) -> None:
        if self._received and self._turn is None and not self._is_blocked:
            self.transport.pauseProducing()
            self._turn = self._reactor.callLater(0, self._next)

    def _next(self) -> None:
        self._turn = None
        self._take()
        if self._turn is None and not self._is_over and not self._is_blocked:
            self.transport.resumeProducing()
        if self._has_ended and self._turn is None and not self._is_answering:
            self._finish()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what cannot be read, and end the connection: what follows has no beginning."""
        method, _, rest = self._received.partition(b" ")
        head = self._head if self._body is not None else None
        target = head.target if head else rest.split(b" ")[0].split(b"\r\n")[0]
        answer = refuse(refusal.status, refusal.message, under_v2=means_v2(target))
        self._write(answer, is_head=(head.method if head else method) == b"HEAD")
        self._end()

    def _write(self, answer: Answer, *, is_head: bool) -> None:
        date = datetimeToString(self._reactor.seconds())
        fields = wire.answer_fields(answer, date)
        head = wire.render_head(answer.status, fields, close=True)
        self.transport.write(head if is_head else head + answer.body)

    # The ends of a connection.

    def _end(self) -> None:
        """Close our half and drop what still comes.

        If we closed while unread bytes are there, the client's kernel would throw our answer away
        (RFC 9112 §9.6).
        """
        self._is_over = True
        self._received = b""
        self.transport.unregisterProducer()
        self.transport.resumeProducing()
        if self._has_ended:
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()
            self._set_deadline(LINGER_TIME)

    def _finish(self) -> None:
        """Close as soon as what has been written is sent."""
        self._is_over = True
        HTTPChannel.loseConnection(self)

    def drain(self) -> None:
        """Finish what is in flight, take no more, and close."""
        self._is_draining = True
        if not (self._received or self._body or self._is_answering or self._is_over):
            self._finish()

    def abort(self) -> None:
        """Close at once."""
        self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """The client has sent its last byte; what it sent before is still answered."""
        self._has_ended = True
        if self._is_over:
            self.transport.loseConnection()
        elif self._turn is None and not self._is_answering and not self._is_blocked:
            self._finish()

    def writeConnectionLost(self) -> None:
        """Our half is closed: there is nothing left to do but to wait for the client's."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._is_over = True
        self._cancel_turn()
        self._set_deadline(None)
        self.site.discard(self)
        HTTPChannel.connectionLost(self, reason)

    # Deadlines and back-pressure.

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        later = self._reactor.callLater
        self._deadline = None if seconds is None else later(seconds, self._time_out)

    def _time_out(self) -> None:
        """A deadline has passed: 408 for what is half there, and no word to who is silent."""
        if self._is_over or self._is_blocked:
            self.transport.abortConnection()
        elif self._body is not None or self._received:
            self._refuse(Refusal(408, "the request took too long"))
        else:
            self._finish()

    def pauseProducing(self) -> None:
        """The client does not take its answers: it gets no more until it does."""
        self._is_blocked = True
        self.transport.pauseProducing()
        self._cancel_turn()
        HTTPChannel.pauseProducing(self)

    def resumeProducing(self) -> None:
        """The client has taken its answers."""
        self._is_blocked = False
        HTTPChannel.resumeProducing(self)
        if self._has_ended and not self._received:
            self._finish()
        elif not self._is_answering:
            self._schedule()


def _check_size(received: bytes, end: int) -> None:
    if (end if end >= 0 else len(received)) > HEAD_SIZE - len(END):
        line = received.find(b"\r\n")
        if line < 0 or line > HEAD_SIZE - len(END):
            raise Refusal(414, "the request line is too long")
        raise Refusal(431, "the head is too long")
