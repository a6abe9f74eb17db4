"""One connection to a registry: a request at a time, and its answer as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProducer, IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from zope.interface import implementer

from ...answers import Refusal
from ...web.framing import UntilClose
from ...web.hosting import StreamTransport
from ...web.progress import taken
from ...web.streams import PORTION, RECEIVE
from ...web.strict import END
from .ask import Unreachable
from .response import LONGEST_HEAD, Broken, framing_of, read_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from ...answers import Fields
    from ...web.framing import Framing
    from .response import ResponseHead

_BEGINNING = b"HTTP/1."

MOST_INTERIM = 16
"""How many interim answers may come before the answer."""


class Asker(Protocol):
    """Who has asked, and is told the answer as it comes."""

    def interim(self, head: ResponseHead) -> None:
        """Another answer comes after this one."""

    def answered(self, head: ResponseHead) -> None:
        """The answer's head."""

    def content(self, data: bytes) -> None:
        """A part of its body."""

    def ended(self, trailers: Fields) -> None:
        """The answer is whole, and the connection is for others from now on."""

    def flush(self) -> None:
        """There is no more for the time being."""

    def failed(self, why: Unreachable, *, is_stale: bool) -> None:
        """There is no answer, or no more of it.

        `is_stale` says that a connection ended that had been kept, and nothing had come on it: the
        registry may have closed it just before the request was sent.
        """

    def hold_body(self) -> None:
        """The registry does not take the body so fast."""

    def resume_body(self) -> None:
        """It has taken the body so far."""


class UpstreamTransport(StreamTransport, Protocol):
    """What a connection needs of its transport."""

    portion: int

    def registerProducer(self, producer: IProducer, streaming: bool) -> None: ...
    def is_quiet(self) -> bool: ...


