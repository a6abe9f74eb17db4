"""What a connection belongs to, and what it stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.web import server

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.web.http import Request

    from ..config.schema import Limits
    from ..logs.access_log import Entry
    from ..metrics.events import Count
    from ..networks.spans import Address
    from .connection import Connection
    from .strict import Head


class Host(Protocol):
    """What a connection belongs to, and counts itself in and out at."""

    count: Count

    def limits(self) -> Limits:
        """The limits in force."""

    def trusts(self, peer: IAddress) -> bool:
        """Whether a peer is a proxy of ours."""

    def client(self, peer: IAddress, head: Head | None) -> Address | None:
        """Who has sent a request, if anyone knows."""

    def record(self, entry: Entry) -> None:
        """Record an answer."""

    def add(self, connection: Connection) -> None: ...
    def discard(self, connection: Connection) -> None: ...


class QuietSite(server.Site):
    """A site without what twisted.web would log of it, and tell its clients of faults."""

    displayTracebacks = False
    noisy = False

    def startFactory(self) -> None:
        """Nothing: twisted.web's own access log is not kept."""

    def stopFactory(self) -> None:
        """Nothing: see `startFactory`."""

    def log(self, request: Request) -> None:
        """Nothing: see `startFactory`."""


class StreamTransport(Protocol):
    """What a connection needs of its transport: Twisted's TCP transports have it."""

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def loseWriteConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def unregisterProducer(self) -> None: ...
