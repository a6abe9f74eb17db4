"""The resource tree: every request's answer, from the decision of the rules."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web import server
from twisted.web.http import Request, datetimeToString
from twisted.web.resource import Resource

from ..answers import Answer, refuse
from ..respond import respond
from ..rules import RuleSet
from ..target import means_v2
from . import wire
from .connection import Connection

_log = Logger()


class Front(Resource):
    """Every path of the front: answered by the rules that are in force when it is asked for."""

    isLeaf = True

    def __init__(self, rules: Callable[[], RuleSet], reactor: IReactorTime) -> None:
        Resource.__init__(self)
        self._rules = rules
        self._reactor = reactor

    def render(self, request: Request) -> int:
        """Answer a request; the method is for the rules to judge."""
        answer = self._answer(request)
        date = datetimeToString(self._reactor.seconds())
        request.setResponseCode(answer.status)
        for name, value in wire.answer_fields(answer, date):
            request.responseHeaders.setRawHeaders(name, [value])
        request.write(answer.body)
        request.finish()
        return server.NOT_DONE_YET

    def _answer(self, request: Request) -> Answer:
        peer = request.getClientAddress().host
        headers = request.requestHeaders

        def lines(name: bytes) -> Sequence[bytes]:
            return headers.getRawHeaders(name) or ()

        try:
            return respond(self._rules(), peer, request.method, request.uri, lines)
        except Exception:
            _log.failure("no answer to {method} {uri}", method=request.method, uri=request.uri)
            return refuse(500, "internal error", under_v2=means_v2(request.uri))


class Site(server.Site):
    """The factory of a listener's connections."""

    displayTracebacks = False
    noisy = False

    def __init__(self, front: Front, reactor: IReactorTime) -> None:
        server.Site.__init__(self, front, reactor=reactor, parsePOSTFormSubmission=False)
        self.connections: set[Connection] = set()
        self._drained: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Connection:  # type: ignore[override]
        connection = Connection(self.reactor)
        connection.site = self
        connection.factory = self
        connection.requestFactory = self.requestFactory
        return connection

    def add(self, connection: Connection) -> None:
        """Count a connection in."""
        self.connections.add(connection)

    def discard(self, connection: Connection) -> None:
        """Count a connection out."""
        self.connections.discard(connection)
        self._check_drained()

    def drain(self) -> Deferred[None]:
        """Let every connection finish what is in flight; fires when the last one has."""
        self._drained = drained = Deferred[None]()
        for connection in list(self.connections):
            connection.drain()
        self._check_drained()
        return drained

    def abort(self) -> None:
        """Close every connection at once."""
        for connection in list(self.connections):
            connection.abort()

    def _check_drained(self) -> None:
        if self._drained is not None and not self.connections:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def startFactory(self) -> None:
        """Nothing: twisted.web's own access log is not kept."""

    def stopFactory(self) -> None:
        """Nothing: see `startFactory`."""

    def log(self, request: Request) -> None:
        """Nothing: see `startFactory`."""
