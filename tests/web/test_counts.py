"""What is counted where a connection begins and ends, in the lane and in the tree alike."""

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import cast

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from regroute.answers import Reason
from regroute.metrics.events import Event
from regroute.metrics.tally import REQUESTS
from regroute.reactor import Reactor
from regroute.web.accept import RETRY_TIME, Acceptor
from regroute.web.body import LIMIT
from regroute.web.connection import LINGER_TIME, PROXY_IDLE_TIME
from regroute.web.lane_tls import LaneTLS
from regroute.web.tls import CLOSE_TIME, HANDSHAKE_TIME, ServerTLS

from ..issuers import new_root
from ..making import HEAD_SIZE, HEAD_TIME, IDLE_TIME, Books, site_of
from . import handshakes
from .announced import DEADLINE, LINE, PROXY, Bed
from .announced import Wire as AnnouncedWire
from .handshakes import CLIENT_HELLO_TLS_1_1, Application, trust
from .lanes import TLSTalker, laned
from .memory import GET, SEED_RULES, Client, Turns, address
from .test_connection import LAST, PUT
from .test_tls import CERTIFICATES, ROOT, VERSIONS

STRANGER = "192.0.2.9"
HALF = PUT + b"Content-Length: 9\r\n\r\nhalf"
BIG = b"x" * HEAD_SIZE

# What a client sends, how long it then waits, and what has been counted by then.
CASES: dict[str, tuple[bytes, float, dict[Event | Reason, int]]] = {
    "says nothing": (b"", IDLE_TIME + 1, {Event.IDLE: 1}),
    "asks once": (GET, IDLE_TIME + 1, {Event.IDLE: 1}),
    "says half a head": (GET[:9], HEAD_TIME, {Reason.TIMEOUT: 1}),
    "sends half a body": (HALF, HEAD_TIME, {Reason.TIMEOUT: 1}),
    "sends a line without end": (b"GET /" + BIG, 0, {Reason.LINE_SIZE: 1}),
    "sends a head without end": (b"GET / HTTP/1.1\r\n" + BIG, 0, {Reason.HEAD_SIZE: 1}),
    "tells of a long body": (PUT + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1), 0, {Event.BODY: 1}),
    "sends a long body": (
        PUT + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * LIMIT,
        0,
        {Event.BODY: 1},
    ),
    "does not close": (b"BAD\r\n\r\n", LINGER_TIME, {Reason.REQUEST_LINE: 1, Event.LINGER: 1}),
    "does not close its last": (LAST + b"\r\n", LINGER_TIME, {Event.LINGER: 1}),
}


def told(books: Books) -> dict[Event | Reason, int]:
    """The events, but for the connections that are open, and the refusals by reason."""
    seen: dict[Event | Reason, int] = {}
    seen.update((each, n) for each, n in books.events().items() if each != Event.CONNECTION)
    for key, value in books.counts().items():
        if key[0] == REQUESTS and key[-1] not in ("", Reason.METHOD):
            seen[Reason(key[-1])] = value
    return seen


@pytest.mark.parametrize("case", CASES)
def test_the_tree_counts_the_limits_that_it_keeps(case: str) -> None:
    sent, wait, expected = CASES[case]
    books = Books()
    clock = Turns()
    site = site_of(lambda: SEED_RULES, clock, books.record, count=books.tally.count)
    client = Client(site=site, peer=STRANGER)
    client.clock = clock
    client.send(sent)
    clock.advance(wait)
    assert told(books) == expected


@pytest.mark.parametrize("case", CASES)
def test_the_lane_counts_the_limits_that_it_keeps(case: str) -> None:
    sent, wait, expected = CASES[case]
    with laned() as bed:
        bed.connect(STRANGER).send(sent)
        for _ in range(int(wait) + (wait > 0)):
            bed.clock.advance(1)
            bed.settle()
        assert told(bed.books) == expected


def test_a_proxy_of_ours_that_is_idle_is_counted_when_it_is_closed() -> None:
    with laned() as bed:
        bed.connect("127.0.0.1")
        for seconds in (IDLE_TIME + 1, PROXY_IDLE_TIME):
            assert told(bed.books) == {}
            bed.clock.pump([1] * int(seconds))
        assert told(bed.books) == {Event.IDLE: 1}


