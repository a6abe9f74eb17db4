"""A transport for a protocol over a socket of ours: for what the lane does not answer itself.

It does what Twisted's own TCP transport does, but sends at once, in the callback that brought the
request, and is driven by the lane's epoll.
"""

import socket
from collections.abc import Iterable
from contextlib import suppress
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
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

from .streams import EOF, Stream

FULL = 64 * 1024
"""How many unsent bytes make the protocol pause."""


class Poller(Protocol):
    """Who tells a transport that its stream is ready."""

    def watch(self, transport: "SocketTransport", mask: int) -> None:
        """Tell of these events from now on."""

    def forget(self, transport: "SocketTransport") -> None:
        """Tell of nothing more: the stream is about to be closed."""


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
        self.mask = EPOLLIN

    def start(self, protocol: IProtocol, received: bytes, unsent: bytes = b"") -> None:
        """Begin with bytes that have come and bytes that have to go before all others."""
        self._protocol = protocol
        self._unsent = unsent
        self._is_corked = True
        protocol.makeConnection(self)
        if received:
            protocol.dataReceived(received)
        self._uncork()

    def sweep(self, now: float) -> None:
        """Nothing: the protocol keeps its own deadlines."""

    # Events of the stream.

    def ready(self, event: int) -> None:
        """The stream is ready for reading, for writing, or broken."""
        if event & EPOLLOUT:
            self._flush()
        if event & (EPOLLIN | EPOLLHUP | EPOLLERR) and self.connected and self._is_reading:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self.stream.receive()
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
        if self.stream.has_ended and self.connected:
            self._end()

    def _end(self) -> None:
        self._has_ended = True
        self._rewatch()
        half = IHalfCloseableProtocol(self._protocol, None)
        if half is None or self.disconnecting:
            self._lose(Failure(ConnectionDone()))
            return
        self._is_corked = True
        half.readConnectionLost()
        self._uncork()

    def _uncork(self) -> None:
        self._is_corked = False
        if self.connected:
            self._flush()

    # ITransport.

    def write(self, data: bytes) -> None:
        """Send bytes as soon as the kernel takes them."""
        if not self.connected or self._is_shutting or self.disconnecting:
            return
        self._unsent += data
        if not self._is_corked:
            self._flush()

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
        try:
            self.stream.flush()
            while self._unsent:
                sent = self.stream.send(self._unsent)
                self._unsent = self._unsent[sent:]
        except BlockingIOError:
            pass
        except OSError:
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
        if self.disconnecting:
            self._lose(Failure(ConnectionDone()))
        elif self._is_shutting and not self._has_shut:
            self._has_shut = True
            try:
                self.stream.shut()
            except OSError:
                self._lose(Failure(ConnectionLost()))
                return
            if (half := IHalfCloseableProtocol(self._protocol, None)) is not None:
                half.writeConnectionLost()

    def _rewatch(self) -> None:
        is_reading = self._is_reading and not self._has_ended
        is_writing = self._unsent or self.stream.is_clogged
        mask = (EPOLLIN if is_reading else 0) | (EPOLLOUT if is_writing else 0)
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
            _reset_on_close(self.fd)
        elif why.check(ConnectionDone) and not self._has_shut:
            with suppress(OSError):
                self.stream.shut()
        self.stream.close()
        self._clock.callLater(0, self._protocol.connectionLost, why)

    # IConsumer and IPushProducer.

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Tell a producer when to pause; it produces by itself."""
        self._producer = IPushProducer(producer)

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


def _reset_on_close(descriptor: int) -> None:
    with socket.socket(fileno=descriptor) as borrowed:
        borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        borrowed.detach()


def address_of(name: tuple[str, int] | tuple[str, int, int, int]) -> IPv4Address | IPv6Address:
    """A socket's name as Twisted has it."""
    if len(name) == 4:
        return IPv6Address("TCP", *name)
    return IPv4Address("TCP", *name)
