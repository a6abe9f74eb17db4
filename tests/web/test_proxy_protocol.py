"""The PROXY protocol in front of other protocols: who is believed, and what they see of it."""

from collections.abc import Callable
from ipaddress import IPv4Address as IPv4
from ipaddress import IPv6Address as IPv6
from ipaddress import ip_network
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from regroute.networks.spans import Address
from regroute.web.proxy_protocol import QUIET_TIME

from .announced import DEADLINE, HOST, LINE, LOCAL, PROXY, Bed, Wire, knows_half_closes
from .proxy_headers import GOOD, MALFORMED, SHORT, v2


class Recorder(Protocol):
    """Records what it is told, and does `on_made` when it begins."""

    def __init__(self, on_made: Callable[[ITransport], object]) -> None:
        self.on_made = on_made
        self.data = b""
        self.events: list[str] = []

    def connectionMade(self) -> None:
        self.events.append("made")
        assert self.transport is not None
        self.on_made(self.transport)

    def dataReceived(self, data: bytes) -> None:
        assert data
        self.data += data
        if self.events[-1] != "data":
            self.events.append("data")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.append("lost")


@implementer(IHalfCloseableProtocol)
class HalfCloseRecorder(Recorder):
    def readConnectionLost(self) -> None:
        self.events.append("read lost")

    def writeConnectionLost(self) -> None:
        self.events.append("write lost")


class Recorders(Factory[Protocol]):
    """Builds recorders, and remembers for whom."""

    noisy = False

    def __init__(self, kind: type[Recorder] = Recorder) -> None:
        self.kind = kind
        self.on_made: Callable[[ITransport], object] = lambda transport: None
        self.built: list[Recorder] = []
        self.peers: list[IAddress | None] = []

    def buildProtocol(self, addr: IAddress | None) -> Recorder:
        self.peers.append(addr)
        self.built.append(self.kind(self.on_made))
        return self.built[-1]


def in_ten(address: Address) -> bool:
    return address.version == 4 and address in ip_network("10.0.0.0/8")


def bed_of(recorders: Factory[Protocol], trusts: Callable[[Address], bool] = in_ten) -> Bed:
    return Bed(recorders, trusts, Clock())


def begun(
    *pieces: bytes, peer: IAddress = PROXY, kind: type[Recorder] = Recorder
) -> tuple[Wire, Recorder]:
    """A connection after the pieces, and the only protocol that has been built for it."""
    recorders = Recorders(kind)
    wire = bed_of(recorders).connect(peer)
    for piece in pieces:
        wire.protocol.dataReceived(piece)
    (recorder,) = recorders.built
    return wire, recorder


# What is wrapped begins after the header.


@pytest.mark.parametrize(("raw", "source", "port"), GOOD.values(), ids=GOOD)
def test_the_peer_is_the_forwarded_client(raw: bytes, source: Address | None, port: int) -> None:
    _, recorder = begun(raw)
    peer = recorder.transport and recorder.transport.getPeer()
    match source:
        case None:
            assert peer == PROXY
        case IPv4():
            assert peer == IPv4Address("TCP", str(source), port)
        case IPv6():
            assert peer == IPv6Address("TCP", str(source), port)
    assert (recorder.events, recorder.data) == (["made"], b"")


def test_nothing_begins_before_the_header_is_whole() -> None:
    recorders = Recorders()
    wire = bed_of(recorders).connect()
    for byte in LINE[:-1]:
        wire.protocol.dataReceived(bytes([byte]))
    assert recorders.built == []
    wire.protocol.dataReceived(LINE[-1:])
    assert [recorder.events for recorder in recorders.built] == [["made"]]
    assert recorders.peers == [IPv4Address("TCP", "192.168.0.1", 56324)]


@given(
    st.sampled_from(list(SHORT.values())),
    st.binary(min_size=1, max_size=40),
    st.lists(st.integers(0, 300), max_size=6),
)
def test_what_follows_is_delivered_once_and_in_order_wherever_it_is_cut(
    raw: bytes, rest: bytes, cuts: list[int]
) -> None:
    whole = raw + rest
    places = sorted({min(cut, len(whole)) for cut in cuts} - {0, len(whole)})
    _, recorder = begun(
        *(whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True))
    )
    assert (recorder.events, recorder.data) == (["made", "data"], rest)


