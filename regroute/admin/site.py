"""The admin listener's connections: as strict as those of clients, and few."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.web import server

from ..config.schema import Limits
from ..logs.access_log import Entry
from ..metrics.events import uncounted
from ..networks.spans import Address
from ..reactor import Reactor
from ..web.connection import Connection
from ..web.hosting import QuietSite
from ..web.strict import Head
from .subject import Subject
from .tree import Front

MOST = 64
"""How many connections there are at most. One more takes the place of the oldest: so nobody who
only holds some of them open keeps a health check out."""

_LIMITS = Limits()


class Site(QuietSite):
    """The factory of an admin listener's connections, none of which is recorded."""

    def __init__(self, subject: Subject, is_local: bool, reactor: Reactor) -> None:
        front = Front(subject, is_local, reactor)
        server.Site.__init__(self, front, reactor=reactor, parsePOSTFormSubmission=False)
        self.count = uncounted
        # In the order in which they have come.
        self._connections: dict[Connection, None] = {}
        self._drained: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Connection:  # type: ignore[override]  # as in web.tree
        connection = Connection(self.reactor)
        connection.site = self
        connection.factory = self
        connection.requestFactory = self.requestFactory
        return connection

    def limits(self) -> Limits:
        """The defaults: what clients are allowed is no matter here."""
        return _LIMITS

    def trusts(self, peer: IAddress) -> bool:
        """No: nobody stands in front of this listener."""
        return False

    def client(self, peer: IAddress, head: Head | None) -> Address | None:
        """Nobody wants to know."""
        return None

    def record(self, entry: Entry) -> None:
        """Nothing."""

    def add(self, connection: Connection) -> None:
        """Count a connection in."""
        if len(self._connections) >= MOST:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.abort()
        self._connections[connection] = None

    def discard(self, connection: Connection) -> None:
        """Count a connection out."""
        self._connections.pop(connection, None)
        self._check_drained()

    def drain(self) -> Deferred[None]:
        """Let every connection finish what is in flight; fires when the last one has."""
        self._drained = drained = Deferred[None]()
        for connection in list(self._connections):
            connection.close_idle(self.reactor.seconds())
        self._check_drained()
        return drained

    def abort(self) -> None:
        """Close every connection at once."""
        for connection in list(self._connections):
            connection.abort()

    def _check_drained(self) -> None:
        if self._drained is not None and not self._connections:
            drained, self._drained = self._drained, None
            drained.callback(None)
