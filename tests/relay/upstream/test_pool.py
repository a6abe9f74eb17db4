"""Connections are kept and shared: as many as there may be, for those whose turn it is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regroute.relay.upstream.connect import Place
from regroute.relay.upstream.connection import Upstream
from regroute.relay.upstream.pool import KEEP_TIME, MOST_KEPT
from regroute.web.progress import taken
from regroute.web.transport import SocketTransport

from ...web.lanes import descriptors
from .pooled import FULL, MIB, OK, Bed, Waiter


@pytest.fixture
def bed() -> Iterator[Bed]:
    """Nothing may be left of what a test does."""
    before = descriptors()
    with ExitStack() as stack:
        bed = Bed(stack)
        yield bed
        bed.pool.close()
        bed.loop.settle()
        assert bed.pool.size == 0
        assert bed.loop.clock.getDelayedCalls() == []
        bed.loop.close()
    assert descriptors() == before


# Keeping.


def test_a_connection_is_used_again(bed: Bed) -> None:
    for _ in range(3):
        waiter = bed.ask()
        bed.answer(0)
        assert waiter.is_answered
    assert (bed.count, bed.pool.size) == (1, 1)


def test_what_cannot_be_sent_twice_gets_a_new_one(bed: Bed) -> None:
    bed.ask()
    bed.answer(0)
    bed.ask(fresh=True)
    bed.answer(1)
    assert (bed.count, bed.pool.size) == (2, 2)


def test_the_one_that_was_used_last_is_used_next(bed: Bed) -> None:
    """So that those which are not needed any more come to their time."""
    for _ in range(3):
        bed.ask()
    for at in (1, 2, 0):
        bed.answer(at)
        bed.loop.clock.advance(1)
    waiter = bed.ask()
    bed.answer(0)
    assert waiter.is_answered
    bed.pass_time(KEEP_TIME - 2)
    assert [bed.has_ended(at) for at in range(3)] == [False, True, False]
    bed.pass_time(2)
    assert [bed.has_ended(at) for at in range(3)] == [False, True, True]
    bed.pass_time(2)
    assert bed.pool.size == 0


def test_so_many_are_kept_and_no_more(bed: Bed) -> None:
    count = MOST_KEPT + 3
    for _ in range(count):
        bed.ask(connections=count)
    assert bed.pool.size == bed.count == count
    for at in range(count):
        bed.answer(at)
    assert bed.pool.size == MOST_KEPT
    assert [at for at in range(count) if bed.has_ended(at)] == [0, 1, 2]


def test_places_are_apart(bed: Bed) -> None:
    """A connection that one authority vouches for is none to those who trust another."""
    bed.ask()
    bed.answer(0)
    other = Waiter(5.0, 9)
    bed.pool.acquire(bed.where._replace(authorities="others"), other.terms, other)
    bed.loop.settle()
    assert (bed.count, bed.pool.size) == (2, 2)


@pytest.mark.parametrize("raw", [b"x", OK, OK + OK, b""])
def test_a_connection_on_which_something_has_come_unasked_is_not_used(bed: Bed, raw: bytes) -> None:
    """It has come, but nobody has looked yet: an answer to the next request would be read there."""
    bed.ask()
    bed.answer(0)
    if raw:
        bed.say(0, raw)
    else:
        bed.registry.connections[0].shutdown(socket.SHUT_WR)
    waiter = Waiter(5.0, 9)
    bed.pool.acquire(bed.where, waiter.terms, waiter)
    bed.loop.settle()
    assert bed.has_ended(0)
    bed.answer(1)
    assert waiter.told == [("answered", 200), "ended"]
    assert (bed.count, bed.pool.size) == (2, 1)


def test_connections_that_the_registry_closes_are_forgotten(bed: Bed) -> None:
    for _ in range(5):
        bed.ask()
    for at in range(5):
        bed.answer(at)
    bed.registry.close()
    bed.loop.until(lambda: bed.pool.size == 0)
    bed.registry.open()
    waiter = bed.ask()
    bed.answer(0)
    assert waiter.is_answered


# Bounds, and whose turn it is.


def test_who_is_too_many_waits_for_his_turn(bed: Bed) -> None:
    waiters = [bed.ask(connections=2) for _ in range(5)]
    assert [waiter.upstream is not None for waiter in waiters] == [True, True, False, False, False]
    for at, answered, next_one in [(1, 1, 2), (1, 2, 3), (0, 0, 4)]:
        bed.answer(at)
        assert waiters[answered].is_answered
        assert waiters[next_one].upstream is waiters[answered].upstream
        assert not waiters[next_one].is_answered
    bed.answer(0)
    bed.answer(1)
    assert all(waiter.is_answered for waiter in waiters)
    assert (bed.count, bed.pool.size) == (2, 2)


def test_a_new_connection_takes_the_place_of_a_kept_one(bed: Bed) -> None:
    bed.ask(connections=1)
    bed.answer(0)
    waiter = bed.ask(connections=1, fresh=True)
    assert (bed.count, bed.pool.size) == (2, 1)
    assert bed.has_ended(0)
    bed.answer(1)
    assert waiter.is_answered


def test_who_needs_a_new_one_gets_it_when_it_is_his_turn(bed: Bed) -> None:
    """The kept one may be closed by the registry at the very moment."""
    bed.ask(connections=1)
    waiter = bed.ask(connections=1, fresh=True)
    assert waiter.upstream is None
    bed.answer(0)
    assert (bed.count, bed.pool.size) == (2, 1)
    assert bed.has_ended(0)
    bed.answer(1)
    assert waiter.is_answered


def test_whose_turn_it_is_gets_no_connection_on_which_more_has_come(bed: Bed) -> None:
    bed.ask(connections=1)
    waiter = bed.ask(connections=1)
    bed.answer(0, OK + b"HTTP/1.1 418 No\r\n\r\n")
    bed.answer(1)
    assert waiter.told == [("answered", 200), "ended"]


def test_whose_turn_does_not_come_in_time_is_told(bed: Bed) -> None:
    first, second, third = (
        bed.ask(connections=1, seconds=10),
        bed.ask(connections=1, seconds=2),
        bed.ask(connections=1, seconds=4),
    )
    bed.pass_time(1.9)
    assert failures(second, third) == [None, None]
    bed.pass_time(0.1)
    assert failures(second, third) == [FULL, None]
    bed.pass_time(2)
    assert failures(second, third) == [FULL, FULL]
    bed.answer(0)
    assert first.is_answered


def failures(*waiters: Waiter) -> list[str | None]:
    return [waiter.failure for waiter in waiters]


@pytest.mark.parametrize("fate", ["answered", "closed", "refused", "late", "left"])
def test_whatever_becomes_of_one_the_next_has_its_turn(bed: Bed, fate: str) -> None:
    if fate == "refused":
        bed.registry.close()
    first = bed.ask(connections=1, seconds=5)
    second = bed.ask(connections=1, seconds=60)
    if fate == "answered":
        bed.answer(0)
    elif fate == "closed":
        bed.registry.accept().pop(0).close()
        bed.loop.until(lambda: first.failure is not None)
    elif fate == "late":
        bed.pass_time(5.1)
        assert first.failure == "504 it takes too long to answer"
    elif fate == "left":
        assert first.upstream is not None
        first.upstream.abandon()
    bed.loop.settle()
    if fate == "refused":
        assert first.failure == second.failure == "502 cannot connect: connection refused"
        return
    bed.answer(0 if fate in ("answered", "closed") else 1)
    assert second.is_answered


def test_who_leaves_wants_no_connection(bed: Bed) -> None:
    first = Waiter(5.0, 1)
    bed.pool.acquire(bed.where, first.terms, first)
    second, third = (bed.ask(connections=1) for _ in range(2))
    # The first one is connected by now; the others wait.
    bed.pool.leave(bed.where, second)
    bed.answer(0)
    bed.answer(0)
    assert first.is_answered
    assert second.told == []
    assert third.is_answered


def test_who_leaves_while_connecting_makes_room(bed: Bed) -> None:
    first = Waiter(5.0, 1)
    bed.pool.acquire(bed.where, first.terms, first)
    second = Waiter(5.0, 1)
    bed.pool.acquire(bed.where, second.terms, second)
    bed.pool.leave(bed.where, first)
    bed.loop.settle()
    bed.answer(bed.count - 1)
    assert first.told == []
    assert second.is_answered
    assert bed.pool.size == 1


def test_a_long_queue_is_told_one_after_another_where_all_fail_at_once(bed: Bed) -> None:
    """Without a route it fails in the very call; a thousand calls within one another would end."""
    where = Place("http://255.255.255.255:1", None)
    waiters = [Waiter(5.0, 1) for _ in range(2000)]
    for waiter in waiters:
        bed.pool.acquire(where, waiter.terms, waiter)
    bed.loop.settle()
    assert {waiter.failure for waiter in waiters} == {"502 cannot connect: network is unreachable"}


# Time.


def test_a_late_answer_is_ended_and_its_connection_too(bed: Bed) -> None:
    waiter = bed.ask(seconds=3)
    bed.pass_time(2.9)
    assert waiter.failure is None
    bed.answer(0, OK[:20])
    bed.pass_time(2.9)
    assert waiter.failure is None
    bed.pass_time(0.2)
    assert waiter.failure == "504 it takes too long to answer"
    assert bed.has_ended(0)
    assert bed.pool.size == 0


class Uploader(Waiter):
    """Who has much to send, which is all on its way at once."""

    def connected(self, upstream: Upstream) -> None:
        """Send it."""
        self.upstream = upstream
        upstream.ask(b"PUT / HTTP/1.1\r\n\r\n", b"PUT", self)
        upstream.write(bytes(32 * MIB))
        upstream.sent()


def test_a_registry_that_takes_a_long_request_slowly_has_its_time(bed: Bed) -> None:
    """Most of it is in the kernel's hands, so that nothing seems to move here."""
    uploader = Uploader(5.0, 1)
    bed.pool.acquire(bed.where, uploader.terms, uploader)
    bed.loop.settle()
    (registry,) = bed.registry.accept()
    upstream = uploader.upstream
    assert upstream is not None
    for _ in range(3):
        before = taken(upstream.transport)
        bed.pass_time(4.9)
        while taken(upstream.transport) < before + MIB:
            with suppress(BlockingIOError):
                registry.recv(MIB)
            bed.loop.turn(0.01)
        bed.pass_time(0.2)
        assert uploader.failure is None
    bed.pass_time(5.1)
    bed.pass_time(5.1)
    assert uploader.failure == "504 it takes too long to answer"
    assert bed.has_ended(0)