def test_a_second_header_is_data() -> None:
    wire, recorder = begun(LINE + LOCAL, LINE)
    assert recorder.data == LOCAL + LINE
    assert wire.protocol.getPeer() == IPv4Address("TCP", "192.168.0.1", 56324)


@pytest.mark.parametrize("close", ["loseConnection", "abortConnection"])
@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "a turn later"])
def test_a_protocol_that_closes_as_it_begins_gets_no_data(close: str, is_slow: bool) -> None:
    recorders = Recorders()
    recorders.on_made = lambda transport: getattr(transport, close)()
    wire = bed_of(recorders).connect()
    wire.is_slow = is_slow
    wire.protocol.dataReceived(LINE + b"data")
    assert wire.is_closed is not is_slow
    assert recorders.built[0].events == (["made"] if is_slow else ["made", "lost"])


def test_a_connection_is_aborted_that_nothing_wrapped_wants() -> None:
    class Unwilling(Factory[Protocol]):
        def buildProtocol(self, addr: IAddress | None) -> None:
            return None

    wire = bed_of(Unwilling()).connect()
    wire.protocol.dataReceived(LINE + b"data")
    wire.protocol.dataReceived(b"more")
    assert wire.is_aborted
    assert wire.take() == b""


# Whom to believe.


@pytest.mark.parametrize(
    "peer",
    [
        IPv4Address("TCP", "192.168.0.1", 1),
        IPv4Address("TCP", "11.0.0.1", 1),
        IPv6Address("TCP", "2001:db8::1", 1),
        IPv6Address("TCP", "::ffff:192.168.0.1", 1),
        IPv6Address("TCP", "fe80::1%eth0", 1),
    ],
    ids=lambda peer: peer.host,
)
def test_a_stranger_is_closed_as_it_is_accepted(peer: IAddress) -> None:
    recorders = Recorders()
    assert bed_of(recorders).factory.buildProtocol(peer) is None
    assert recorders.peers == []


@pytest.mark.parametrize(
    "peer",
    [PROXY, IPv6Address("TCP", "::ffff:10.0.0.1", 1), UNIXAddress(b"/p"), UNIXAddress(None)],
    ids=["IPv4", "IPv4 in IPv6", "UNIX", "UNIX without a name"],
)
@pytest.mark.parametrize("header", [LINE, LOCAL], ids=["PROXY", "LOCAL"])
def test_a_trusted_peer_and_any_of_a_unix_socket_is_believed(peer: IAddress, header: bytes) -> None:
    wire, _ = begun(header, peer=peer)
    expected = IPv4Address("TCP", "192.168.0.1", 56324) if header is LINE else peer
    assert wire.protocol.getPeer() == expected


def test_a_peer_is_judged_by_the_rules_in_force_when_it_is_accepted() -> None:
    trusted: list[Address] = [IPv4("10.0.0.1")]
    recorders = Recorders()
    bed = bed_of(recorders, lambda address: address in trusted)
    early = bed.connect()
    trusted.clear()
    assert bed.factory.buildProtocol(PROXY) is None
    early.protocol.dataReceived(LINE)
    assert [recorder.events for recorder in recorders.built] == [["made"]]


# Faults and the deadline.


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_header_ends_the_connection_without_an_answer(raw: bytes) -> None:
    recorders = Recorders()
    bed = bed_of(recorders)
    wire = bed.connect()
    wire.protocol.dataReceived(raw)
    wire.protocol.dataReceived(LINE)
    assert wire.is_aborted
    assert wire.take() == b""
    assert recorders.built == []
    assert not bed.factory.waiting
    assert not bed.clock.getDelayedCalls()


@pytest.mark.parametrize("raw", [b"", LINE[:1], LINE[:-1], v2()[:-1]])
def test_a_header_that_does_not_come_ends_the_connection_at_its_deadline(raw: bytes) -> None:
    """However it trickles: no byte puts the deadline off."""
    recorders = Recorders()
    bed = bed_of(recorders)
    wire = bed.connect()
    for byte in raw:
        bed.clock.advance(DEADLINE / 50 / len(raw))
        wire.protocol.dataReceived(bytes([byte]))
    bed.clock.advance(DEADLINE * 0.97)
    assert not wire.is_closed
    bed.clock.advance(DEADLINE * 0.04)
    assert wire.is_aborted
    assert (wire.take(), recorders.built, bed.factory.waiting) == (b"", [], set())


