"""A connection whose requests are answered over time."""

from collections.abc import Iterator
from math import ceil

import pytest

from regroute.answers import Fields, Refusal
from regroute.web.exchange import Asking, Exchange
from regroute.web.lane import BURSTS
from regroute.web.streams import PORTION
from regroute.web.strict import Head, read_head

from .answers import read_answers
from .lanes import Laned, laned

PULL = b"GET /v2/a/manifests/1 HTTP/1.1\r\nHost: h\r\nAccept: a\r\nAccept: b\r\n\r\n"
PUSH = b"PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
LAST = b"GET /v2/a/manifests/1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Echo:
    """Answers a request, when it is whole, with its target and body."""

    wants_continue = True

    def __init__(self, head: Head, client: Asking, held: list["Echo"] | None) -> None:
        self._held = held
        self._head = head
        self._client = client
        self.body = b""
        """What has come of the request's."""

    def begin(self) -> None:
        """There is nothing to wait for."""

    def take(self, content: bytes) -> None:
        self.body += content

    def end(self, trailers: Fields) -> None:
        if self._held is None:
            self.answer()
        else:
            self._held.append(self)

    def answer(self) -> None:
        said = b"%b %b" % (self._head.target, self.body)
        persists = self._client.may_persist
        close = b"" if persists else b"Connection: close\r\n"
        answer = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (close, len(said), said)
        self._client.send(answer)
        self._client.finish(persists=persists)

    def pause(self) -> None:
        """It has no more to say."""

    def resume(self) -> None:
        """It has no more to say."""

    def refuse(self, refusal: Refusal) -> None:
        self._client.break_off()

    def lose(self) -> None:
        """It has nothing to give up."""


class Echoes:
    """Echoes all, and remembers every head that it has seen. What is `held` is to be told when."""

    def __init__(self) -> None:
        self.held: list[Echo] | None = None
        self.known: dict[bytes, Head] = {}
        self.recalled = 0
        self.judged = 0
        self.last: Echo | None = None

    def recall(self, peer: str | None, is_secure: bool, raw: bytes) -> Head | None:
        found = self.known.get(raw)
        self.recalled += found is not None
        return found

    def exchange(self, head: Head, raw: bytes, peer: str | None, client: Asking) -> Exchange | None:
        assert head == read_head(raw)
        self.known[raw] = head
        self.last = Echo(head, client, self.held)
        return self.last

    def is_own(self, target: bytes) -> bool:
        self.judged += 1
        return True


@pytest.fixture
def bed() -> Iterator[Laned]:
    with laned() as bed:
        yield bed


@pytest.fixture
def echoes(bed: Laned) -> Echoes:
    bed.site.relaying = echoes = Echoes()
    return echoes


def bodies(bed: Laned, *pieces: bytes) -> list[bytes]:
    """What a client is answered who sends these pieces one after the other."""
    talker = bed.connect()
    for piece in pieces:
        talker.send(piece)
    return [answer.body for answer in read_answers(talker.received)]


@pytest.mark.parametrize(
    ("pieces", "asked"),
    [
        ([PULL, PULL, PULL], 3),
        ([PULL + PULL + PULL], 3),
        ([PULL + PULL[:9], PULL[9:] + PULL], 3),
        ([PULL, PULL[:-1], PULL[-1:], PULL], 3),
        ([PULL, b"\r\n" + PULL, b"\r\n", PULL], 3),
        ([PULL, PULL[:20], PULL, b"\r\n"], 1),
        ([PULL, LAST, PULL], 2),
        ([bytes([byte]) for byte in PULL + PULL], 2),
    ],
)
def test_a_head_that_has_come_before_is_taken_as_at_first(
    bed: Laned, echoes: Echoes, pieces: list[bytes], asked: int
) -> None:
    """However its bytes come, and whatever comes before and after it."""
    for _ in range(2):
        answered = [body for body in bodies(bed, *pieces) if body == b"/v2/a/manifests/1 "]
        assert len(answered) == asked
    assert echoes.recalled >= asked


def test_a_head_that_has_come_before_costs_a_new_connection_no_second_reading(
    bed: Laned, echoes: Echoes
) -> None:
    """Those who begin with the same request at the same time wait for one another."""
    for _ in range(3):
        assert bodies(bed, PULL) == [b"/v2/a/manifests/1 "]
    assert echoes.judged == 1


def test_a_body_is_that_of_its_own_request_though_the_heads_are_the_same(
    bed: Laned, echoes: Echoes
) -> None:
    """Also where the body has a known head in it, and where it comes at once or by itself."""
    bodiless = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    put = b"PUT /p HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(bodiless)
    pieces = [bodiless, put, bodiless, put + bodiless, put, bodiless[:5], bodiless[5:], bodiless]
    body = b"/p " + bodiless
    for _ in range(2):
        assert bodies(bed, *pieces) == [b"/ ", body, body, body, b"/ "]


def test_a_push_that_comes_again_waits_for_its_own_body(bed: Laned, echoes: Echoes) -> None:
    assert bodies(bed, PUSH, b"first", PUSH, b"secon", PUSH + b"third") == [
        b"/v2/a/manifests/1 first",
        b"/v2/a/manifests/1 secon",
        b"/v2/a/manifests/1 third",
    ]


def test_a_known_head_waits_until_the_request_before_it_is_answered(
    bed: Laned, echoes: Echoes
) -> None:
    echoes.known[PULL] = read_head(PULL)
    held: list[Echo] = []
    echoes.held = held
    talker = bed.connect().send(PULL)
    for _ in range(3):
        talker.send(PULL)
        (waiting,) = held
        held.clear()
        waiting.answer()
        talker.read()
    assert len(held) == 1
    assert len(read_answers(talker.received)) == 3


def test_a_body_in_tiny_chunks_leaves_the_others_their_turn(bed: Laned, echoes: Echoes) -> None:
    """Reading it is work: a burst takes a small portion of it at a time, whatever has come."""
    put = b"PUT /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"1\r\nx\r\n"
    talker = bed.connect().send(put + chunk)
    talker.near.sendall(chunk * 10_000)
    talker.deliver()
    bed.lane.doRead()
    assert echoes.last is not None
    assert 1 < len(echoes.last.body) <= 1 + ceil(BURSTS * PORTION / len(chunk))
    assert talker.send(b"0\r\n\r\n").received.endswith(b"/p " + b"x" * 10_001)
