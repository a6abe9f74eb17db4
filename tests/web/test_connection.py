"""One connection: which requests are taken when, and which are not (RFC 9112 §9.3)."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regroute.config.schema import Limits
from regroute.web.connection import PROXY_IDLE_TIME
from regroute.web.tree import Site

from ..making import HEAD_SIZE, HEAD_TIME, IDLE_TIME
from .answers import Received
from .memory import GET, SEED_RULES, Client, Turns

LAST = b"GET /v2/last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
PUT = b"PUT /v2/ HTTP/1.1\r\nHost: h\r\n"

STRANGER = "192.0.2.9"


def get(path: str) -> bytes:
    return b"GET /v2/%s HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode()


def paths(answers: list[Received]) -> list[str]:
    """The paths that the answers redirect to: which requests they belong to."""
    locations = [answer.field(b"location") or b"" for answer in answers]
    return [location.decode().partition("/v2/")[2] for location in locations]


def bytewise(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]


# Turns, order and back-pressure.


def test_a_connection_stays_open_from_request_to_request() -> None:
    client = Client().send(get("a"), get("b"))
    assert paths(client.answers()) == ["a", "b"]
    assert not any(answer.closes for answer in client.answers())
    assert client.is_reading


def test_pipelined_requests_are_answered_in_order() -> None:
    names = [str(number) for number in range(300)]
    client = Client().send(b"".join(map(get, names)))
    assert paths(client.answers()) == names


def test_a_turn_of_the_reactor_takes_one_request() -> None:
    client = Client()
    client.unread = get("a") + get("b") + get("c")
    counts = []
    while client.step():
        counts.append(len(client.answers()))
    assert counts[:3] == [1, 2, 3]


def test_nothing_is_read_while_a_request_waits_for_its_turn() -> None:
    client = Client()
    client.unread = get("a") + get("b")
    client.step()
    assert client.wire.producerState == "paused"
    client.settle()
    assert client.wire.producerState == "producing"


def test_a_client_that_takes_no_answer_gets_no_more_of_them() -> None:
    names = [str(number) for number in range(400)]
    client = Client()
    client.wire.capacity = 10_000
    client.send(b"".join(map(get, names)))
    # The request that filled the buffer was the last one.
    assert 10_000 < len(client.wire.written) < 11_000
    assert client.wire.producerState == "paused"
    answers = client.answers()
    client.wire.written.clear()
    while len(answers) < len(names):
        assert client.wire.producer is not None
        client.wire.producer.resumeProducing()
        client.settle()
        answers += client.answers()
        client.wire.written.clear()
    assert paths(answers) == names


def test_a_blocked_client_that_closed_its_half_still_gets_all_answers() -> None:
    names = [str(number) for number in range(100)]
    client = Client()
    client.wire.capacity = 5_000
    client.send(b"".join(map(get, names))).end()
    raw = b""
    while not client.wire.is_closed:
        raw += client.read()
        client.settle()
    raw += bytes(client.wire.written)
    assert raw.count(b"HTTP/1.1 302 Found") == 100


def test_what_a_blocked_client_sends_is_not_read() -> None:
    client = Client()
    client.wire.capacity = 1
    client.send(GET, b"x" * 1_000_000)
    assert len(client.unread) == 1_000_000
    assert len(client.answers()) == 1


def test_a_client_that_stays_blocked_is_cut_off() -> None:
    client = Client(peer=STRANGER)
    client.wire.capacity = 1
    client.send(GET)
    client.clock.advance(IDLE_TIME)
    assert client.wire.is_aborted


# The same bytes, however they come.

PIECES = st.sampled_from(
    [
        *(GET, get("a?b=c"), LAST, b"HEAD /v2/h HTTP/1.1\r\nHost: h\r\n\r\n", b"\r\n", b"\r"),
        *(PUT + b"Content-Length: 3\r\n\r\nabc", PUT + b"Content-Length: 70000\r\n\r\n"),
        PUT + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        PUT + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
        PUT + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        *(b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /v2/x HTTP/1.1\n", b"\n"),
        *(b"GET /v2/x HTTP/1.1\r\n", b"Host: h\r\n", b" folded\r\n", b"\x00", b"x"),
        *(b"a: b\nc\r\n\r\n", b"x" * 16_000, b"y" * 400, b"a: b\r\n" * 3000, b"xxxxxxxxx"),
    ]
)


def answered(*pieces: bytes) -> tuple[bytes, bool]:
    """All that a client gets, interim answers aside, and whether its connection goes on."""
    client = Client().send(*pieces)
    sent = bytes(client.wire.written).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    return sent, client.is_reading


@given(st.lists(PIECES, max_size=6).map(b"".join), st.lists(st.integers(0, 40_000), max_size=5))
@example(b"GET /" + b"x" * (HEAD_SIZE - 18) + b" HTTP/1.1\r\nHost: h\r\n\r\n", [HEAD_SIZE - 4])
@example(b"GET / HTTP/1.1\r\na: " + b"x" * HEAD_SIZE + b"\n\r\n\r\n", [10])
@example(b"GET / HTTP/1.1\na: " + b"x" * HEAD_SIZE + b"\r\n\r\n", [10])
def test_answers_do_not_depend_on_where_the_bytes_are_cut(raw: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [raw[start:end] for start, end in pairwise(edges) if start < end]
    assert answered(*pieces) == answered(raw)


@given(st.lists(PIECES.filter(lambda piece: len(piece) < 1000), max_size=5).map(b"".join))
def test_answers_are_the_same_byte_by_byte(raw: bytes) -> None:
    assert answered(*bytewise(raw)) == answered(raw)


@pytest.mark.parametrize("over", range(-2, 3))
@pytest.mark.parametrize("fill", [b"GET /%s HTTP/1.1", b"GET / HTTP/1.1\r\na: %s"])
def test_the_limits_are_the_same_byte_by_byte(fill: bytes, over: int) -> None:
    line = fill % (b"x" * (HEAD_SIZE - 4 + over - len(fill) + 2))
    for raw in (line + b"\r\n\r\n", line + b"\r\nHost: h\r\n\r\n"):
        assert answered(*bytewise(raw)) == answered(raw)


# Heads that are too long, and too slow.


def test_a_head_of_16_kib_is_answered() -> None:
    start = b"GET /v2/ HTTP/1.1\r\nHost: h\r\na: "
    raw = start + b"x" * (HEAD_SIZE - len(start) - 4) + b"\r\n\r\n"
    assert Client().send(raw).answer().status == 302


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b" /v2/" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b" /v2/" + b"x" * 70_000, 414),
        (b" /v2/ HTTP/1.1\r\nHost: h\r\na: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b" /v2/ HTTP/1.1\r\nHost: h\r\n" + b"a: b\r\n" * 10_000 + b"\r\n", 431),
    ],
    ids=["target", "unfinished target", "field", "fields"],
)
def test_what_is_too_long_gets_an_answer_and_a_half_close(
    method: bytes, raw: bytes, status: int
) -> None:
    client = Client().send(method + raw)
    answer = client.answer(method)
    assert answer.status == status
    assert answer.closes
    assert answer.field(b"content-type") == b"application/json"
    assert (b'"SIZE_INVALID"' in answer.body) is (method == b"GET")
    assert client.wire.is_half_closed
    assert not client.wire.is_closed


def test_a_trickling_head_has_one_deadline() -> None:
    client = Client()
    for byte in bytewise(b"GET /v2/ HTT"):
        client.send(byte)
        client.clock.advance(HEAD_TIME / 12)
    answer = client.answer()
    assert answer.status == 408
    assert answer.closes
    assert client.wire.is_half_closed


def test_a_body_has_to_come_by_the_deadline_of_its_head() -> None:
    client = Client().send(PUT + b"Content-Length: 100\r\n")
    client.clock.advance(HEAD_TIME * 0.6)
    client.send(b"\r\nx")
    client.clock.advance(HEAD_TIME * 0.3)
    client.send(b"x")
    assert client.answers() == []
    client.clock.advance(HEAD_TIME * 0.1)
    assert client.answer().status == 408
    assert client.wire.is_half_closed


def test_the_deadline_begins_anew_with_each_request() -> None:
    client = Client()
    for _ in range(5):
        client.send(GET[:9])
        client.clock.advance(HEAD_TIME * 0.9)
        client.send(GET[9:])
    assert [answer.status for answer in client.answers()] == [302] * 5


def test_a_second_request_that_is_half_there_has_a_deadline() -> None:
    client = Client().send(GET + b"GET /v2/")
    client.clock.advance(HEAD_TIME)
    assert [answer.status for answer in client.answers()] == [302, 408]


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"\r\n\r\n\r", GET, GET + b"\r\n"])
def test_an_idle_connection_is_closed_without_a_word(sent: bytes) -> None:
    client = Client(peer=STRANGER).send(sent)
    answers = bytes(client.wire.written)
    client.clock.advance(IDLE_TIME - 1)
    assert client.is_reading
    client.clock.advance(1)
    assert client.wire.is_closed
    assert client.wire.written == answers


def test_a_proxy_of_ours_may_be_idle_for_longer() -> None:
    client = Client(peer="127.0.0.1").send(GET)
    client.clock.advance(PROXY_IDLE_TIME - 1)
    assert client.is_reading
    client.clock.advance(1)
    assert client.wire.is_closed


def test_limits_of_the_configuration_hold_for_the_next_connection() -> None:
    limits = [Limits()]
    clock = Turns()
    site = Site(lambda: SEED_RULES, lambda: limits[0], lambda entry: None, lambda: True, 9, clock)
    client = Client(site=site, peer=STRANGER)
    limits[0] = Limits.model_construct(head=1.0, idle=2.0, head_size=100)
    strict = Client(site=site, peer=STRANGER).send(b"GET /" + b"a" * 100)
    assert strict.answer().status == 414
    client.send(GET)
    assert client.answer().status == 302


def test_empty_lines_do_not_keep_a_connection_alive() -> None:
    client = Client(peer=STRANGER)
    for _ in range(15):
        client.send(b"\r\n")
        client.clock.advance(IDLE_TIME / 15)
    assert client.wire.is_closed


@pytest.mark.parametrize("count", [1, 2, 30_000])
def test_empty_lines_before_a_request_are_skipped(count: int) -> None:
    assert Client().send(b"\r\n" * count + GET).answer().status == 302


# Bodies.


@pytest.mark.parametrize("size", [1, 64 * 1024])
def test_a_request_with_a_body_is_answered_after_it(size: int) -> None:
    client = Client().send(PUT + b"Content-Length: %d\r\n\r\n" % size, b"x" * (size - 1))
    assert client.answers() == []
    client.send(b"x" + get("next"))
    assert [answer.status for answer in client.answers()] == [405, 302]
    assert client.is_reading


def test_a_request_with_chunks_is_answered_after_them() -> None:
    client = Client().send(PUT + b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n", b"0\r\n")
    assert client.answers() == []
    client.send(b"\r\n" + get("next"))
    assert [answer.status for answer in client.answers()] == [405, 302]


def test_a_get_with_a_body_is_answered_after_it_too() -> None:
    client = Client().send(GET[:-2] + b"Content-Length: 4\r\n\r\nGET " + get("next"))
    assert paths(client.answers()) == ["", "next"]


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"Content-Length: 65537\r\n\r\n", b""),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"10001\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 12_000),
        (b"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n", b""),
    ],
    ids=["counted", "one chunk", "many chunks", "expecting"],
)
def test_a_longer_body_is_answered_at_once_and_dropped(fields: bytes, body: bytes) -> None:
    client = Client().send(PUT + fields, body)
    answer = client.answer()
    assert answer.status == 405
    assert answer.closes
    assert client.wire.is_half_closed
    client.send(b"x" * 1_000_000, GET)
    assert len(client.answers()) == 1
    assert client.unread == b""


def test_broken_chunks_are_400_and_the_end() -> None:
    client = Client().send(PUT + b"Transfer-Encoding: chunked\r\n\r\nx\r\n" + GET)
    assert client.answer().status == 400
    assert client.wire.is_half_closed


@pytest.mark.parametrize(
    ("fields", "interim"),
    [
        (b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", True),
        (b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n", True),
        (b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\na", False),
        (b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", False),
        (b"Expect: 100-continue\r\nContent-Length: 70000\r\n\r\n", False),
        (b"Expect: 100-continue\r\n\r\n", False),
        (b"Content-Length: 3\r\n\r\n", False),
    ],
)
def test_a_100_is_sent_only_when_a_body_is_awaited(fields: bytes, interim: bool) -> None:
    client = Client().send(PUT + fields)
    assert (client.wire.written == b"HTTP/1.1 100 Continue\r\n\r\n") is interim
    assert client.wire.written.count(b"100 Continue") == interim
