"""Connecting to a registry: its addresses one after another, in time, and never left behind."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.protocol import Protocol

from regroute.relay.upstream.ask import Unreachable
from regroute.relay.upstream.connect import STAGGER, Connecting, Place, interleaved
from regroute.web.transport import SocketTransport

from ...ports import free_port
from ...web.lanes import descriptors
from .loops import BlackHole, Loop, Resolver

HERE, THERE, NOBODY, NOWHERE = "127.0.0.2", "127.0.0.3", "127.0.0.4", "255.255.255.255"
"""At the first two somebody may listen, at the third nobody does, and the last has no route."""
SECONDS = 5.0


class Bed:
    """A place with a name, whose addresses a test makes up."""

    def __init__(self, stack: ExitStack) -> None:
        self.port = free_port()
        self.loop = Loop()
        self.resolver = Resolver()
        self.transports: list[SocketTransport] = []
        self.failures: list[Unreachable] = []
        self._stack = stack

    def listen(self, *hosts: str) -> list[socket.socket]:
        """Let somebody be at these addresses."""
        enter = self._stack.enter_context
        return [enter(socket.create_server((host, self.port))) for host in hosts]

    def swallow(self, *hosts: str) -> None:
        """Let nobody answer at these addresses."""
        for host in hosts:
            self._stack.callback(BlackHole(host, self.port).close)

    def connect(self, *addresses: str, seconds: float = SECONDS, host: str = "r") -> Connecting:
        """Begin to connect to a name with these addresses."""
        self.resolver.known = {"r": addresses}
        connecting = Connecting(
            Place(f"http://{host}:{self.port}", None),
            seconds,
            self._take,
            self.failures.append,
            self.resolver,
            self.loop,
            self.loop.clock,
        )
        connecting.start()
        return connecting

    def _take(self, transport: SocketTransport) -> None:
        self.loop.enter(transport)
        transport.start(Protocol(), b"")
        self.transports.append(transport)

    def pass_time(self, seconds: float) -> None:
        """Let so much time pass, and what is due happen in between."""
        self.loop.settle()
        self.loop.clock.advance(seconds)
        self.loop.settle()

    @property
    def told(self) -> list[str]:
        """What has become of it."""
        peers = [transport.getPeer().host for transport in self.transports]
        return peers + [f"{failure.status} {failure.message}" for failure in self.failures]

    def end(self) -> list[str]:
        """What has become of it at last; nothing of it may be left."""
        self.loop.until(lambda: bool(self.told))
        assert list(self.loop.handlers.values()) == self.transports
        for transport in self.transports:
            transport.loseConnection()
        self.loop.settle()
        assert self.loop.clock.getDelayedCalls() == []
        return self.told


@pytest.fixture
def bed() -> Iterator[Bed]:
    before = descriptors()
    with ExitStack() as stack:
        bed = Bed(stack)
        yield bed
        bed.loop.close()
    assert descriptors() == before


REFUSED = "502 cannot connect: connection refused"


@pytest.mark.parametrize(
    ("known", "tried"),
    [
        ("", ""),
        ("::1", "::1"),
        ("::1 ::2 ::3 10.0.0.1", "::1 10.0.0.1 ::2 ::3"),
        ("10.0.0.1 10.0.0.2 ::1 ::2", "10.0.0.1 ::1 10.0.0.2 ::2"),
        ("10.0.0.1 ::1 ::2 10.0.0.2", "10.0.0.1 ::1 10.0.0.2 ::2"),
    ],
)
def test_both_families_have_their_turn(known: str, tried: str) -> None:
    """Where IPv6 leads nowhere, a registry with many such addresses is reached all the same."""
    addresses = [
        IPv6Address("TCP", host, 5000) if ":" in host else IPv4Address("TCP", host, 5000)
        for host in known.split()
    ]

    assert " ".join(address.host for address in interleaved(addresses)) == tried


@pytest.mark.parametrize(
    ("addresses", "told"),
    [
        ([HERE], HERE),
        ([HERE, THERE], HERE),
        ([NOBODY, HERE], HERE),
        ([NOWHERE, HERE], HERE),
        ([NOWHERE, NOBODY, NOWHERE, HERE], HERE),
        (["2001:db8::1", HERE], HERE),
        ([NOBODY], REFUSED),
        ([NOWHERE, NOBODY], REFUSED),
        ([NOBODY, NOWHERE], "502 cannot connect: network is unreachable"),
        ([NOWHERE], "502 cannot connect: network is unreachable"),
        ([], "502 it has no address"),
    ],
)
def test_addresses_are_tried_until_one_answers(bed: Bed, addresses: list[str], told: str) -> None:
    """Whether an address fails at once or later, the next one is tried without waiting."""
    bed.listen(HERE, THERE)
    bed.connect(*addresses)
    assert bed.told == []
    assert bed.end() == [told]
    assert bed.loop.clock.seconds() == 0


@pytest.mark.parametrize("host", [HERE, "[::1]", NOBODY, NOWHERE])
def test_an_address_is_no_name_to_look_up(bed: Bed, host: str) -> None:
    bed.listen(HERE)
    with socket.create_server(("::1", bed.port), family=socket.AF_INET6):
        bed.connect(host=host)
        assert bed.told == []
        (told,) = bed.end()
    assert told.startswith("502") == (host in (NOBODY, NOWHERE))
    assert bed.resolver.asked == []


def test_while_one_address_is_silent_the_next_is_tried_too(bed: Bed) -> None:
    bed.swallow(HERE)
    bed.listen(THERE)
    bed.connect(HERE, THERE)
    bed.pass_time(STAGGER - 0.01)
    assert bed.told == []
    bed.pass_time(0.01)
    assert bed.end() == [THERE]


def test_a_silent_address_may_answer_after_another_has_failed(bed: Bed) -> None:
    (listening,) = bed.listen(THERE)
    bed.connect(THERE, NOBODY)
    listening.close()
    bed.listen(THERE)
    assert bed.end() == [THERE]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("seconds", [0.25, 1.0, 5.0])
def test_each_of_several_addresses_gets_its_turn_in_time(
    bed: Bed, seconds: float, count: int
) -> None:
    """With ``connect: 250ms`` there is less time than one address has alone otherwise."""
    silent = [f"127.0.1.{number}" for number in range(1, count)]
    bed.swallow(*silent)
    bed.listen(HERE)
    bed.connect(*silent, HERE, seconds=seconds)
    for _ in range(100):
        bed.loop.settle()
        if bed.told:
            break
        bed.pass_time(seconds / 101)
    assert bed.end() == [HERE]
    assert bed.loop.clock.seconds() < seconds


@pytest.mark.parametrize("addresses", [[HERE], [HERE, THERE], [HERE, NOBODY]])
def test_connecting_has_its_time_and_no_more(bed: Bed, addresses: list[str]) -> None:
    bed.swallow(HERE, THERE)
    bed.connect(*addresses, seconds=0.25)
    bed.pass_time(0.2)
    assert bed.told == []
    bed.pass_time(0.05)
    assert bed.end() == ["504 it does not answer: connecting takes too long"]


def test_the_time_counts_from_the_question_for_addresses(bed: Bed) -> None:
    bed.listen(HERE)
    bed.resolver.is_held = True
    bed.connect(HERE, seconds=0.25)
    bed.pass_time(0.25)
    assert bed.told == ["504 it has no address yet: connecting takes too long"]
    bed.resolver.release()
    assert bed.end() == bed.told


@pytest.mark.parametrize("is_held", [False, True])
def test_who_waits_no_more_is_told_nothing(bed: Bed, is_held: bool) -> None:
    bed.listen(HERE)
    bed.resolver.is_held = is_held
    connecting = bed.connect(HERE, THERE)
    connecting.cancel()
    bed.resolver.release()
    bed.pass_time(SECONDS)
    assert bed.told == []
    assert bed.loop.clock.getDelayedCalls() == []


def test_connecting_that_is_under_way_can_be_cancelled(bed: Bed) -> None:
    bed.swallow(HERE, THERE)
    connecting = bed.connect(HERE, THERE, NOBODY)
    bed.pass_time(STAGGER)
    assert len(bed.loop.handlers) == 2
    connecting.cancel()
    bed.pass_time(SECONDS)
    assert bed.told == []


def test_an_event_of_another_socket_that_had_the_descriptor_is_no_connection(bed: Bed) -> None:
    """In one burst of events a socket may be closed, and its descriptor given to a new one."""
    bed.swallow(HERE)
    connecting = bed.connect(HERE)
    bed.loop.settle()
    (attempt,) = bed.loop.handlers.values()
    attempt.ready(attempt.mask)
    assert bed.told == []
    connecting.cancel()
