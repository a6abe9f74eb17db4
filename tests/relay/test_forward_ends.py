"""Relayed requests that find another end: by their registry, their client, or by the daemon's."""

import json
from collections.abc import Callable

import pytest

from regroute.relay.forward import LEFT
from regroute.relay.passing import SMALL
from regroute.relay.upstream.ask import Unreachable

from ..web.answers import read_answers
from .desk import Desk
from .exchanges import (
    CHUNKED,
    CONTINUE,
    GET,
    HEAD,
    LARGE,
    OK,
    OLD,
    ONE,
    PATH,
    put,
    put_chunks,
)
from .upstream.ends import End

# A registry that gives no answer, or none that has an end.


LATE = Unreachable(504, "it takes too long to answer")


def close(end: End) -> None:
    end.close()


def reset(end: End) -> None:
    end.reset()


def be_silent(end: End) -> None:
    """As the pool does with a connection that is late."""
    end.protocol.give_up(LATE)
    end.settle()


def talk_nonsense(end: End) -> None:
    end.send(b"\x00nonsense\r\n\r\n")


FAULTS: list[Callable[[End], None]] = [close, reset, be_silent, talk_nonsense]
NOT_BEGUN = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nX: ",
    "an interim answer": CONTINUE,
    "half a small body": OK + b"Content-Length: 3\r\n\r\non",
    "a head": OK + b"Content-Length: %d\r\n\r\n" % SMALL,
}
BEGUN = {
    "half a large body": OK + b"Content-Length: %d\r\n\r\nx" % LARGE,
    "a chunk": CHUNKED + b"3\r\none\r\n",
    "the last chunk": CHUNKED + b"3\r\none\r\n0\r\n",
}


def faults_after(table: dict[str, bytes]) -> list[object]:
    """Every fault after each of these, but for nonsense where any bytes are a body."""
    return [
        pytest.param(raw, fault, id=f"{name}, {fault.__name__}")
        for name, raw in table.items()
        for fault in FAULTS
        if fault is not talk_nonsense or b"Content-Length" not in raw
    ]


@pytest.mark.parametrize(("raw", "fault"), faults_after(NOT_BEGUN))
def test_where_nothing_has_been_sent_there_is_an_answer(
    raw: bytes, fault: Callable[[End], None]
) -> None:
    desk = Desk()
    end = desk.ask(GET).send(raw)
    fault(end)
    desk.settle()
    (answer,) = read_answers(desk.received.removeprefix(CONTINUE))
    assert answer.status == (504 if fault is be_silent else 502)
    assert json.loads(answer.body)["errors"][0]["code"] == "UNAVAILABLE"
    assert answer.field(b"docker-distribution-api-version") == b"registry/2.0"
    assert desk.entries == [(b"GET", PATH, answer.status, len(answer.body))]
    assert end.fate != "open"
    assert desk.is_client_open
    desk.client.read()
    desk.ask(GET).send(ONE)
    desk.settle()
    assert desk.received == ONE


@pytest.mark.parametrize("asked", [GET, OLD])
@pytest.mark.parametrize(("raw", "fault"), faults_after(BEGUN))
def test_where_an_answer_has_begun_it_is_visibly_broken_off(
    raw: bytes, fault: Callable[[End], None], asked: bytes
) -> None:
    desk = Desk()
    end = desk.ask(asked).send(raw)
    fault(end)
    desk.settle()
    assert desk.client.wire.is_aborted
    assert not desk.received.endswith(b"0\r\n\r\n")
    ((_, _, status, size),) = desk.entries
    assert (status, size > 0) == (200, True)
    assert end.fate != "open"
    assert desk.site.connections == set()


@pytest.mark.parametrize("path", [b"/", b"/docs", b"/v2x"])
def test_elsewhere_than_under_v2_a_refusal_is_plain_text(path: bytes) -> None:
    desk = Desk()
    desk.ask(GET.replace(PATH, path)).close()
    desk.settle()
    answer = desk.client.answer()
    assert answer.field(b"content-type") == b"text/plain; charset=utf-8"
    assert answer.body == (
        b"the registry 'r' gives no answer: it has closed the connection without an answer\n"
    )


def test_head_gets_a_refusal_without_its_body() -> None:
    desk = Desk()
    desk.ask(HEAD).close()
    desk.settle()
    answer = desk.client.answer(b"HEAD")
    assert (answer.status, answer.body) == (502, b"")
    assert desk.entries == [(b"HEAD", PATH, 502, 0)]


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("raw", [GET, put(b"x" * 100)[:-50], put_chunks(b"5\r\nhel")])
def test_without_a_connection_there_is_an_answer(status: int, raw: bytes) -> None:
    desk = Desk()
    desk.client.send(raw)
    desk.fail(Unreachable(status, "why"))
    answer = desk.client.answer()
    assert (answer.status, answer.closes) == (status, raw != GET)
    assert desk.is_client_open == (raw == GET)
    assert [entry[2] for entry in desk.entries] == [status]


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        (PATH, b"", 502),
        (PATH, b"Set-Cookie: seen=1\r\n", 502),
        (b"/login", b"", 502),
        (b"/login", b"Set-Cookie: seen=1\r\n", 302),
    ],
)
def test_a_redirect_to_itself_is_no_answer(path: bytes, fields: bytes, status: int) -> None:
    """But of a site that sets a cookie: with that the request is another one."""
    desk = Desk()
    location = b"Location: https://r.example%b\r\n" % path
    end = desk.ask(GET.replace(PATH, path))
    end.send(b"HTTP/1.1 302 F\r\n" + location + fields + b"Content-Length: 0\r\n\r\n")
    desk.settle()
    assert desk.client.answer().status == status
    assert end.fate == ("aborted" if status == 502 else "open")


