"""The resource tree: every request's answer, from the decision of the rules."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web import server
from twisted.web.http import Request, datetimeToString
from twisted.web.resource import Resource

from ..answers import Answer, Reason, Refusal, refuse
from ..clients import peer_address
from ..config.schema import Limits
from ..logs.access_log import Again, Entry, entry_of
from ..metrics.events import Count, Event, uncounted
from ..networks.spans import Address
from ..respond import Lines, Response, respond
from ..rules import RuleSet
from ..target import means_v2
from . import wire
from .conversation import Conversation, Relays
from .hosting import QuietSite
from .proxy_protocol import Announced
from .strict import Head

Record: TypeAlias = Callable[[Entry], None]

_log = Logger()


class Front(Resource):
    """Every path of the front: answered by the rules that are in force when it is asked for."""

    isLeaf = True

    def __init__(self, rules: Callable[[], RuleSet], record: Record, reactor: IReactorTime) -> None:
        Resource.__init__(self)
        self._rules = rules
        self._record = record
        self._reactor = reactor

    def render(self, request: Request) -> int:
        """Answer a request; the method is for the rules to judge."""
        began = perf_counter()
        headers = request.requestHeaders

        def lines(name: bytes) -> Sequence[bytes]:
            return headers.getRawHeaders(name) or ()

        response = self._respond(request, lines)
        answer = response.answer
        assert isinstance(answer, Answer)  # relays do not come to the tree
        now = self._reactor.seconds()
        request.setResponseCode(answer.status)
        for name, value in wire.answer_fields(answer, datetimeToString(now)):
            request.responseHeaders.setRawHeaders(name, [value])
        version = request.clientproto.removeprefix(b"HTTP/")
        entry = entry_of(response, request.method, request.uri, lines, version)
        # Before it is sent: whoever has his answer finds it counted.
        self._record(entry._replace(time=now, microseconds=int((perf_counter() - began) * 1e6)))
        request.write(answer.body)
        request.finish()
        return server.NOT_DONE_YET

    def _respond(self, request: Request, lines: Lines) -> Response:
        # The address of a Unix socket's peer has no host.
        peer = getattr(request.getClientAddress(), "host", None)
        try:
            return respond(self._rules(), peer, request.method, request.uri, lines)
        except Exception:
            _log.failure("no answer to {method} {uri}", method=request.method, uri=request.uri)
            under_v2 = means_v2(request.uri)
            answer = refuse(500, "internal error", under_v2=under_v2, reason=Reason.INTERNAL)
            return Response(answer, client=None)


class Guest(Protocol):
    """What a site counts as a connection."""

    def drain(self) -> None:
        """Let the next answer be the last one, and say so."""

    def close_idle(self, since: float) -> None:
        """Close, if no request has come since then, which is in seconds since the epoch."""

    def abort(self) -> None:
        """Close at once."""


class Site(QuietSite):
    """The factory of all listeners' connections.

    `rules` and `limits` are those in force when they are asked for; `room` is how many connections
    the process has descriptors for. `when_room` is called when there is room for another one;
    `count` is told what happens besides requests.
    """

    def __init__(
        self,
        rules: Callable[[], RuleSet],
        limits: Callable[[], Limits],
        record: Record,
        is_recording: Callable[[], bool],
        room: int,
        reactor: IReactorTime,
        count: Count = uncounted,
    ) -> None:
        front = Front(rules, record, reactor)
        server.Site.__init__(self, front, reactor=reactor, parsePOSTFormSubmission=False)
        self.connections: set[Guest] = set()
        # What has been accepted but is no connection of ours yet; it needs room as well.
        self.waiting: set[Announced] = set()
        self.limits = limits
        self.count = count
        self.record = record
        self.is_recording = is_recording
        self.relaying: Relays | None = None
        self.remember: Callable[[Entry], Again] = self._record_again
        self.when_room: Callable[[], None] = lambda: None
        self.is_awaited = False
        self.rules = rules
        self._room = room
        self._is_draining = False
        self._emptied: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Conversation:  # type: ignore[override]
        connection = Conversation(self.reactor)
        connection.site = self
        connection.factory = self
        connection.requestFactory = self.requestFactory
        return connection

    def is_own(self, target: bytes) -> bool:
        """Whether a target is no matter of the rules."""
        return self.relaying is not None and self.relaying.is_own(target)

    def _record_again(self, entry: Entry) -> Again:
        """How to record an entry again; whoever writes lines may know a faster way."""

        def again(time: float, client: Address | str | None, microseconds: int) -> None:
            self.record(entry._replace(time=time, client=client, microseconds=microseconds))

        return again

    def room(self) -> int:
        """How many more connections there may be."""
        # A client whose requests are relayed needs another one, to the registry.
        fits = self._room // 2 if self.rules().relays else self._room
        most = min(self.limits().connections or fits, fits)
        room = most - len(self.connections) - len(self.waiting)
        if room <= 0:
            self.is_awaited = True
        return room

    def trusts(self, peer: IAddress) -> bool:
        """Whether a peer is a proxy of ours, in front of many clients."""
        host = getattr(peer, "host", None)
        return host is None or self.rules().clients.trusts(peer_address(host))

    def client(self, peer: IAddress, head: Head | None) -> Address | None:
        """Who has sent a request; None where nobody knows, as of a proxy's without a head."""
        if head is None and self.trusts(peer):
            return None
        host = getattr(peer, "host", None)
        try:
            return self.rules().clients.address(host, head.lines if head else lambda name: ())
        except Refusal:
            return None

    def add(self, connection: Guest) -> None:
        """Count a connection in."""
        self.connections.add(connection)
        self.count(Event.CONNECTION)
        if self._is_draining:
            connection.drain()

    def discard(self, connection: Guest) -> None:
        """Count a connection out."""
        if connection in self.connections:
            self.connections.remove(connection)
            self.count(Event.CONNECTION, -1)
        if self._emptied is not None:
            self._check_emptied()
        if self.is_awaited:
            self.is_awaited = False
            self.when_room()

    def drain(self) -> None:
        """Let the next answer on each connection be its last one, on those to come as well."""
        self._is_draining = True
        for connection in list(self.connections):
            connection.drain()

    def close_idle(self, since: float) -> None:
        """Close the connections without a request since then, which is in seconds."""
        for connection in list(self.connections):
            connection.close_idle(since)

    def emptied(self) -> Deferred[None]:
        """Fires when there is no connection any more."""
        self._emptied = emptied = Deferred[None]()
        self._check_emptied()
        return emptied

    def abort(self) -> None:
        """Close every connection at once."""
        for connection in list(self.connections):
            self.count(Event.DRAIN)
            connection.abort()

    def _check_emptied(self) -> None:
        if self._emptied is not None and not self.connections:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)
