"""A connection whose requests may be answered over time, with their bodies as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import ISSLTransport
from twisted.logger import Logger
from twisted.web.http import HTTPChannel

from ..answers import Reason, Refusal
from .body import framing_of
from .connection import Connection
from .hosting import Host
from .streams import PORTION, RECEIVE
from .transport import SocketTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from ..logs.access_log import Again, Entry
    from .exchange import Asking, Exchange
    from .framing import Framing
    from .strict import Head


_log = Logger()


class Relays(Protocol):
    """Who relays."""

    def recall(self, peer: str | None, is_secure: bool, raw: bytes) -> Head | None:
        """The head of a request that has come before, from the same client."""

    def exchange(self, head: Head, raw: bytes, peer: str | None, client: Asking) -> Exchange | None:
        """Who answers a request over time; None where the tree answers it at once."""

    def is_own(self, target: bytes) -> bool:
        """Whether a target is the token endpoint here, and no matter of the rules."""


class ExchangeHost(Host, Protocol):
    """What such a connection belongs to."""

    is_recording: Callable[[], bool]
    remember: Callable[[Entry], Again]
    relaying: Relays | None


class Conversation(Connection):
    """The client's end of exchanges, one at a time, and of what is answered at once."""

    site: ExchangeHost

    def __init__(self, reactor: IReactorTime) -> None:
        Connection.__init__(self, reactor)
        self._raw = b""
        self._peer: str | None = None
        self.is_secure = False
        """Whether the client speaks TLS with us."""
        self._exchange: Exchange | None = None
        self._framing: Framing | None = None  # of a body that the exchange takes
        self._is_held = False  # which it does not at the moment

    @property
    def is_recording(self) -> bool:
        """Whether answers are recorded."""
        return self.site.is_recording()

    # Bytes in.

    def connectionMade(self) -> None:
        # The address of a Unix socket's peer has no host.
        self._peer = getattr(HTTPChannel.getPeer(self), "host", None)
        transport = self.transport
        if isinstance(transport, SocketTransport):
            self.is_secure = transport.is_secure
        else:
            self.is_secure = bool(ISSLTransport.providedBy(transport))
        Connection.connectionMade(self)

    def dataReceived(self, data: bytes) -> None:
        if self._framing is not None and not self._is_over:
            self._received += data
            self._pass_body(self._framing)
        elif not self._take_known(data):
            Connection.dataReceived(self, data)

    def _take_known(self, data: bytes) -> bool:
        """Take a whole head that has come before: then all is well with it."""
        relaying = self.site.relaying
        if relaying is None or self._received or self._body is not None or not self._is_ready:
            return False
        head = relaying.recall(self._peer, self.is_secure, data)
        if head is None:
            return False
        self._raw = data
        self._head = head
        self._is_idle = False
        self._take_request(head)
        if self._is_ready:
            self._wait()
        return True

    def _read_head(self, raw: bytes) -> Head:
        """Read a head, if it has not come before; raises `Refusal`."""
        relaying = self.site.relaying
        if relaying is None:
            return Connection._read_head(self, raw)
        self._raw = raw
        known = relaying.recall(self._peer, self.is_secure, raw)
        return Connection._read_head(self, raw) if known is None else known

    def _take_request(self, head: Head) -> None:
        """Let a request be answered, over time or at once."""
        relaying, raw = self.site.relaying, self._raw
        if relaying is None:
            Connection._take_request(self, head)
            return
        try:
            exchange = relaying.exchange(head, raw, self._peer, self)
        except Exception:
            # The target alone: fields may hold credentials.
            _log.failure("no relay of {method} {target}", method=head.method, target=head.target)
            exchange = None
        if exchange is None:
            Connection._take_request(self, head)
            return
        self._exchange = exchange
        self._is_answering = True
        self._is_held = False
        self._framing = framing_of(head)
        self._deadline.set(None if self._framing is None else self._idle_time)
        if exchange.wants_continue and head.expects_continue and not self._received:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        exchange.begin()
        if self._exchange is not exchange:
            return
        if self._framing is None:
            exchange.end(())
        elif self._received:
            self._pass_body(self._framing)
        # It may have been paused before its turn; who leaves now must be noticed.
        self._read_on()

    def _read_on(self) -> None:
        """Read on, unless more has come ahead than the next head, or nobody takes it."""
        is_ahead = self._framing is None and len(self._received) > self._head_size
        if not (is_ahead or self._is_held or self._is_blocked or self._is_over):
            self.transport.resumeProducing()

    def _pass_body(self, framing: Framing) -> None:
        if self._exchange is None or self._is_held or not self._received:
            return
        received, self._received = self._received, b""
        try:
            content, end = framing.take(received)
        except Refusal as refusal:
            self._fail(refusal)
            return
        if isinstance(self.transport, SocketTransport):
            self.transport.portion = PORTION if framing.is_fine else RECEIVE
        exchange = self._exchange
        self._deadline.set(self._idle_time)
        if end is not None:
            self._received = received[end:]
            self._framing = None
            self._deadline.set(None)
        if content:
            exchange.take(content)
        if end is not None and self._exchange is exchange:
            exchange.end(framing.trailers)

    def _fail(self, refusal: Refusal) -> None:
        """End an exchange whose request cannot be read to its end."""
        assert self._exchange is not None
        self._exchange.refuse(refusal)

    def hold_body(self) -> None:
        """Give no more of the body on: who takes it has enough."""
        self._is_held = True
        self.transport.pauseProducing()

    def resume_body(self) -> None:
        """Go on with the body."""
        if not self._is_held:
            return
        self._is_held = False
        if self._framing is not None:
            self._deadline.set(self._idle_time)
            self._pass_body(self._framing)
        self._read_on()

    @property
    def may_persist(self) -> bool:
        """Whether the connection may go on after this request's answer, as far as we know."""
        assert self._head is not None
        if self._is_over or self._framing is not None or not self._head.persists:
            return False
        return bool(self._received) or not (self._is_draining or self._has_ended)

    def send(self, data: bytes) -> None:
        """Send a part of the exchange's answer."""
        self.transport.write(data)

    def finish(self, *, persists: bool) -> None:
        """The exchange's answer is sent."""
        self._exchange = None
        self._is_answering = self._is_held = False
        is_whole = self._framing is None
        self._framing = None
        if persists and is_whole:
            self._go_on_after()
        else:
            self._end_after(is_whole=is_whole)

    def break_off(self) -> None:
        """The exchange's answer cannot be sent to its end, and the client must notice."""
        self._exchange = None
        self.transport.abortConnection()

    def remember(self, entry: Entry) -> Again:
        """How to record an answer."""
        return self.site.remember(entry)

    # The ends of a connection.

    def readConnectionLost(self) -> None:
        """The client has sent its last byte: who closes while he waits for an answer has left."""
        if self._exchange is None:
            Connection.readConnectionLost(self)
        else:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        exchange, self._exchange = self._exchange, None
        self._framing = None
        if exchange is not None:
            exchange.lose()
        Connection.connectionLost(self, reason)

    # Deadlines and back-pressure.

    def _time_out(self) -> None:
        if self._exchange is None or self._is_blocked:
            Connection._time_out(self)
        elif not self._is_held:
            self._fail(Refusal(408, "the request took too long", Reason.TIMEOUT))

    def pauseProducing(self) -> None:
        """The client does not take its answer."""
        if self._exchange is None:
            Connection.pauseProducing(self)
            return
        self._is_blocked = True
        self._await_client(self._idle_time)
        self.transport.pauseProducing()
        self._exchange.pause()

    def resumeProducing(self) -> None:
        """The client has taken its answer so far."""
        if self._exchange is None:
            Connection.resumeProducing(self)
            return
        self._is_blocked = False
        self._deadline.set(None if self._framing is None else self._idle_time)
        self._read_on()
        self._exchange.resume()