def test_a_client_that_takes_no_answers_is_counted_when_it_is_cut_off() -> None:
    books = Books()
    clock = Turns()
    site = site_of(lambda: SEED_RULES, clock, books.record, count=books.tally.count)
    client = Client(site=site, peer=STRANGER)
    client.clock = clock
    client.wire.capacity = 100
    client.send(GET * 9)
    clock.advance(IDLE_TIME)
    assert client.wire.is_aborted
    assert told(books) == {Event.UNREAD: 1}


def test_whom_a_drain_cuts_off_is_counted() -> None:
    with laned() as bed:
        bed.connect(STRANGER)
        bed.connect(STRANGER).send(GET[:9])
        bed.site.abort()
        assert told(bed.books) == {Event.DRAIN: 2}


def test_open_connections_are_those_of_the_lane_and_of_the_tree() -> None:
    with laned() as bed:
        open_ones: list[int | None] = []

        def look() -> None:
            bed.settle()
            open_ones.append(bed.books.events().get(Event.CONNECTION))

        talkers = [bed.connect(STRANGER) for _ in range(3)]
        look()
        talkers[0].send(GET[:9])
        talkers[1].send(GET)
        look()
        bed.connect(STRANGER, LAST).read()
        look()
        for talker in talkers:
            talker.near.close()
            look()
    assert open_ones == [3, 3, 3, 2, 1, None]


# TLS.


@dataclass
class Side:
    """A client of one of the two, and what it does."""

    books: Books
    shake: Callable[[], object]
    send: Callable[[bytes], object]
    hang_up: Callable[[], object]
    wait: Callable[[float], object]


def of_the_lane(act: Callable[[Side], object], context: ssl.SSLContext) -> dict[Event, int]:
    """What the lane counts."""
    with laned() as bed:
        tls = LaneTLS(CERTIFICATES, bed.clock)
        client = TLSTalker(bed.connect(STRANGER, tls=tls), context, "first.example")

        def wait(seconds: float) -> None:
            bed.clock.pump([1] * int(seconds))

        talker = client.talker
        act(Side(bed.books, client.shake_hands, talker.send, talker.end, wait))
        return bed.books.events()


def of_the_tree(act: Callable[[Side], object], context: ssl.SSLContext) -> dict[Event, int]:
    """What Twisted's way counts."""
    books, clock = Books(), Clock()
    server = handshakes.accept(ServerTLS(CERTIFICATES, clock), clock, count=books.tally.count)
    client = handshakes.Client(server, context, "first.example")

    def wait(seconds: float) -> None:
        clock.advance(seconds)
        if client.wire.disconnected:
            client.hang_up()

    def end() -> None:
        client.pump()
        client.hang_up()

    act(Side(books, client.shake_hands, server.dataReceived, end, wait))
    return books.events()


def _shake(side: Side) -> None:
    with suppress(ssl.SSLError):
        side.shake()
    side.hang_up()


def _say(data: bytes) -> Callable[[Side], None]:
    def act(side: Side) -> None:
        side.send(data)
        side.hang_up()

    return act


HANDSHAKES: dict[str, tuple[Callable[[Side], object], Event]] = {
    "done": (_shake, Event.HANDSHAKE_DONE),
    "HTTP": (_say(GET), Event.HANDSHAKE_FAILED),
    "TLS 1.1": (_say(CLIENT_HELLO_TLS_1_1), Event.HANDSHAKE_FAILED),
    "nothing": (lambda side: side.hang_up(), Event.HANDSHAKE_LEFT),
    "half a hello": (_say(CLIENT_HELLO_TLS_1_1[:9]), Event.HANDSHAKE_LEFT),
    "silence": (lambda side: side.wait(HANDSHAKE_TIME + 1), Event.HANDSHAKE_LATE),
}


@pytest.mark.parametrize("count", [of_the_lane, of_the_tree])
@pytest.mark.parametrize("case", HANDSHAKES)
def test_every_handshake_is_counted_once_by_its_outcome(
    case: str, count: Callable[[Callable[[Side], object], ssl.SSLContext], dict[Event, int]]
) -> None:
    act, outcome = HANDSHAKES[case]
    assert_ended(count(act, trust(ROOT)), outcome)