@implementer(IPushProducer)
class Upstream(TwistedProtocol):
    """A connection; `released` is called when it may be used again, `closed` when it has ended.

    `clock` gives the time in seconds.
    """

    transport: UpstreamTransport  # type: ignore[assignment]  # narrower than any ITransport

    def __init__(
        self,
        released: Callable[[Upstream], None],
        closed: Callable[[Upstream], None],
        clock: Callable[[], float],
    ) -> None:
        self._released = released
        self._closed = closed
        self._clock = clock
        self._asker: Asker | None = None
        self._received = b""
        self._known: ResponseHead | None = None  # the last one that was read
        self._head: ResponseHead | None = None
        self._framing: Framing | None = None
        self._interims = 0
        self._is_kept = False  # it has answered before
        self._is_sent = True
        self._is_full = False  # it does not take the request so fast
        self._is_paused = False  # nobody takes its answer so fast
        self._taken: int | None = None  # how much of a long request it had when last looked at
        self.since = clock()
        """When it was last heard or told something."""

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)

    def is_quiet(self) -> bool:
        """Whether it can be asked: no byte has come that nobody has asked for, nor its end."""
        return self.transport.is_quiet()

    # The request.

    def ask(self, head: bytes, method: bytes, asker: Asker) -> None:
        """Send a request's head."""
        self._asker = asker
        self._method = method
        self._head = None
        self._interims = 0
        self._is_sent = False
        self._taken = None
        self.since = self._clock()
        self.transport.write(head)

    def write(self, data: bytes) -> None:
        """Send a part of its body, framed."""
        self.since = self._clock()
        self.transport.write(data)

    def sent(self) -> None:
        """The request is whole."""
        self._is_sent = True

    def abandon(self) -> None:
        """Nobody waits for the answer any more."""
        self._asker = None
        self.transport.abortConnection()

    def is_late(self, patience: float) -> bool:
        """Whether it has been waited for longer than `patience`, in seconds, in vain."""
        waits = self._is_sent or self._is_full
        if not waits or self._is_paused or self._clock() - self.since <= patience:
            return False
        if self._taken is not None and (now := taken(self.transport)) > self._taken:
            # It takes the request slowly: most of that may be the kernel's for minutes.
            self._taken = now
            self.since = self._clock()
            return False
        return True

    def give_up(self, why: Unreachable) -> None:
        """End an exchange, and the connection with it."""
        asker, self._asker = self._asker, None
        if asker is not None:
            asker.failed(why, is_stale=False)
        self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """The request is more than the connection takes."""
        self._is_full = True
        self._taken = taken(self.transport)
        self.since = self._clock()
        if self._asker is not None:
            self._asker.hold_body()

    def resumeProducing(self) -> None:
        """The connection has taken what there was."""
        self._is_full = False
        self.since = self._clock()
        if self._asker is not None:
            self._asker.resume_body()

    def stopProducing(self) -> None:
        """The connection has ended: `connectionLost` says so."""

    # The answer.

    def pause(self) -> None:
        """Read no more of the answer for the time being."""
        self._is_paused = True
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Go on reading it."""
        self._is_paused = False
        self.since = self._clock()
        self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        asker = self._asker
        if asker is None:
            # Nobody has asked: whatever it is, it must not become somebody's answer.
            self.transport.abortConnection()
            return
        self.since = self._clock()
        try:
            if self._head is not None:
                self._take_content(asker, data)
            else:
                self._received += data
                self._take_heads(asker)
        except (Broken, Refusal) as broken:
            words = broken.message if isinstance(broken, Refusal) else str(broken)
            self.give_up(Unreachable(502, f"its answer cannot be read: {words}"))
            return
        asker.flush()

    def _take_heads(self, asker: Asker) -> None:
        while self._head is None and self._asker is asker:
            end = self._received.find(END)
            if end < 0:
                self._check_beginning(self._received)
                return
            if end > LONGEST_HEAD:
                raise Broken("its head is too long")
            received = self._received
            head = self._read_head(received[: end + len(END)])
            self._received = received[end + len(END) :]
            if head.is_interim:
                self._interims += 1
                if self._interims > MOST_INTERIM:
                    raise Broken("it is put off again and again")
                asker.interim(head)
                continue
            self._head = head
            self._framing = framing_of(head, self._method)
            asker.answered(head)
            if self._asker is not asker:
                return
            rest, self._received = self._received, b""
            if self._framing is None:
                self._finish(asker, (), rest)
            elif rest:
                self._take_content(asker, rest)

    def _read_head(self, raw: bytes) -> ResponseHead:
        """Read a head; one that comes again and again differs by its date, if at all."""
        known = self._known
        if known is None or known.raw != raw:
            known = self._known = read_head(raw)
        return known

    def _check_beginning(self, received: bytes) -> None:
        """Waiting for the rest of what cannot be a head would only end in a timeout."""
        if received[: len(_BEGINNING)] != _BEGINNING[: len(received)]:
            raise Broken("it is not HTTP/1")
        if received.count(b"\n") > received.count(b"\r\n"):
            raise Broken("its lines do not end with CR LF")
        if len(received) > LONGEST_HEAD:
            raise Broken("its head is too long")

    def _take_content(self, asker: Asker, data: bytes) -> None:
        assert self._framing is not None
        content, end = self._framing.take(data)
        self.transport.portion = PORTION if self._framing.is_fine else RECEIVE
        if content:
            asker.content(content)
        if end is not None and self._asker is asker:
            self._finish(asker, self._framing.trailers, data[end:])

    def _finish(self, asker: Asker, trailers: Fields, rest: bytes) -> None:
        """The answer is whole; what comes after it is nobody's."""
        assert self._head is not None
        is_taken = self._is_sent and not self._is_full
        may_go_on = self._head.persists and is_taken and not rest
        self._asker = None
        self._head = self._framing = None
        self._is_kept = True
        if self._is_paused:
            self.resume()
        if may_go_on:
            self._released(self)
        elif is_taken:
            self.transport.loseConnection()
        else:
            # It has answered before the request was whole, and may never read the rest.
            self.transport.abortConnection()
        asker.ended(trailers)

    def close(self) -> None:
        """Close, between two requests."""
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._closed(self)
        asker, self._asker = self._asker, None
        if asker is None:
            return
        is_clean = reason is not None and bool(reason.check(ConnectionDone))
        if isinstance(self._framing, UntilClose) and is_clean:
            asker.ended(())
            asker.flush()
            return
        is_silent = self._head is None and not self._received and not self._interims
        asker.failed(
            Unreachable(502, "it has closed the connection in the middle of its answer")
            if not is_silent
            else Unreachable(502, "it has closed the connection without an answer"),
            is_stale=is_silent and self._is_kept,
        )