# Kept connections.


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
@pytest.mark.parametrize("leave", [close, reset])
def test_what_is_safe_and_has_met_a_closing_connection_is_tried_again_on_a_new_one(
    method: bytes, leave: Callable[[End], None]
) -> None:
    desk = Desk()
    kept = desk.ends.keep()
    desk.client.send(GET.replace(b"GET", method))
    sent = kept.take()
    leave(kept)
    assert desk.ends.asked == ["any", "fresh"]
    end = desk.ends.connect()
    assert end.take() == sent.removeprefix(b"GET / HTTP/1.1\r\n\r\n")
    end.send(OK + b"Content-Length: 0\r\n\r\n")
    desk.settle()
    assert desk.client.answer(method).status == 200


def test_it_is_tried_again_once() -> None:
    desk = Desk()
    kept = desk.ends.keep()
    desk.client.send(GET)
    kept.close()
    desk.ends.connect().close()
    desk.settle()
    assert desk.ends.waiting == []
    assert desk.client.answer().status == 502
    assert [entry[2] for entry in desk.entries] == [502]


@pytest.mark.parametrize("raw", [b"H", CONTINUE])
def test_it_is_not_tried_again_where_something_has_come(raw: bytes) -> None:
    desk = Desk()
    kept = desk.ends.keep()
    desk.client.send(GET)
    kept.send(raw).close()
    desk.settle()
    assert desk.ends.waiting == []
    assert desk.received.removeprefix(CONTINUE).startswith(b"HTTP/1.1 502")


@pytest.mark.parametrize("raw", [put(b"x"), put(b""), put_chunks(b"0\r\n\r\n")])
def test_what_cannot_be_sent_twice_gets_a_new_connection(raw: bytes) -> None:
    desk = Desk()
    desk.ends.keep()
    desk.client.send(raw)
    assert desk.ends.asked == ["fresh"]
    desk.ends.connect().close()
    desk.settle()
    assert desk.ends.asked == ["fresh"]
    assert desk.client.answer().status == 502


# A client that leaves.


def vanish(desk: Desk) -> None:
    desk.client.wire.abortConnection()
    desk.settle()


def close_its_half(desk: Desk) -> None:
    desk.client.end()
    desk.settle()


def be_cut_off(desk: Desk) -> None:
    """As at the end of a drain."""
    desk.site.abort()
    desk.settle()


LEAVES: list[Callable[[Desk], None]] = [vanish, close_its_half, be_cut_off]


@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize("raw", [GET, put(b"x" * 10)[:-5], GET + GET])
def test_who_leaves_before_there_is_a_connection_wants_none(
    leave: Callable[[Desk], None], raw: bytes
) -> None:
    desk = Desk()
    desk.client.send(raw)
    (waiter,) = desk.ends.waiting
    leave(desk)
    if leave is close_its_half and raw.startswith(b"PUT"):
        # His body is not read as long as nobody takes it.
        assert desk.ends.waiting == [waiter]
        desk.ends.connect()
        desk.settle()
        assert desk.ends.all[0].fate == "aborted"
    else:
        assert desk.ends.left == [waiter]
        assert desk.ends.waiting == []
    assert [entry[2] for entry in desk.entries] == [LEFT]
    assert desk.site.connections == set()
    assert desk.clock.getDelayedCalls() == []


@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize(
    ("raw", "answer", "status"),
    [
        (GET, b"", LEFT),
        (GET, OK, LEFT),
        (GET, OK + b"Content-Length: 3\r\n\r\non", LEFT),
        (GET, CHUNKED + b"3\r\none\r\n", 200),
        (GET + GET, b"", LEFT),
        (put(b"x" * 10)[:-5], b"", LEFT),
        (put(b"x" * 10), b"", LEFT),
        (put_chunks(b"5\r\nhel"), CHUNKED + b"3\r\none\r\n", 200),
    ],
)
def test_who_leaves_ends_what_is_under_way(
    leave: Callable[[Desk], None], raw: bytes, answer: bytes, status: int
) -> None:
    desk = Desk()
    end = desk.ask(raw).send(answer)
    leave(desk)
    assert end.fate == "aborted"
    assert [entry[2] for entry in desk.entries] == [status]
    assert desk.site.connections == set()
    assert desk.clock.getDelayedCalls() == []


@pytest.mark.parametrize("leave", LEAVES)
def test_who_leaves_ends_his_next_request_too(leave: Callable[[Desk], None]) -> None:
    """It has come with the first one, and nothing was read while it waited for its turn."""
    desk = Desk()
    end = desk.ask(GET + GET)
    end.send(ONE)
    desk.settle()
    other = desk.ends.connect()
    leave(desk)
    assert other.fate == "aborted"
    assert [entry[2] for entry in desk.entries] == [200, LEFT]


# The end of the daemon.


def test_an_answer_under_way_is_finished_while_draining_and_then_the_connection_closed() -> None:
    desk = Desk()
    end = desk.ask(GET).send(OK + b"Content-Length: 100000\r\n\r\n")
    desk.settle()
    desk.site.drain()
    emptied = desk.site.emptied()
    desk.site.close_idle(desk.clock.seconds())
    assert desk.is_client_open
    end.send(b"x" * 100_000)
    desk.settle()
    assert desk.received.endswith(b"x" * 100_000)
    assert desk.client.wire.is_closed
    assert not desk.client.wire.is_aborted
    assert emptied.called


def test_an_answer_that_begins_while_draining_says_that_it_is_the_last() -> None:
    desk = Desk()
    end = desk.ask(GET)
    desk.site.drain()
    end.send(ONE)
    desk.settle()
    assert desk.client.answer().closes
    assert not desk.is_client_open
