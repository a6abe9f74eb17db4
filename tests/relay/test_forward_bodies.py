"""The bodies of relayed requests: no faster than they are taken, and each that of its request."""

import pytest

from regroute.config.schema import Limits
from regroute.relay.upstream.ask import Unreachable
from regroute.web.connection import LINGER_TIME

from ..making import HEAD_SIZE, IDLE_TIME
from ..web.answers import read_answers
from .desk import Desk
from .exchanges import CHUNKED, CONTINUE, CREATED, GET, HEAD, OK, ONE, PATH, UPLOAD, put, put_chunks

# Back-pressure.


def test_a_client_that_does_not_read_holds_the_registry_up() -> None:
    desk = Desk()
    end = desk.ask(GET).send(OK + b"Content-Length: 10000000\r\n\r\n")
    desk.settle()
    desk.client.wire.capacity = 1000
    while end.is_reading:
        end.send(b"x" * 500)
    assert len(desk.received) < 3000
    end.send(b"y" * 500)
    desk.settle()
    assert b"y" not in desk.received
    desk.client.read()
    desk.settle()
    assert end.is_reading
    assert desk.received == b"y" * 500


def test_a_client_that_never_reads_has_its_time() -> None:
    desk = Desk()
    desk.client.wire.capacity = 1000
    end = desk.ask(GET).send(OK + b"Content-Length: 10000000\r\n\r\n" + b"x" * 2000)
    desk.clock.advance(IDLE_TIME - 1)
    desk.settle()
    assert end.fate == "open"
    assert not end.is_reading
    desk.clock.advance(1)
    desk.settle()
    assert end.fate == "aborted"
    assert desk.client.wire.is_aborted
    assert [entry[2] for entry in desk.entries] == [200]
    assert desk.clock.getDelayedCalls() == []


def test_a_registry_that_does_not_read_holds_the_client_up() -> None:
    desk = Desk()
    total = 5_000_000
    end = desk.ask(UPLOAD + b"Content-Length: %d\r\n\r\n" % total, capacity=1000)
    end.take()
    desk.client.send(b"x" * total)
    assert len(desk.client.unread) > total - 100_000
    taken = 0
    while sent := end.take():
        assert len(sent) < 140_000
        taken += len(sent)
        desk.settle()
    assert taken == total
    end.send(CREATED)
    desk.settle()
    assert desk.received == CREATED


def test_a_body_waits_for_its_connection() -> None:
    desk = Desk()
    desk.client.send(put(b"x" * 1_000_000))
    assert len(desk.client.unread) > 900_000
    end = desk.ends.connect()
    desk.settle()
    assert end.take().endswith(b"x" * 1_000_000)


def test_no_time_counts_against_a_client_whose_body_is_not_taken() -> None:
    desk = Desk()
    end = desk.ask(UPLOAD + b"Content-Length: 100000\r\n\r\n", capacity=1000)
    desk.client.send(b"x" * 50_000)
    desk.clock.advance(10 * IDLE_TIME)
    desk.settle()
    assert end.fate == "open"
    end.take()
    desk.settle()
    desk.clock.advance(IDLE_TIME - 1)
    desk.client.send(b"x" * 50_000)
    end.take()
    end.send(CREATED)
    desk.settle()
    assert desk.received == CREATED


def test_a_client_whose_body_is_held_while_it_ends_goes_on_afterwards() -> None:
    """The registry answers before it has taken all, and nobody lets the client go on then."""
    desk = Desk()
    end = desk.ask(put(b"x" * 10_000), capacity=100)
    end.send(CREATED)
    desk.settle()
    assert desk.received == CREATED
    assert end.fate == "aborted"
    desk.client.read()
    end = desk.ask(put(b"y" * 10_000))
    assert end.take().endswith(b"y" * 10_000)
    end.send(CREATED)
    desk.settle()
    assert desk.received == CREATED


def test_pipelined_requests_have_their_turns_whatever_they_are() -> None:
    desk = Desk()
    elsewhere = GET.replace(PATH, b"/elsewhere")
    desk.client.send(GET + elsewhere + put(b"x" * 70_000) + elsewhere + HEAD)
    desk.ends.connect().send(ONE)
    desk.settle()
    upload = desk.ends.connect()
    desk.settle()
    assert upload.take().endswith(b"x" * 70_000)
    upload.send(CREATED)
    desk.settle()
    desk.ends.connect().send(OK + b"Content-Length: 3\r\n\r\n")
    desk.settle()
    statuses = [answer.status for answer in read_answers(desk.received, [b""] * 4 + [b"HEAD"])]
    assert statuses == [200, 302, 201, 302, 200]


@pytest.mark.parametrize("raw", [GET, put(b"x" * 10)])
def test_a_client_that_asks_ahead_is_read_no_further_than_a_head(raw: bytes) -> None:
    """However many requests have had their turn."""
    desk = Desk()
    total = 50_000 * len(raw)
    desk.client.send(raw * 50_000)
    for answered in range(30):
        ahead = total - len(desk.client.unread) - answered * len(raw)
        assert ahead < HEAD_SIZE + 2 * 65536
        desk.ends.connect().send(ONE)
        desk.settle()


