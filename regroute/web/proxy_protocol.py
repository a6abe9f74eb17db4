"""The PROXY protocol in front of any factory, for plain HTTP or TLS.

A wrapped protocol begins after the header and sees the forwarded client as its peer; whom not to
believe, what is malformed and what takes too long is closed without an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet import address
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import alsoProvides

from ..clients import peer_address
from ..metrics.events import Count, Event, uncounted
from ..networks.spans import Address
from .proxy_header import Header, Malformed, read_header

if TYPE_CHECKING:
    from twisted.internet.interfaces import (
        IAddress,
        IDelayedCall,
        IProtocolFactory,
        IReactorTime,
        ITCPTransport,
    )
    from twisted.python.failure import Failure

QUIET_TIME = 60.0
"""How long a factory logs no more of what it closes, in seconds: strangers could fill a disk."""


class Announced(ProtocolWrapper):
    """A connection that a header comes first on, and the transport of what comes after it."""

    factory: AnnouncedFactory
    transport: ITCPTransport

    def __init__(self, factory: AnnouncedFactory) -> None:
        ProtocolWrapper.__init__(self, factory, None)  # type: ignore[arg-type]  # built later
        self._received = bytearray()
        self._deadline: IDelayedCall | None = None
        self._client: IAddress | None = None

    def logPrefix(self) -> str:
        """What Twisted calls the connection in its log."""
        return self.factory.logPrefix()

    def makeConnection(self, transport: ITCPTransport) -> None:
        """Wait for the header; nothing begins before it is there."""
        self.transport = transport
        self.factory.waiting.add(self)
        self.factory.count(Event.CONNECTION)
        self._deadline = self.factory.clock.callLater(self.factory.deadline, self._time_out)

    def dataReceived(self, data: bytes) -> None:
        if self.wrappedProtocol is not None:
            ProtocolWrapper.dataReceived(self, data)
        elif self in self.factory.waiting:
            self._received += data
            try:
                header = read_header(self._received)
            except Malformed as fault:
                self._refuse(Event.PROXY_MALFORMED, f"its PROXY header is malformed: {fault}")
            else:
                if header is not None:
                    self._begin(header)

    def _begin(self, header: Header) -> None:
        """Let the wrapped protocol begin, with this as its transport."""
        self._stop_waiting()
        if header.source is not None:
            kind = address.IPv4Address if header.source.version == 4 else address.IPv6Address
            self._client = kind("TCP", str(header.source), header.port)
        wrapped = self.factory.wrappedFactory.buildProtocol(self.getPeer())
        if wrapped is None:
            self.abortConnection()
            return
        self.wrappedProtocol = wrapped
        # A transport asks its protocol whether it knows half-closes, so that is told by what is
        # wrapped; only afterwards, for TLS takes over whatever its transport provides.
        ProtocolWrapper.makeConnection(self, self.transport)
        if IHalfCloseableProtocol.providedBy(wrapped):
            alsoProvides(self, IHalfCloseableProtocol)
        if header.rest and not self.disconnecting:
            ProtocolWrapper.dataReceived(self, header.rest)

    def _time_out(self) -> None:
        self._refuse(Event.PROXY_LATE, "its PROXY header took too long")

    def _refuse(self, event: Event, why: str) -> None:
        self.factory.refuse(self.getPeer(), event, why)
        self.abortConnection()

    def _stop_waiting(self) -> None:
        if self in self.factory.waiting:
            self.factory.waiting.remove(self)
            self.factory.count(Event.CONNECTION, -1)
        self._received.clear()
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    # What the wrapped protocol asks of its transport.

    def getPeer(self) -> IAddress:
        """The client that the header names, else the connection's peer."""
        return self._client or self.transport.getPeer()

    def abortConnection(self) -> None:
        """Close at once."""
        self._stop_waiting()
        self.disconnecting = 1
        self.transport.abortConnection()

    # What the transport tells the wrapped protocol.

    def readConnectionLost(self) -> None:
        """The client has sent its last byte."""
        IHalfCloseableProtocol(self.wrappedProtocol).readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Our half is closed."""
        IHalfCloseableProtocol(self.wrappedProtocol).writeConnectionLost()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._stop_waiting()
        if self.wrappedProtocol is not None:
            ProtocolWrapper.connectionLost(self, reason)
        else:
            self.factory.when_lost()


class AnnouncedFactory(WrappingFactory[Announced]):
    """Puts the PROXY protocol in front of another factory.

    `trusts` says which peers to believe; all others are closed as soon as they are accepted. Peers
    without an IP address, those of a UNIX socket, are believed. `deadline` is how long a header may
    take in seconds: three at least, so that a lost packet can be sent again. `waiting` holds the
    connections whose header is not there yet; factories may share it. `when_lost` is called when
    one has ended on which nothing has begun.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        wrapped: IProtocolFactory,
        trusts: Callable[[Address], bool],
        deadline: float,
        clock: IReactorTime,
        waiting: set[Announced] | None = None,
        count: Count = uncounted,
    ) -> None:
        # mypy does not bind the generic parameter of a base class that is called so.
        WrappingFactory.__init__(self, wrapped)  # type: ignore[arg-type]
        self.deadline = deadline
        self.clock = clock
        self.waiting: set[Announced] = set() if waiting is None else waiting
        self.count = count
        self.when_lost: Callable[[], None] = lambda: None
        self._trusts = trusts
        self._quiet_until = 0.0

    def logPrefix(self) -> str:
        return "PROXY"

    def buildProtocol(self, addr: IAddress | None) -> Announced | None:  # type: ignore[override]
        if isinstance(addr, (address.IPv4Address, address.IPv6Address)):
            peer = peer_address(addr.host)
            if not self._trusts(peer):
                self.refuse(addr, Event.PROXY_UNTRUSTED, "it is not in trusted_proxies")
                return None  # the port closes it
        return Announced(self)

    def abort_waiting(self) -> None:
        """Close the connections that nothing has begun on."""
        for connection in list(self.waiting):
            connection.abortConnection()

    def refuse(self, peer: IAddress, event: Event, why: str) -> None:
        """Count a connection that is closed, and log it unless one was a short time ago."""
        self.count(event)
        now = self.clock.seconds()
        if now < self._quiet_until:
            return
        self._quiet_until = now + QUIET_TIME
        self._log.info(
            "closed a connection from {peer}: {why} (silent about more for {seconds:g} s)",
            peer=getattr(peer, "host", "a UNIX socket"),
            why=why,
            seconds=QUIET_TIME,
        )