def test_the_deadline_is_over_with_the_header() -> None:
    bed = bed_of(Recorders())
    wire = bed.connect()
    wire.protocol.dataReceived(LINE)
    assert not bed.clock.getDelayedCalls()
    assert not wire.is_closed


@pytest.mark.parametrize("raw", [b"", LINE[:-1]])
def test_nothing_is_left_of_a_connection_that_ends_within_its_header(raw: bytes) -> None:
    recorders = Recorders(HalfCloseRecorder)
    bed = bed_of(recorders)
    wire = bed.connect()
    if raw:
        wire.protocol.dataReceived(raw)
    wire.end()
    assert wire.is_closed
    assert (recorders.built, bed.factory.waiting) == ([], set())
    assert not bed.clock.getDelayedCalls()


def test_only_waiting_connections_are_aborted_at_a_stop() -> None:
    bed = bed_of(Recorders())
    waiting, half, begun = (bed.connect() for _ in range(3))
    half.protocol.dataReceived(LINE[:9])
    begun.protocol.dataReceived(LINE)
    assert len(bed.factory.waiting) == 2
    bed.factory.abort_waiting()
    assert [wire.is_aborted for wire in (waiting, half, begun)] == [True, True, False]
    assert not bed.factory.waiting
    assert not bed.clock.getDelayedCalls()


def test_the_log_says_why_once_a_minute_and_nothing_that_a_peer_has_sent() -> None:
    bed = bed_of(Recorders())
    bed.clock.advance(1e9)
    with capturedLogs() as events:
        for _ in range(3):
            bed.factory.buildProtocol(IPv4Address("TCP", "192.0.2.77", 1))
            bed.connect().protocol.dataReceived(b"PROXY TCP4 evil\x1b[2J")
    (text,) = (formatEvent(event) for event in events)
    assert text.startswith("closed a connection from 192.0.2.77: it is not in trusted_proxies")
    bed.clock.advance(QUIET_TIME)
    with capturedLogs() as events:
        bed.connect(UNIXAddress(None)).protocol.dataReceived(b"PROXY TCP4 evil\x1b[2J")
    (text,) = (formatEvent(event) for event in events)
    assert text.startswith("closed a connection from a UNIX socket: its PROXY header is malformed:")
    assert "evil" not in text


# All else passes through.


@pytest.mark.parametrize("kind", [Recorder, HalfCloseRecorder])
def test_half_closes_are_for_what_is_wrapped_to_know(kind: type[Recorder]) -> None:
    wire, recorder = begun(LINE + b"data", kind=kind)
    assert knows_half_closes(wire.protocol) is (kind is HalfCloseRecorder)
    wire.protocol.loseWriteConnection()
    assert wire.is_half_closed
    wire.end()
    told = ["write lost", "read lost"] if kind is HalfCloseRecorder else ["lost"]
    assert recorder.events == ["made", "data", *told]


def test_what_is_wrapped_has_all_of_the_transport() -> None:
    wire, recorder = begun(LINE)
    for interface in (ITransport, IConsumer, IPushProducer):
        assert interface.providedBy(recorder.transport)
    transport = cast(ITCPTransport, recorder.transport)
    assert transport.getHost() == HOST
    transport.write(b"a")
    transport.writeSequence([b"b", b"c"])
    assert wire.take() == b"abc"
    producer = StringTransport()
    cast(IConsumer, transport).registerProducer(producer, True)
    assert (wire.producer, wire.streaming) == (producer, True)
    cast(IConsumer, transport).unregisterProducer()
    assert wire.producer is None
    cast(IPushProducer, transport).pauseProducing()
    assert wire.producerState == "paused"
    cast(IPushProducer, transport).resumeProducing()
    assert wire.producerState == "producing"
    transport.abortConnection()
    assert wire.is_aborted
    assert recorder.events == ["made", "lost"]
