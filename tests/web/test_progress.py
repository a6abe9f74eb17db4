"""A slow client has its time as long as it reads, however much the kernel holds for it."""

import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from regroute.config.schema import Limits
from regroute.metrics.events import Event
from regroute.web.exchange import Asking, Exchange
from regroute.web.progress import taken
from regroute.web.strict import Head
from regroute.web.tree import Site

from ..making import IDLE_TIME
from .lanes import PATIENCE, Laned, Talker, laned
from .memory import GET
from .test_conversation import PUSH, Echo, Echoes

LARGE = b"x" * 100_000


class LargeAnswer(Echo):
    """Answers at once and at length, whatever is still to come of the request."""

    def begin(self) -> None:
        self._client.send(LARGE)
        self._client.finish(persists=False)


class Larges(Echoes):
    """Answers all like that."""

    def exchange(self, head: Head, raw: bytes, peer: str | None, client: Asking) -> Exchange:
        return LargeAnswer(head, client, None)


@pytest.fixture
def bed() -> Iterator[Laned]:
    with laned(limits=Limits()) as bed:
        yield bed


def connection_of(site: Site) -> object:
    """The transport of the only connection."""
    (connection,) = site.connections
    return getattr(connection, "transport")  # noqa: B009  # a guest of any kind


def blocked(bed: Laned) -> Talker:
    """A client that asks on and on and does not read, until nothing moves any more."""
    client = bed.connect(is_narrow=True)
    client.near.setblocking(False)
    before = -1
    while before != len(bed.entries):
        before = len(bed.entries)
        with suppress(BlockingIOError):
            client.near.send(GET * 1000)
        client.deliver()
        bed.settle()
    return client


def read_some(bed: Laned, client: Talker) -> int:
    """Read what is there, and wait until more has come, or the end."""
    size = 0
    with suppress(BlockingIOError):
        while data := client.near.recv(65536):
            size += len(data)
    deadline = time.monotonic() + PATIENCE
    while not select.select([client.near], [], [], 0.01)[0] and time.monotonic() < deadline:
        bed.settle()
    return size


def pass_time(bed: Laned, seconds: float) -> None:
    bed.clock.advance(seconds)
    bed.settle()


def test_a_client_that_reads_nothing_has_its_time_and_no_more(bed: Laned) -> None:
    """Twice, if what was on its way when it began to count has come to its kernel since."""
    blocked(bed)
    pass_time(bed, IDLE_TIME - 1)
    assert len(bed.site.connections) == 1
    pass_time(bed, 1)
    pass_time(bed, IDLE_TIME)
    assert bed.site.connections == set()
    assert bed.books.events()[Event.UNREAD] == 1


def test_a_client_that_reads_a_little_has_as_much_time_again(bed: Laned) -> None:
    client = blocked(bed)
    for _ in range(3):
        before = taken(connection_of(bed.site))
        pass_time(bed, IDLE_TIME - 1)
        assert read_some(bed, client) > 0
        pass_time(bed, 1)
        assert len(bed.site.connections) == 1
        assert taken(connection_of(bed.site)) > before
    pass_time(bed, 2 * IDLE_TIME)
    assert bed.site.connections == set()
    assert bed.books.events()[Event.UNREAD] == 1


def test_an_answer_before_the_end_of_its_request_comes_whole_to_who_reads_it_slowly(
    bed: Laned,
) -> None:
    """The connection is closed by halves: a reset would take back what the kernel still has."""
    bed.site.relaying = Larges()
    client = bed.connect(is_narrow=True)
    client.near.setblocking(False)
    client.near.sendall(PUSH)
    client.deliver()
    bed.settle()
    size = 0
    for _ in range(1000):
        pass_time(bed, IDLE_TIME - 1)
        got = read_some(bed, client)
        size += got
        pass_time(bed, 1)
        bed.settle()
        if size == len(LARGE):
            break
    assert size == len(LARGE)
    client.near.setblocking(True)
    assert client.near.recv(1) == b""


def test_what_is_no_tcp_connection_tells_nothing() -> None:
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"x")
        assert here.recv(1) == b"x"
        assert taken(there) == taken(object()) == 0
    assert taken(there) == 0
