"""How a connection ends (RFC 9112 §9.6): with all its answers, and not before its requests."""

import pytest
from twisted.internet.task import Clock

from regroute.web.connection import LINGER_TIME

from ..making import site_of
from .memory import GET, SEED_RULES, Client, rules_of
from .test_connection import LAST, PUT, get, paths


@pytest.mark.parametrize(
    "raw",
    [
        LAST,
        b"GET /v2/last HTTP/1.0\r\n\r\n",
        b"GET /v2/last HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        get("last")[:-2] + b"Connection: keep-alive\r\nConnection: TE, Close\r\n\r\n",
    ],
)
def test_the_last_request_is_answered_as_http_1_1_and_closed_by_halves(raw: bytes) -> None:
    """A close of both halves would take back the answer where more bytes have come."""
    client = Client().send(raw + b"\r\n" + GET)
    answer = client.answer()
    assert (answer.status, answer.closes) == (302, True)
    assert client.wire.is_half_closed
    assert not client.wire.is_closed
    client.end()
    assert client.wire.is_closed
    assert not client.wire.is_aborted


def test_malformed_syntax_is_answered_and_closed_by_halves() -> None:
    client = Client().send(get("a") + b"GET  /v2/ HTTP/1.1\r\nHost: h\r\n\r\n" + get("b"))
    assert [answer.status for answer in client.answers()] == [302, 400]
    assert [answer.closes for answer in client.answers()] == [False, True]
    assert client.wire.is_half_closed
    assert client.send(b"x" * 100_000).end().wire.is_closed


def test_the_last_request_is_closed_after_at_once_where_nothing_more_has_come() -> None:
    client = Client().send(LAST)
    assert client.answer().closes
    assert client.wire.is_closed
    assert not client.wire.is_aborted


def test_a_client_that_does_not_close_its_half_is_cut_off() -> None:
    client = Client().send(LAST + b"\r\n")
    client.clock.advance(LINGER_TIME - 1)
    client.send(b"more")
    assert not client.wire.is_closed
    client.clock.advance(1)
    assert client.wire.is_aborted


@pytest.mark.parametrize("raw", [GET, GET + get("a"), PUT + b"Content-Length: 1\r\n\r\nx", LAST])
def test_a_client_that_has_closed_its_half_gets_its_answers(raw: bytes) -> None:
    client = Client()
    client.unread = raw
    client.end()
    assert len(client.answers()) == raw.count(b"HTTP/1.1")
    assert client.wire.is_closed
    assert not client.wire.is_aborted


@pytest.mark.parametrize("raw", [b"", b"GET /v2/", PUT + b"Content-Length: 2\r\n\r\nx"])
def test_half_a_request_and_no_more_is_no_request(raw: bytes) -> None:
    client = Client().send(raw).end()
    assert client.wire.written == b""
    assert client.wire.is_closed


def test_a_lost_connection_leaves_nothing_behind() -> None:
    client = Client()
    client.unread = GET + GET
    client.step()
    client.wire.abortConnection()
    assert client.clock.getDelayedCalls() == []
    assert client.site.connections == set()


# Draining.


@pytest.mark.parametrize("sent", [b"", GET, b"\r\n"], ids=["new", "answered", "empty line"])
def test_draining_leaves_an_idle_connection_until_it_has_been_idle_for_a_while(
    sent: bytes,
) -> None:
    client = Client().send(sent)
    idle_since = client.clock.seconds()
    client.site.drain()
    emptied = client.site.emptied()
    client.site.close_idle(idle_since - 0.1)
    assert not client.wire.is_closed
    client.site.close_idle(idle_since)
    assert client.wire.is_closed
    assert emptied.called


@pytest.mark.parametrize("sent", [b"", GET], ids=["new", "answered"])
def test_draining_answers_one_more_request_and_says_that_it_was_the_last(sent: bytes) -> None:
    client = Client().send(sent)
    client.site.drain()
    client.send(GET)
    *before, last = client.answers()
    assert [answer.closes for answer in before] == [False] * len(before)
    assert last.closes
    assert not client.is_reading


def test_a_connection_that_comes_while_draining_is_answered_once() -> None:
    client = Client()
    client.site.drain()
    late = Client(site=client.site).send(GET)
    assert late.answer().closes


@pytest.mark.parametrize("at", [3, len(PUT), len(PUT) + 20])
def test_draining_finishes_a_request_that_has_begun(at: int) -> None:
    raw = PUT + b"Content-Length: 4\r\n\r\nbody"
    client = Client().send(raw[:at])
    client.site.drain()
    emptied = client.site.emptied()
    client.site.close_idle(client.clock.seconds())
    assert client.is_reading
    client.send(raw[at:])
    assert client.answer().status == 405
    assert client.answer().closes
    assert not client.is_reading
    assert not emptied.called
    client.end()
    assert emptied.called


def test_draining_answers_what_has_been_received() -> None:
    client = Client()
    client.unread = get("a") + get("b") + get("c") + b"\r\n"
    client.step()
    client.site.drain()
    client.settle()
    client.site.close_idle(client.clock.seconds())
    assert paths(client.answers()) == ["a", "b", "c"]
    assert not client.is_reading


def test_a_reload_counts_from_the_next_request_of_the_connection() -> None:
    rules = [SEED_RULES]
    clock = Clock()
    client = Client(site=site_of(lambda: rules[0], clock)).send(get("a"))
    rules[0] = rules_of("rules: [{to: 'https://other.example'}]")
    client.send(get("b"))
    locations = [answer.field(b"location") for answer in client.answers()]
    assert locations == [b"https://k8s.gcr.io/v2/a", b"https://other.example/v2/b"]