# Answers before the request is whole.


@pytest.mark.parametrize("raw", [put(b"x" * 1000)[:-500], put_chunks(b"5\r\nhel")])
def test_an_early_answer_ends_the_request(raw: bytes) -> None:
    """What still comes of the body is dropped, until the client has read the answer."""
    desk = Desk()
    end = desk.ask(raw)
    end.send(b"HTTP/1.1 401 U\r\nContent-Length: 2\r\n\r\nno")
    desk.settle()
    answer = desk.client.answer()
    assert (answer.status, answer.body, answer.closes) == (401, b"no", True)
    assert end.fate == "aborted"
    assert desk.client.wire.is_half_closed
    assert not desk.client.wire.is_closed
    desk.client.send(b"x" * 100_000)
    assert desk.received.endswith(b"no")
    desk.client.end()
    assert desk.client.wire.is_closed
    assert not desk.client.wire.is_aborted


def test_an_answer_may_begin_before_the_request_is_whole_and_end_after_it() -> None:
    desk = Desk()
    end = desk.ask(put(b"x" * 10)[:-5]).send(CHUNKED)
    desk.settle()
    desk.client.send(b"y" * 5)
    assert end.take().endswith(b"xxxxxyyyyy")
    end.send(b"3\r\none\r\n0\r\n\r\n")
    desk.settle()
    assert desk.received == (
        OK + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\none\r\n0\r\n\r\n"
    )
    assert not desk.is_client_open


def test_who_waits_for_100_gets_it_from_the_registry() -> None:
    desk = Desk()
    end = desk.ask(put(b"hello", b"Expect: 100-continue").removesuffix(b"hello"))
    assert b"expect: 100-continue\r\n" in end.take()
    desk.settle()
    assert desk.received == b""
    end.send(CONTINUE)
    desk.settle()
    assert desk.received == CONTINUE
    desk.client.send(b"hello")
    assert end.take() == b"hello"
    end.send(CREATED)
    desk.settle()
    assert desk.received == CONTINUE + CREATED
    assert desk.is_client_open


@pytest.mark.parametrize("by", ["the registry", "us"])
def test_who_waits_for_100_may_get_an_answer_instead(by: str) -> None:
    desk = Desk()
    desk.client.send(put(b"hello", b"Expect: 100-continue").removesuffix(b"hello"))
    if by == "us":
        desk.fail(Unreachable(502, "why"))
    else:
        desk.ends.connect().send(b"HTTP/1.1 401 U\r\nContent-Length: 0\r\n\r\n")
    desk.settle()
    answer = desk.client.answer()
    assert answer.status in (401, 502)
    assert answer.closes, "whatever comes next, it is no request"
    assert not desk.is_client_open


# Requests that cannot be read to their end.


@pytest.mark.parametrize(
    "raw", [b"5\r\nhelloo\r\n", b"x\r\n", b"5\nhello\r\n", b"0\r\nGET / HTTP/1.1\r\n\r\n"]
)
@pytest.mark.parametrize("answer", [b"", OK + b"Content-Length: 3\r\n\r\non", CHUNKED])
def test_a_broken_body_ends_the_request_at_the_registry_too(raw: bytes, answer: bytes) -> None:
    desk = Desk()
    end = desk.ask(put_chunks(b"1\r\nx\r\n")).send(answer)
    desk.settle()
    before = desk.received
    desk.client.send(raw + GET)
    desk.settle()
    assert end.fate == "aborted"
    assert b"0\r\n\r\n" not in end.take()
    if answer == CHUNKED:
        assert desk.client.wire.is_aborted
        assert desk.received == before
        assert [entry[2] for entry in desk.entries] == [200]
    else:
        refusal = desk.client.answer()
        assert (refusal.status, refusal.closes) == (400, True)
        entry = (b"PUT", b"/v2/a/blobs/uploads/1", 400, len(refusal.body))
        assert desk.entries == [entry]


def test_a_body_that_does_not_come_has_its_time() -> None:
    """As long as the client is idle, however long all of it takes."""
    desk = Desk(Limits().model_copy(update={"idle": 10.0}))
    end = desk.ask(put(b"x" * 100).removesuffix(b"x" * 100))
    for _ in range(5):
        desk.clock.advance(9)
        desk.client.send(b"x")
    desk.clock.advance(10)
    desk.settle()
    refusal = desk.client.answer()
    assert (refusal.status, refusal.closes) == (408, True)
    assert desk.entries == [(b"PUT", b"/v2/a/blobs/uploads/1", 408, len(refusal.body))]
    assert end.fate == "aborted"
    assert desk.client.wire.is_half_closed
    desk.clock.advance(LINGER_TIME)
    assert desk.client.wire.is_aborted


def test_no_time_counts_against_a_client_who_waits_for_an_answer() -> None:
    desk = Desk()
    end = desk.ask(GET)
    desk.clock.advance(10 * IDLE_TIME)
    desk.settle()
    end.send(ONE)
    desk.settle()
    assert desk.received == ONE
