"""Accepted connections in memory that the PROXY protocol comes first on."""

from collections.abc import Callable

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocolFactory
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from regroute.metrics.events import Count, uncounted
from regroute.networks.spans import Address
from regroute.web.proxy_protocol import Announced, AnnouncedFactory

from .proxy_headers import v2

LINE = b"PROXY TCP4 192.168.0.1 192.0.2.9 56324 443\r\n"
LOCAL = v2(b"", command=0x20, family=0)
PROXY = IPv4Address("TCP", "10.0.0.1", 40000)
HOST = IPv4Address("TCP", "10.0.0.9", 443)
DEADLINE = 5.0


class Wire(StringTransport):
    """The server's end of an accepted connection, with half-closes and ends that are told."""

    protocol: Announced

    def __init__(self, peer: IAddress) -> None:
        StringTransport.__init__(self, HOST, peer, lenient=True)
        self.is_aborted = self.is_closed = self.is_half_closed = False
        self.is_slow = False  # to close: that takes another turn of the reactor, as it may with TCP

    def take(self) -> bytes:
        """All that has been written since the last time."""
        data: bytes = StringTransport.value(self)
        StringTransport.clear(self)
        return data

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def loseWriteConnection(self) -> None:
        self.is_half_closed = True
        if knows_half_closes(self.protocol):
            self.protocol.writeConnectionLost()

    def loseConnection(self) -> None:
        self.lose(Failure(ConnectionDone()))

    def abortConnection(self) -> None:
        self.is_aborted = True
        self.lose(Failure(ConnectionAborted()))

    def lose(self, reason: Failure) -> None:
        if not self.is_closed and not self.is_slow:
            self.is_closed = True
            self.protocol.connectionLost(reason)

    def end(self) -> None:
        """What a TCP transport does when the peer has closed its half."""
        if knows_half_closes(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self.lose(connectionDone)


def knows_half_closes(protocol: Announced) -> bool:
    return bool(IHalfCloseableProtocol.providedBy(protocol))


class Bed:
    """A factory behind the PROXY protocol, and connections to it."""

    def __init__(
        self,
        wrapped: IProtocolFactory,
        trusts: Callable[[Address], bool],
        clock: Clock,
        count: Count = uncounted,
    ):
        self.clock = clock
        self.factory = AnnouncedFactory(wrapped, trusts, DEADLINE, clock, count=count)

    def connect(self, peer: IAddress = PROXY) -> Wire:
        protocol = self.factory.buildProtocol(peer)
        assert protocol is not None
        wire = Wire(peer)
        wire.protocol = protocol
        protocol.makeConnection(wire)  # type: ignore[arg-type]  # enough of a TCP transport
        return wire
