"""A transport for a protocol over a socket of ours: for what the lane does not answer itself.

It does what Twisted's own TCP transport does, but sends at once, in the callback that brought the
request, and is driven by the lane's epoll.
"""

from collections.abc import Iterable
from contextlib import suppress
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, POLLIN, poll
from typing import Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from .streams import EOF, RECEIVE, Plain, Stream

FULL = 64 * 1024
"""How many unsent bytes make the protocol pause."""


class Handler(Protocol):
    """Who is told that a descriptor is ready."""

    fd: int
    mask: int

    def ready(self, event: int) -> None:
        """The descriptor is ready, for these of epoll's events."""

    def sweep(self, now: float) -> None:
        """Some time has passed; `now` is in seconds since the epoch."""

    def abort(self) -> None:
        """Close at once."""


class Poller(Protocol):
    """Who tells a handler that its descriptor is ready."""

    def enter(self, handler: Handler) -> None:
        """Tell a handler of the events in its mask, in the place of who had its descriptor."""

    def watch(self, handler: Handler, mask: int) -> None:
        """Tell of these events from now on."""

    def forget(self, handler: Handler) -> None:
        """Tell of nothing more: the descriptor is about to be closed."""


@implementer(ITCPTransport, IConsumer, IPushProducer)
class SocketTransport:
    """One connection of a protocol. `peer` and `host` are its two ends."""

    def __init__(
        self,
        stream: Stream,
        peer: IPv4Address | IPv6Address,
        host: IPv4Address | IPv6Address,
        poller: Poller,
        clock: IReactorTime,
    ) -> None:
        self.stream = stream
        self.fd = stream.fileno()
        self.disconnecting = False
        self.connected = True
        self._peer = peer
        self._host = host
        self._poller = poller
        self._clock = clock
        self._unsent = b""
        self._is_reading = True
        self._has_ended = False  # the peer has sent its last byte
        self._is_corked = False  # a callback is under way, after which all is sent at once
        self._is_shutting = False  # our half closes when all is sent
        self._has_shut = False
        self._producer: IPushProducer | None = None
        self._is_producer_paused = False
        self._probe: poll | None = None
        self.mask = EPOLLIN
        self.is_secure = not isinstance(stream, Plain)
        """Whether it speaks TLS."""
        self.portion = RECEIVE
        """How many bytes are read at once."""
        self.is_patient = False
        """Whether what the peer has sent is read to its end when it takes nothing any more."""

    def start(self, protocol: IProtocol, received: bytes, unsent: bytes = b"") -> None:
        """Begin with bytes that have come and bytes that have to go before all others."""
        self._protocol = protocol
        self._unsent = unsent
        self._is_corked = True
        protocol.makeConnection(self)
        if received and self.connected:
            protocol.dataReceived(received)
        self._uncork()
        self._check_end()

    def sweep(self, now: float) -> None:
        """Nothing: the protocol keeps its own deadlines."""

    # Events of the stream.

    def ready(self, event: int) -> None:
        """The stream is ready for reading, for writing, or broken."""
        if event & EPOLLOUT:
            self._flush()
        if not (event & (EPOLLIN | EPOLLHUP | EPOLLERR) and self.connected):
            return
        if self._wants_to_read:
            self._receive()
        elif event & (EPOLLHUP | EPOLLERR):
            # The epoll would tell it again and again; nothing can be sent any more.
            self._lose(Failure(ConnectionLost()))

    @property
    def _wants_to_read(self) -> bool:
        return self._is_reading and not (self._has_ended or self.disconnecting)

    def _receive(self) -> None:
        try:
            data = self.stream.receive(self.portion)
        except BlockingIOError:
            return
        except OSError:
            self._lose(Failure(ConnectionLost()))
            return
        if data == EOF:
            self._end()
            return
        self._is_corked = True
        self._protocol.dataReceived(data)
        self._uncork()
        self._check_end()

    def _check_end(self) -> None:
        """Tell of an end that has come together with bytes before it."""
        if self.stream.has_ended and self.connected and not self._has_ended:
            self._end()

    def _end(self) -> None:
        self._has_ended = True
        half = IHalfCloseableProtocol(self._protocol, None)
        if half is None:
            is_clean = not self.stream.is_cut_off
            self._lose(Failure(ConnectionDone() if is_clean else ConnectionLost()))
            return
        self._is_corked = True
        half.readConnectionLost()
        self._uncork()

    def is_quiet(self) -> bool:
        """Whether nothing has come that the protocol has not been given, and no end.

        It is not to be used any more where it is not quiet.
        """
        if not self.connected or self._has_ended:
            return False
        if self._probe is None:
            self._probe = poll()
            self._probe.register(self.fd, POLLIN)
        if not self._probe.poll(0):
            return True
        try:
            self.stream.receive()
        except BlockingIOError:
            # TLS has had something to say to itself.
            return True
        except OSError:
            pass
        return False

    def _uncork(self) -> None:
        self._is_corked = False
        if not self.connected:
            return
        # TLS may have something to say of its own.
        if self._unsent or self.disconnecting or self._is_shutting or self.is_secure:
            self._flush()
        else:
            self._rewatch()

    # ITransport.

    def write(self, data: bytes) -> None:
        """Send bytes as soon as the kernel takes them."""
        if not self.connected or self._has_shut:
            return
        if self._unsent or self._is_corked:
            self._unsent += data
        else:
            self._unsent = data[self._send(data) :]
            if not (self._unsent or self.stream.is_clogged):
                return
        if not self._is_corked:
            self._flush()

    def _send(self, data: bytes) -> int:
        """How many bytes are sent at once, where none wait; `_flush` finds out why none are."""
        try:
            return self.stream.send(data)
        except OSError:
            return 0

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send pieces one after the other."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close when all is sent."""
        self.disconnecting = True
        if not self._is_corked:
            self._flush()

    def loseWriteConnection(self) -> None:
        """Close our half when all is sent."""
        self._is_shutting = True
        if not self._is_corked:
            self._flush()

    def abort(self) -> None:
        """Close at once; the peer gets a reset."""
        self.abortConnection()

    def abortConnection(self) -> None:
        """Close at once; the peer gets a reset."""
        if self.connected:
            self._lose(Failure(ConnectionAborted()))

    def fileno(self) -> int:
        """The stream's descriptor."""
        return self.fd

    def getPeer(self) -> IPv4Address | IPv6Address:
        """The peer's address."""
        return self._peer

    def getHost(self) -> IPv4Address | IPv6Address:
        """Our own address."""
        return self._host

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing: accepted sockets have it from the listening one."""

    def getTcpNoDelay(self) -> bool:
        """Whether small packets are sent at once."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nothing: idle connections are closed by HTTP's own time."""

    def getTcpKeepAlive(self) -> bool:
        """Whether the kernel looks after idle connections."""
        return False

    # Sending.

    def _flush(self) -> None:
        if not self.connected:
            return
        try:
            self.stream.flush()
            while self._unsent:
                sent = self.stream.send(self._unsent)
                self._unsent = self._unsent[sent:]
        except BlockingIOError:
            pass
        except OSError:
            if self.is_patient and self._wants_to_read:
                self._unsent = b""
                self._has_shut = True
            else:
                self._lose(Failure(ConnectionLost()))
            return
        self._press()
        if not (self._unsent or self.stream.is_clogged):
            self._finish()
        if self.connected:
            self._rewatch()

    def _press(self) -> None:
        """Pause the producer where too much is unsent, and let it go on when all is sent."""
        if self._producer is None:
            return
        if not self._is_producer_paused and len(self._unsent) > FULL:
            self._is_producer_paused = True
            self._producer.pauseProducing()
        elif self._is_producer_paused and not self._unsent:
            self._is_producer_paused = False
            self._producer.resumeProducing()

    def _finish(self) -> None:
        """All is sent: close what is to be closed."""
        if (self.disconnecting or self._is_shutting) and not self._has_shut:
            self._has_shut = True
            try:
                self.stream.shut()
            except OSError:
                self._lose(Failure(ConnectionLost()))
                return
            half = IHalfCloseableProtocol(self._protocol, None)
            if half is not None and not self.disconnecting:
                half.writeConnectionLost()
        if self.disconnecting and not self.stream.is_clogged:
            self._lose(Failure(ConnectionDone()))

    def _rewatch(self) -> None:
        is_writing = self._unsent or self.stream.is_clogged
        mask = (EPOLLIN if self._wants_to_read else 0) | (EPOLLOUT if is_writing else 0)
        if mask != self.mask:
            self.mask = mask
            self._poller.watch(self, mask)

    def _lose(self, why: Failure) -> None:
        """Close, and tell the protocol in a turn of its own."""
        if not self.connected:
            return
        self.connected = False
        self._unsent = b""
        self._poller.forget(self)
        if why.check(ConnectionAborted):
            self.stream.reset()
        else:
            if why.check(ConnectionDone) and not self._has_shut:
                with suppress(OSError):
                    self.stream.shut()
            self.stream.close()
        self._clock.callLater(0, self._protocol.connectionLost, why)

    # IConsumer and IPushProducer.

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Tell a producer when to pause. It has to be one that produces by itself."""
        if self._producer is not None:
            raise RuntimeError("there is a producer already, which was never unregistered")
        if not streaming:
            raise ValueError("this transport does not ask for what a producer has")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = IPushProducer(producer)
        self._is_producer_paused = False

    def unregisterProducer(self) -> None:
        """Tell it nothing more."""
        self._producer = None

    def pauseProducing(self) -> None:
        """Read no more for the time being."""
        self._is_reading = False
        if self.connected and not self._is_corked:
            self._rewatch()

    def resumeProducing(self) -> None:
        """Go on reading."""
        self._is_reading = True
        if self.connected and not self._is_corked:
            self._rewatch()

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()


def address_of(name: tuple[str, int] | tuple[str, int, int, int]) -> IPv4Address | IPv6Address:
    """A socket's name as Twisted has it."""
    if len(name) == 4:
        return IPv6Address("TCP", *name)
    return IPv4Address("TCP", *name)
