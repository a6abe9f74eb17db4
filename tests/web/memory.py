"""A client and its connection in memory, without a socket and without a clock that runs."""

from collections.abc import Sequence

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from regroute.rules import RuleSet
from regroute.web.connection import Connection
from regroute.web.tree import Site

from ..making import checked, site_of
from .answers import Received, read_answers

SEED = """
clients: {trusted_proxies: [127.0.0.0/8, "::1"]}
rules:
  - client: 192.168.0.1
    to: https://registry-1.docker.io
  - to: https://k8s.gcr.io
"""
GET = b"GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n"


def rules_of(text: str) -> RuleSet:
    """The rules of a configuration that names no files."""
    return checked(text).rules


SEED_RULES = rules_of(SEED)


def address(host: str) -> IAddress:
    """A peer's address as a socket reports it."""
    kind = IPv6Address if ":" in host else IPv4Address
    return kind("TCP", host, 50000)


class Wire(StringTransport):
    """A connection's server end: with half-closes, and a client that may stop reading.

    As with a real one, nothing is delivered while it is paused, and what is written fills a
    buffer that pauses the producer when it is over `capacity`.
    """

    protocol: Connection

    def __init__(self, peer: str) -> None:
        StringTransport.__init__(self, peerAddress=address(peer), lenient=True)
        self.written = bytearray()
        self.capacity: int | None = None
        self.is_closed = False
        self.is_aborted = False
        self.is_half_closed = False

    def write(self, data: bytes) -> None:
        assert not self.is_half_closed, "written after the half-close"
        self.written += data
        full = self.capacity is not None and len(self.written) > self.capacity
        if full and self.producer is not None:
            self.producer.pauseProducing()

    def loseWriteConnection(self) -> None:
        self.is_half_closed = True
        self.protocol.writeConnectionLost()

    def loseConnection(self) -> None:
        self._lose(Failure(ConnectionDone()))

    def abortConnection(self) -> None:
        self.is_aborted = True
        self._lose(Failure(ConnectionAborted()))

    def unregisterProducer(self) -> None:
        self.producer = None

    def _lose(self, reason: Failure) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.producerState = "paused"
            self.protocol.connectionLost(reason)


class Turns(Clock):
    """A clock that can run what is due now, and not what comes of it."""

    def turn(self) -> bool:
        """One turn of a reactor's timed calls. Whether any was due."""
        due = [call for call in self.calls if call.getTime() <= self.seconds()]
        for call in due:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)
        return bool(due)


class Client:
    """One client of a site; `clock` runs only when it is told to."""

    def __init__(
        self, rules: RuleSet = SEED_RULES, *, peer: str = "127.0.0.1", site: Site | None = None
    ) -> None:
        self.clock = Turns()
        self.site = site or site_of(lambda: rules, self.clock)
        connection = self.site.buildProtocol(address(peer))
        self.wire = Wire(peer)
        self.wire.protocol = connection
        self.connection = connection
        Protocol.makeConnection(connection, self.wire)
        self.unread = b""
        self._has_ended = False

    def send(self, *pieces: bytes) -> "Client":
        """Send pieces, and let the reactor turn until nothing moves any more."""
        for piece in pieces:
            self.unread += piece
            self.settle()
        return self

    def end(self) -> "Client":
        """Close the client's half."""
        self._has_ended = True
        return self.settle()

    def settle(self) -> "Client":
        """Let the reactor turn until nothing moves any more."""
        while self.step():
            pass
        return self

    def step(self) -> bool:
        """One turn of the reactor: what is due, then what can be read. Whether anything was."""
        was_due = self.clock.turn()
        is_reading = self.wire.producerState == "producing" and not self.wire.is_closed
        if is_reading and self.unread:
            data, self.unread = self.unread[:65536], self.unread[65536:]
            self.connection.dataReceived(data)
            return True
        if is_reading and self._has_ended:
            # The reactor looks no further at a socket that has come to its end.
            self.wire.producerState = "paused"
            self.connection.readConnectionLost()
            return True
        return was_due

    def read(self) -> bytes:
        """Take all that has been written, which lets a blocked connection go on."""
        data = bytes(self.wire.written)
        self.wire.written.clear()
        if self.wire.producer is not None:
            self.wire.producer.resumeProducing()
        return data

    def answers(self, methods: Sequence[bytes] = ()) -> list[Received]:
        """All answers so far, see `read_answers`."""
        return read_answers(bytes(self.wire.written), methods)

    def answer(self, method: bytes = b"GET") -> Received:
        """The only answer so far."""
        (answer,) = self.answers([method])
        return answer

    @property
    def is_reading(self) -> bool:
        """Whether more requests are read from the connection."""
        return not (self.wire.is_closed or self.wire.is_half_closed)