@pytest.mark.parametrize("count", [of_the_lane, of_the_tree])
@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_client_that_does_not_trust_us_is_a_failure(
    version: ssl.TLSVersion,
    count: Callable[[Callable[[Side], object], ssl.SSLContext], dict[Event, int]],
) -> None:
    assert_ended(count(_shake, trust(new_root(), version)), Event.HANDSHAKE_FAILED)
    assert_ended(count(_shake, trust(ROOT, version)), Event.HANDSHAKE_DONE)


def assert_ended(events: dict[Event, int], outcome: Event) -> None:
    handshakes_of = {
        event: times for event, times in events.items() if event.value[0] == "tls_handshakes"
    }
    assert handshakes_of == {outcome: 1}


def test_who_does_not_close_tls_is_counted_when_it_is_cut_off() -> None:
    books, clock = Books(), Clock()
    server = handshakes.accept(ServerTLS(CERTIFICATES, clock), clock, count=books.tally.count)
    client = handshakes.Client(server, trust(ROOT)).shake_hands()
    assert isinstance(server.wrappedProtocol, Application)
    server.wrappedProtocol.lose()
    clock.advance(CLOSE_TIME)
    client.hang_up()
    assert books.events() == {Event.HANDSHAKE_DONE: 1, Event.LINGER: 1}


# PROXY.


def announced(books: Books, clock: Clock) -> Bed:
    """What stands in front of a site."""
    site = site_of(lambda: SEED_RULES, clock, books.record, count=books.tally.count)
    return Bed(site, lambda peer: peer == IPv4Address("10.0.0.1"), clock, books.tally.count)


def test_refused_headers_are_counted_by_reason() -> None:
    books, clock = Books(), Clock()
    bed = announced(books, clock)
    with capturedLogs():
        assert bed.factory.buildProtocol(address(STRANGER)) is None
        bed.connect(PROXY).protocol.dataReceived(b"GET / HTTP/1.1\r\n")
        bed.connect(PROXY).protocol.dataReceived(LINE[:9])
        clock.advance(DEADLINE)
    assert books.events() == {
        Event.PROXY_UNTRUSTED: 1,
        Event.PROXY_MALFORMED: 1,
        Event.PROXY_LATE: 1,
    }


def test_a_connection_is_open_before_its_header_has_come_and_once_after_it() -> None:
    books, clock = Books(), Clock()
    bed = announced(books, clock)
    wires: list[AnnouncedWire] = [bed.connect(PROXY) for _ in range(3)]
    assert books.events() == {Event.CONNECTION: 3}
    wires[0].protocol.dataReceived(LINE)
    wires[1].protocol.dataReceived(LINE + GET)
    assert books.events() == {Event.CONNECTION: 3}
    for left, wire in zip((2, 1, 0), wires, strict=True):
        wire.lose(Failure(ConnectionDone()))
        assert books.events().get(Event.CONNECTION, 0) == left


# Accepting.


class Socket:
    """A listening socket that has no descriptor for anyone."""

    def accept(self) -> None:
        raise OSError(24, "Too many open files")

    def fileno(self) -> int:
        return 3


class Readers(Clock):
    """A clock, and nobody who polls."""

    def addReader(self, reader: object) -> None: ...
    def removeReader(self, reader: object) -> None: ...


@pytest.mark.parametrize(("room", "event"), [(0, Event.NO_ROOM), (1, Event.NO_DESCRIPTORS)])
def test_every_pause_of_accepting_is_counted_by_what_is_missing(room: int, event: Event) -> None:
    books, clock = Books(), Readers()
    rooms = [room]
    acceptor = Acceptor(
        cast("socket.socket", Socket()),
        lambda accepted, name: None,
        lambda: rooms[0],
        lambda: None,
        cast("Reactor", clock),
        books.tally.count,
    )
    with capturedLogs():
        for times in (1, 2):
            acceptor.doRead()
            assert books.events() == {event: times}
            rooms[0] = 1
            clock.advance(RETRY_TIME)
            acceptor.resume()
            rooms[0] = room
