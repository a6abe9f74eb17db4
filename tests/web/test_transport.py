"""The transport of what the lane leaves: it keeps what Twisted's interfaces say of one."""

import socket
from collections.abc import Iterator
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from regroute.web.streams import Plain
from regroute.web.transport import FULL, Handler, SocketTransport, address_of

from .memory import Turns

HERE, THERE = address_of(("127.0.0.1", 80)), address_of(("::1", 50000, 0, 0))


class Whole(Protocol):
    """A protocol that writes down what happens, and notes where it is called within a call."""

    transport: SocketTransport

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.acts: list[str] = []
        self._is_called = False

    def connectionMade(self) -> None:
        self._note("made")

    def dataReceived(self, data: bytes) -> None:
        self._note(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._note(reason.type)

    def _note(self, what: object) -> None:
        assert not self._is_called, f"{what!r} is told within another call"
        self.seen.append(what)
        self._is_called = True
        try:
            if self.acts:
                getattr(self.transport, self.acts.pop(0))()
        finally:
            self._is_called = False


@implementer(IHalfCloseableProtocol)
class Half(Whole):
    """One that knows half-closes."""

    def readConnectionLost(self) -> None:
        self._note("read lost")

    def writeConnectionLost(self) -> None:
        self.seen.append("write lost")


class Producer:
    """Something that can be told to pause."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def pauseProducing(self) -> None:
        self.seen.append("pause")

    def resumeProducing(self) -> None:
        self.seen.append("resume")

    def stopProducing(self) -> None:
        self.seen.append("stop")


class Wired:
    """A transport on one end of a pair of sockets, whose other end is the test's."""

    def __init__(self, protocol: Whole) -> None:
        self.clock = Turns()
        self.protocol = protocol
        self.near, far = socket.socketpair()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.near.setblocking(False)
        self.far = far
        self.masks: list[int] = []
        self.is_forgotten = False
        self.transport = SocketTransport(Plain(far), THERE, HERE, self, self.clock)
        self.transport.start(protocol, b"")

    def enter(self, handler: Handler) -> None:
        raise AssertionError("it is known from the beginning")

    def watch(self, handler: Handler, mask: int) -> None:
        assert not self.is_forgotten
        self.masks.append(mask)

    def forget(self, handler: Handler) -> None:
        assert not self.is_forgotten, "forgotten twice"
        self.is_forgotten = True

    def turn(self) -> None:
        """Tell the transport what its socket is ready for, and let what is due happen."""
        mask = self.transport.mask
        if not self.is_forgotten:
            self.transport.ready(mask)
        self.clock.turn()

    def receive(self) -> bytes:
        """All that comes while the transport goes on."""
        data = b""
        for _ in range(1000):
            try:
                if not (more := self.near.recv(65536)):
                    return data
                data += more
            except BlockingIOError:
                if self.is_forgotten or not self.transport.mask & EPOLLOUT:
                    return data
                self.turn()
        raise AssertionError("there is no end")

    def has_ended(self) -> bool:
        """Whether the other end has closed its half."""
        try:
            return not self.near.recv(1)
        except BlockingIOError:
            return False


@pytest.fixture(params=[Whole, Half], ids=["whole", "half-closeable"])
def wired(request: pytest.FixtureRequest) -> Iterator[Wired]:
    wired = Wired(request.param())
    yield wired
    wired.near.close()
    wired.far.close()


@pytest.fixture
def half() -> Iterator[Wired]:
    wired = Wired(Half())
    yield wired
    wired.near.close()
    wired.far.close()


def test_it_is_what_twisted_says(wired: Wired) -> None:
    for interface in (ITCPTransport, IConsumer, IPushProducer):
        assert verifyObject(interface, wired.transport)
    assert verifyObject(IProtocol, wired.protocol)
    assert (wired.transport.getPeer(), wired.transport.getHost()) == (THERE, HERE)
    wired.transport.setTcpNoDelay(True)
    wired.transport.setTcpKeepAlive(False)
    assert (wired.transport.getTcpNoDelay(), wired.transport.getTcpKeepAlive()) == (True, False)


def test_bytes_go_both_ways(wired: Wired) -> None:
    wired.near.send(b"x")
    wired.turn()
    wired.transport.write(b"a")
    wired.transport.writeSequence([b"b", b"c"])
    assert wired.protocol.seen == ["made", b"x"]
    assert wired.receive() == b"abc"


def test_what_the_kernel_does_not_take_is_sent_later_and_once(wired: Wired) -> None:
    data = bytes(range(256)) * 4000
    wired.transport.write(data[:500_000])
    wired.transport.write(data[500_000:])
    assert wired.transport.mask == EPOLLIN | EPOLLOUT
    assert wired.receive() == data
    assert wired.transport.mask == EPOLLIN


def test_bytes_to_begin_with_are_sent_before_all_others() -> None:
    wired = Wired(Whole())
    wired.transport = SocketTransport(Plain(wired.far), THERE, HERE, wired, wired.clock)
    protocol = Whole()
    wired.transport.start(protocol, b"in", b"out")
    wired.transport.write(b" and more")
    assert protocol.seen == ["made", b"in"]
    assert wired.receive() == b"out and more"
    wired.near.close()
    wired.far.close()


@pytest.mark.parametrize("size", [0, 300_000])
def test_an_end_waits_until_all_is_sent_and_is_told_once(wired: Wired, size: int) -> None:
    wired.transport.write(b"x" * size)
    wired.transport.loseConnection()
    wired.transport.loseConnection()
    # As with Twisted's: what is written until then is sent too, and nothing is read any more.
    wired.transport.write(b"more")
    assert wired.transport.disconnecting
    assert wired.transport.mask == (EPOLLOUT if size else EPOLLIN)
    assert len(wired.receive()) == (size + 4 if size else 0)
    wired.turn()
    wired.turn()
    assert wired.protocol.seen == ["made", ConnectionDone]
    assert wired.is_forgotten
    assert wired.far.fileno() == -1


def test_a_reader_that_ends_after_us_still_gets_all(wired: Wired) -> None:
    wired.transport.write(b"x" * 300_000)
    wired.transport.loseConnection()
    wired.near.shutdown(socket.SHUT_WR)
    wired.turn()
    assert len(wired.receive()) == 300_000
    wired.turn()
    assert wired.protocol.seen == ["made", ConnectionDone]


@pytest.mark.parametrize("size", [0, 300_000])
def test_our_half_is_closed_when_all_is_sent_and_reading_goes_on(half: Wired, size: int) -> None:
    half.transport.write(b"x" * size)
    half.transport.loseWriteConnection()
    assert ("write lost" in half.protocol.seen) is (size == 0)
    assert len(half.receive()) == size
    half.turn()
    assert half.has_ended()
    half.transport.write(b"too late")
    half.near.send(b"more")
    half.turn()
    assert half.protocol.seen == ["made", "write lost", b"more"]
    half.near.close()
    half.turn()
    half.transport.loseConnection()
    half.turn()
    assert half.protocol.seen[3:] == ["read lost", ConnectionDone]


def test_the_end_of_the_others_half_is_told_once(half: Wired) -> None:
    half.near.shutdown(socket.SHUT_WR)
    for event in (EPOLLIN, EPOLLIN, EPOLLIN | EPOLLHUP):
        if half.transport.connected:
            half.transport.ready(event)
    assert half.protocol.seen[:2] == ["made", "read lost"]
    assert half.protocol.seen.count("read lost") == 1


def test_who_knows_no_half_close_is_lost_at_the_others_end() -> None:
    wired = Wired(Whole())
    wired.near.shutdown(socket.SHUT_WR)
    wired.turn()
    assert wired.protocol.seen == ["made", ConnectionDone]
    wired.near.close()


def test_an_answer_may_be_written_after_the_others_end(half: Wired) -> None:
    half.near.shutdown(socket.SHUT_WR)
    half.turn()
    half.transport.write(b"x" * 200_000)
    half.transport.loseConnection()
    assert len(half.receive()) == 200_000
    half.turn()
    assert half.protocol.seen == ["made", "read lost", ConnectionDone]


@pytest.mark.parametrize("end", ["abortConnection", "abort"])
def test_an_abort_drops_what_is_unsent(wired: Wired, end: str) -> None:
    wired.transport.write(b"x" * 300_000)
    getattr(wired.transport, end)()
    getattr(wired.transport, end)()
    wired.transport.loseConnection()
    wired.transport.loseWriteConnection()
    wired.transport.write(b"x")
    assert wired.protocol.seen == ["made"]
    wired.turn()
    assert wired.protocol.seen == ["made", ConnectionAborted]
    assert wired.far.fileno() == -1


@pytest.mark.parametrize("act", ["loseConnection", "abortConnection", "stopProducing"])
@pytest.mark.parametrize("when", ["made", "data", "end"])
def test_an_end_within_a_callback_is_told_in_a_turn_of_its_own(act: str, when: str) -> None:
    protocol = Half()
    protocol.acts = [act] if when == "made" else []
    wired = Wired(protocol)
    if when != "made":
        protocol.acts = [act]
        if when == "data":
            wired.near.send(b"x")
        else:
            wired.near.shutdown(socket.SHUT_WR)
        wired.transport.ready(EPOLLIN)
    told = {"made": ["made"], "data": ["made", b"x"], "end": ["made", "read lost"]}[when]
    assert protocol.seen == told
    wired.clock.turn()
    wired.clock.turn()
    done = ConnectionAborted if act == "abortConnection" else ConnectionDone
    assert protocol.seen == [*told, done]
    wired.near.close()


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_peer_that_is_gone_is_told_even_while_paused(is_paused: bool) -> None:
    wired = Wired(Half())
    if is_paused:
        wired.transport.pauseProducing()
        assert wired.transport.mask == 0
    wired.near.close()
    for _ in range(2):
        if not wired.is_forgotten:
            # What an epoll tells whether it is asked or not.
            wired.transport.ready(EPOLLHUP | (0 if is_paused else EPOLLIN))
    if is_paused:
        wired.clock.turn()
        assert wired.protocol.seen == ["made", ConnectionLost]
    else:
        assert wired.protocol.seen == ["made", "read lost"]
    wired.far.close()


def test_a_broken_socket_is_lost(wired: Wired) -> None:
    wired.near.close()
    wired.transport.write(b"x")
    if wired.transport.connected:
        wired.transport.ready(EPOLLERR | EPOLLHUP)
    wired.turn()
    assert wired.protocol.seen == ["made", ConnectionLost]


def test_nothing_is_received_while_paused(wired: Wired) -> None:
    wired.transport.pauseProducing()
    wired.near.send(b"x")
    wired.turn()
    assert wired.protocol.seen == ["made"]
    wired.transport.resumeProducing()
    wired.turn()
    assert wired.protocol.seen == ["made", b"x"]


def test_a_producer_pauses_while_too_much_is_unsent(wired: Wired) -> None:
    producer = implementer(IPushProducer)(Producer)()
    wired.transport.registerProducer(producer, True)
    wired.transport.write(b"x" * 1000)
    assert producer.seen == []
    wired.transport.write(b"x" * (FULL + 500_000))
    assert producer.seen == ["pause"]
    assert len(wired.receive()) == FULL + 501_000
    assert producer.seen == ["pause", "resume"]
    with pytest.raises(RuntimeError):
        wired.transport.registerProducer(producer, True)
    wired.transport.unregisterProducer()
    wired.transport.write(b"x" * 500_000)
    assert producer.seen == ["pause", "resume"]
    with pytest.raises(ValueError, match="does not ask"):
        wired.transport.registerProducer(producer, False)


def test_a_producer_that_comes_too_late_is_stopped(wired: Wired) -> None:
    wired.transport.abortConnection()
    producer = implementer(IPushProducer)(Producer)()
    wired.transport.registerProducer(producer, True)
    assert producer.seen == ["stop"]


# What a connection to a registry needs.


@pytest.mark.parametrize("is_patient", [False, True])
def test_who_is_patient_reads_what_the_peer_has_sent_before_it_closed(
    wired: Wired, is_patient: bool
) -> None:
    """As a registry does that answers before a request is whole, and takes no more of it."""
    wired.transport.is_patient = is_patient
    wired.near.send(b"an early answer")
    wired.near.close()
    for _ in range(3):
        wired.transport.write(b"x" * 1000)
    for _ in range(3):
        wired.turn()
    end = "read lost" if isinstance(wired.protocol, Half) else ConnectionDone
    expected = [b"an early answer", end] if is_patient else [ConnectionLost]
    assert wired.protocol.seen == ["made", *expected]


def test_it_is_quiet_until_something_comes_that_nobody_is_told(wired: Wired) -> None:
    assert wired.transport.is_quiet()
    wired.near.send(b"x")
    wired.turn()
    assert wired.transport.is_quiet()
    wired.near.send(b"y")
    assert not wired.transport.is_quiet()
    assert wired.protocol.seen == ["made", b"x"]


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_an_end_is_not_quiet(wired: Wired, how: int) -> None:
    wired.near.shutdown(how)
    assert not wired.transport.is_quiet()
    wired.turn()
    assert not wired.transport.is_quiet()


def test_what_is_closed_is_not_quiet(wired: Wired) -> None:
    wired.transport.abortConnection()
    assert not wired.transport.is_quiet()