# The end.


def test_a_pool_that_is_closed_leaves_nothing_behind(bed: Bed) -> None:
    bed.ask(connections=2)
    bed.ask(connections=2)
    bed.answer(0)
    bed.ask(connections=2, fresh=True)
    waiting = bed.ask(connections=2)
    connecting = Waiter(5.0, 9)
    bed.pool.acquire(bed.where, connecting.terms, connecting, fresh=True)
    bed.pool.close()
    bed.loop.settle()
    assert bed.pool.size == 0
    assert all(bed.has_ended(at) for at in range(bed.count))
    assert waiting.upstream is None
    assert connecting.upstream is None


ACTS = st.sampled_from(
    ["ask", "ask", "ask fresh", "answer", "answer", "close", "chatter", "leave", "time", "abandon"]
)


@settings(max_examples=60)
@given(st.lists(st.tuples(ACTS, st.integers(0, 5)), max_size=30), st.integers(1, 3))
def test_whatever_happens_nobody_is_forgotten_and_bounds_hold(
    acts: list[tuple[str, int]], connections: int
) -> None:
    """The twin is what anyone expects: who has not left is answered, or told, once."""
    before = descriptors()
    with ExitStack() as stack:
        bed = Bed(stack)
        waiters: list[Waiter] = []
        left: list[Waiter] = []
        for act, number in acts:
            busy = [waiter for waiter in waiters if waiter not in left and not waiter.told]
            if act.startswith("ask"):
                waiters.append(bed.ask(connections=connections, fresh=act == "ask fresh"))
            elif act in ("answer", "close", "chatter") and bed.registry.accept():
                connection = bed.registry.connections[number % bed.count]
                if act == "close":
                    connection.close()
                    bed.registry.connections.remove(connection)
                elif not bed.has_ended(number % bed.count):
                    # Only who has been asked answers, but anyone may chatter.
                    at = number % bed.count
                    if act == "chatter" or any(is_at(waiter, connection) for waiter in busy):
                        bed.answer(at, OK if act == "answer" else b"x")
                bed.loop.settle()
            elif act == "time":
                bed.pass_time(float(number))
            elif act in ("leave", "abandon") and busy:
                waiter = busy[number % len(busy)]
                left.append(waiter)
                if waiter.upstream is not None:
                    waiter.upstream.abandon()
                else:
                    bed.pool.leave(bed.where, waiter)
                bed.loop.settle()
            assert bed.pool.size <= connections
        # Each may wait until the one before is late.
        for _ in range(4 * (len(waiters) + 1)):
            bed.pass_time(2.0)
        for waiter in waiters:
            is_told = waiter.is_answered or waiter.failure is not None
            assert is_told != (waiter in left)
            assert not (waiter.is_answered and waiter.failure is not None)
        bed.pass_time(KEEP_TIME + 1)
        assert bed.pool.size == 0
        assert bed.loop.clock.getDelayedCalls() == []
        bed.loop.close()
    assert descriptors() == before


def is_at(waiter: Waiter, connection: socket.socket) -> bool:
    """Whether a waiter's request is on the connection."""
    if waiter.upstream is None:
        return False
    transport = waiter.upstream.transport
    assert isinstance(transport, SocketTransport)
    return transport.connected and transport.getHost().port == connection.getpeername()[1]
