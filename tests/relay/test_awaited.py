"""A request that is answered here over time, by its body."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred

from regroute.answers import Answer, Reason, Refusal, refuse
from regroute.relay.awaited import Awaited
from regroute.web.body import LIMIT
from regroute.web.exchange import Asking, Exchange
from regroute.web.strict import Head

from ..making import IDLE_TIME, site_of
from ..web.memory import SEED_RULES, Client, Turns

HEAD = b"POST /token HTTP/1.1\r\nHost: h\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ANSWER = refuse(403, "no", under_v2=True)


class Desk:
    """Answers all requests when it is told to."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.waiting: list[Deferred[Answer]] = []
        self.given: list[int] = []
        self.cancelled = 0
        clock = Turns()
        self.site = site_of(lambda: SEED_RULES, clock)
        self.site.relaying = self
        self.client = Client(site=self.site, peer="192.0.2.9")
        self.client.clock = clock

    def recall(self, peer: str | None, is_secure: bool, raw: bytes) -> Head | None:
        return None

    def is_own(self, target: bytes) -> bool:
        return True

    def exchange(self, head: Head, raw: bytes, peer: str | None, client: Asking) -> Exchange:
        def ask(body: bytes) -> Deferred[Answer]:
            self.asked.append(body)
            answer: Deferred[Answer] = Deferred(lambda gone: self._cancel())
            self.waiting.append(answer)
            return answer

        def give(answer: Answer, began: float) -> None:
            self.given.append(answer.status)
            persists = client.may_persist
            close = b"" if persists else b"Connection: close\r\n"
            fields = b"".join(b"%b: %b\r\n" % field for field in answer.fields)
            head = b"HTTP/1.1 %d X\r\n%b%b\r\n" % (answer.status, fields, close)
            client.send(head + answer.body)
            client.finish(persists=persists)

        return Awaited(ask, give)

    def _cancel(self) -> None:
        self.cancelled += 1

    def answer(self) -> None:
        self.waiting.pop(0).callback(ANSWER)
        self.client.settle()


def post(body: bytes, *fields: bytes) -> bytes:
    lines = b"".join(field + b"\r\n" for field in (b"Content-Length: %d" % len(body), *fields))
    return HEAD + lines + b"\r\n" + body


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = {
    "without a body": (HEAD + b"\r\n", b""),
    "with one": (post(b"hello"), b"hello"),
    "in chunks": (CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
    "as long as it may be": (post(b"x" * LIMIT), b"x" * LIMIT),
}


@pytest.mark.parametrize(("raw", "body"), WHOLE.values(), ids=WHOLE)
def test_the_question_is_asked_with_the_whole_body_and_once(raw: bytes, body: bytes) -> None:
    desk = Desk()
    for turn in range(2):
        desk.client.send(raw[:-3], raw[-3:])
        assert desk.asked == [body] * (turn + 1)
        assert desk.client.wire.written == b""
        desk.answer()
        assert desk.client.answer().status == 403
        desk.client.read()
    assert desk.client.is_reading
    assert desk.given == [403, 403]


def test_a_body_that_is_read_ahead_of_its_turn_is_whole_too() -> None:
    """Nothing is read while a request waits for its turn, and it has to be read on then."""
    desk = Desk()
    body = b"x" * LIMIT
    desk.client.send((HEAD + b"\r\n") * 3 + post(body))
    for _ in range(4):
        desk.answer()
    assert desk.asked == [b"", b"", b"", body]
    assert len(desk.client.answers()) == 4


@pytest.mark.parametrize("raw", [post(b"x" * (LIMIT + 1)), CHUNKED + b"11000\r\n" + b"x" * 0x11000])
def test_a_longer_body_is_refused_before_it_has_come(raw: bytes) -> None:
    desk = Desk()
    desk.client.send(raw)
    answer = desk.client.answer()
    assert (answer.status, desk.asked) == (413, [])
    assert desk.given == [413]
    desk.client.send(b"x" * 100_000)
    assert desk.given == [413]


def test_who_waits_for_100_gets_it_and_others_do_not() -> None:
    desk = Desk()
    desk.client.send(post(b"hello", b"Expect: 100-continue").removesuffix(b"hello"))
    assert desk.client.read() == CONTINUE
    desk.client.send(b"hello")
    desk.answer()
    assert desk.client.answer().status == 403
    desk.client.read()
    for raw in (post(b"hello", b"Expect: 100-continue"), post(b"hello")):
        desk.client.send(raw)
        assert desk.client.read() == b""
        desk.answer()
        desk.client.read()


def fail(desk: Desk) -> None:
    desk.client.send(b"nonsense\r\n")


def be_idle(desk: Desk) -> None:
    desk.client.clock.advance(IDLE_TIME)
    desk.client.settle()


@pytest.mark.parametrize(("end", "status"), [(fail, 400), (be_idle, 408)])
def test_a_body_that_has_no_end_is_refused(end: Callable[[Desk], None], status: int) -> None:
    desk = Desk()
    desk.client.send(CHUNKED + b"2\r\nhe\r\n")
    end(desk)
    answer = desk.client.answer()
    assert (answer.status, answer.closes) == (status, True)
    assert (desk.asked, desk.given) == ([], [status])


def test_a_fault_of_ours_is_told_as_that(logged: list[str]) -> None:
    desk = Desk()
    desk.client.send(HEAD + b"\r\n")
    desk.waiting.pop().errback(ValueError("c2VjcmV0"))
    assert desk.client.answer().status == 500
    assert "no answer to a request" in logged[0]


@pytest.mark.parametrize("is_asked", [True, False])
def test_who_leaves_ends_the_question(is_asked: bool) -> None:
    desk = Desk()
    desk.client.send(HEAD + b"\r\n" if is_asked else CHUNKED)
    desk.client.end()
    assert desk.given == []
    assert desk.cancelled == is_asked
    assert desk.client.wire.is_closed
    assert desk.site.connections == set()


def test_it_is_over_once() -> None:
    """Whatever is told to it then."""
    given: list[int | None] = []

    def give(answer: Answer | None, began: float) -> None:
        given.append(None if answer is None else answer.status)

    def never(body: bytes) -> Deferred[Answer]:
        raise AssertionError("it is asked")

    awaited = Awaited(never, give)
    awaited.refuse(Refusal(400, "no", Reason.FRAMING))
    awaited.take(b"x")
    awaited.refuse(Refusal(400, "no", Reason.FRAMING))
    awaited.end(())
    awaited.lose()
    assert given == [400]
