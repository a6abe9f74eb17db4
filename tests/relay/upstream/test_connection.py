"""A connection to a registry: each answer is its request's, whole or not at all."""

from collections.abc import Callable
from typing import TypeAlias

import pytest
from twisted.internet.task import Clock

from regroute.relay.upstream.ask import Unreachable
from regroute.relay.upstream.connection import MOST_INTERIM, Upstream
from regroute.relay.upstream.response import LONGEST_HEAD
from regroute.web.streams import PORTION

from .ends import Asked, End, Ends, new_end

OK = b"HTTP/1.1 200 OK\r\n"
ONE = OK + b"Content-Length: 3\r\n\r\none"
TWO = OK + b"Content-Length: 3\r\n\r\ntwo"
IN_CHUNKS = OK + b"Transfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = OK + b"\r\n"
WHOLE = [("answered", 200), "content", "ended"]

Told: TypeAlias = list[object]


class Bed:
    """A connection, and the requests on it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ends = Ends(self.clock.seconds)
        self.end = self.ends.new()

    @property
    def upstream(self) -> Upstream:
        return self.end.protocol

    @property
    def is_released(self) -> bool:
        return self.ends.released == [self.upstream]

    def ask(self, method: bytes = b"GET", *, is_sent: bool = True) -> Asked:
        """Ask for something."""
        asked = Asked()
        self.ends.released.clear()
        self.upstream.ask(method + b" / HTTP/1.1\r\n\r\n", method, asked)
        if is_sent:
            self.upstream.sent()
        return asked

    def answer(self, *pieces: bytes, method: bytes = b"GET") -> Asked:
        """Ask, and let the registry send this."""
        asked = self.ask(method)
        self.end.send(*pieces)
        return asked


def bytewise(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]


# Whole answers, and what becomes of their connection.


WHOLE_ANSWERS: dict[str, tuple[bytes, bytes, bytes, bool]] = {
    "counted": (b"GET", ONE, b"one", True),
    "in chunks": (b"GET", IN_CHUNKS + b"3\r\none\r\n0\r\n\r\n", b"one", True),
    "empty": (b"GET", OK + b"Content-Length: 0\r\n\r\n", b"", True),
    "no chunks": (b"GET", IN_CHUNKS + b"0\r\n\r\n", b"", True),
    "to HEAD, counted": (b"HEAD", OK + b"Content-Length: 3\r\n\r\n", b"", True),
    "to HEAD, in chunks": (b"HEAD", IN_CHUNKS, b"", True),
    "to HEAD, until it closes": (b"HEAD", UNTIL_CLOSE, b"", True),
    "204": (b"DELETE", b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", b"", True),
    "304": (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", b"", True),
    "last": (b"GET", OK + b"Connection: x, Close\r\nContent-Length: 3\r\n\r\none", b"one", False),
    "of HTTP/1.0": (b"GET", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none", b"one", False),
    "without a reason": (b"GET", b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\none", b"one", True),
}


@pytest.mark.parametrize(
    ("method", "raw", "body", "persists"), WHOLE_ANSWERS.values(), ids=WHOLE_ANSWERS
)
@pytest.mark.parametrize("cut", [lambda raw: [raw], bytewise], ids=["whole", "bytewise"])
def test_an_answer_is_told_to_its_end(
    method: bytes, raw: bytes, body: bytes, persists: bool, cut: Callable[[bytes], list[bytes]]
) -> None:
    bed = Bed()
    asked = bed.answer(*cut(raw), method=method)
    assert asked.body == body
    assert asked.told[-1] == "ended"
    assert bed.is_released == persists
    assert bed.end.fate == ("open" if persists else "closed")
    if persists:
        assert bed.answer(TWO).body == b"two"


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    bed = Bed()
    asked = bed.answer(UNTIL_CLOSE, b"o", b"ne")
    assert asked.told == [("answered", 200), "content"]
    bed.end.close()
    assert asked.told == WHOLE
    assert asked.body == b"one"
    assert not bed.is_released


def test_what_comes_in_tiny_chunks_is_read_in_small_portions() -> None:
    """Its reading is work, and others are to get their turn in between."""
    bed = Bed()
    asked = bed.answer(IN_CHUNKS, b"1\r\nx\r\n")
    bed.end.send(b"1\r\nx\r\n" * 10_000)
    assert bed.end.most == PORTION
    bed.end.send(b"10000\r\n" + b"x" * 65_536 + b"\r\n0\r\n\r\n")
    assert bed.end.most > PORTION
    assert asked.body == b"x" * (1 + 10_000 + 65_536)
    assert asked.told[-1] == "ended"


def test_trailers_come_with_the_end() -> None:
    bed = Bed()
    asked = bed.answer(IN_CHUNKS, b"0\r\nX-A: 1\r\n", b"X-B:2\r\n\r\n")
    assert asked.told[-1] == ("ended", ((b"x-a", b"1"), (b"x-b", b"2")))


def test_interim_answers_come_before_the_answer() -> None:
    bed = Bed()
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    asked = bed.answer(b"HTTP/1.1 100 Continue\r\n\r\n" + hint + ONE)
    assert asked.told == [("interim", 100), ("interim", 103), *WHOLE]
    assert bed.is_released


# Answers that nobody can be given.


BROKEN = {
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "the same length twice": OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": OK + b"Content-Length: 3, 3\r\n\r\nabc",
    "a length and chunks": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "a signed length": OK + b"Content-Length: +3\r\n\r\nabc",
    "a negative length": OK + b"Content-Length: -3\r\n\r\nabc",
    "a length of many digits": OK + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n",
    "an empty length": OK + b"Content-Length:\r\n\r\n",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": OK + b"Transfer-Encoding: gzip\r\n\r\n",
    "two codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "an almost chunked coding": OK + b"Transfer-Encoding: xchunked\r\n\r\n",
    "a vertical tab in a coding": OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "a space before the colon": OK + b"Content-Length : 3\r\n\r\nabc",
    "a folded line": OK + b"X: a\r\n Content-Length: 3\r\n\r\nabc",
    "a folded first line": OK + b" X: a\r\nContent-Length: 3\r\n\r\nabc",
    "a bare CR in a value": OK + b"X: a\rContent-Length: 3\r\n\r\nabc",
    "a bare LF in a value": OK + b"X: a\nContent-Length: 3\r\n\r\nabc",
    "a NUL in a value": OK + b"X: a\x00b\r\nContent-Length: 3\r\n\r\nabc",
    "a name that is no token": OK + b"Content Length: 3\r\n\r\nabc",
    "no name": OK + b": 3\r\n\r\nabc",
    "no colon": OK + b"Content-Length 3\r\n\r\nabc",
    "bare LFs": b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
    "a bare LF at the end": OK + b"Content-Length: 3\r\n\nabc",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "another version": b"HTTP/2 200\r\n\r\n",
    "a version of the future": b"HTTP/1.2 200 OK\r\n\r\n",
    "an answer of HTTP/0.9": b"<html>hello</html>",
    "lower case": b"http/1.1 200 OK\r\n\r\n",
    "an empty line before it": b"\r\n" + ONE,
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status of none": b"HTTP/1.1 OK\r\n\r\n",
    "status 0": b"HTTP/1.1 000 OK\r\n\r\n",
    "status 600": b"HTTP/1.1 600 OK\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\n\r\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "chunks in an interim answer": b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks where there is no content": b"HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n",
    "interim answers without end": b"HTTP/1.1 100 Continue\r\n\r\n" * (MOST_INTERIM + 1),
    "64 kB of fields": OK + b"".join(b"X-%d: %b\r\n" % (n, b"x" * 1000) for n in range(64)),
    "a field of 64 kB": OK + b"X: " + b"x" * 65536,
    "too long by one byte": (OK + b"X: " + b"x" * LONGEST_HEAD)[: LONGEST_HEAD + 1],
}
BROKEN_CHUNKS = {
    "no size": b"\r\n",
    "a size with a prefix": b"0x3\r\nabc\r\n",
    "a signed size": b"+3\r\nabc\r\n",
    "a space before the size": b" 3\r\nabc\r\n",
    "a size of 17 digits": b"0" * 16 + b"3\r\nabc\r\n",
    "a bare LF after the size": b"3\nabc\r\n",
    "a bare CR in an extension": b"3;a\rb\r\nabc\r\n",
    "data that is longer": b"3\r\nabcd\r\n",
    "data that is shorter": b"4\r\nabc\r\n0\r\n\r\n",
    "a trailer without a colon": b"0\r\nHTTP/1.1 200 OK\r\n\r\n",
    "a folded trailer": b"0\r\na: b\r\n c\r\n\r\n",
    "trailers without end": b"0\r\n" + b"a: b\r\n" * 100,
    "a line without end": b"3;" + b"x" * 10_000,
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("cut", [lambda raw: [raw], bytewise], ids=["whole", "bytewise"])
def test_a_head_that_two_readers_could_read_in_two_ways_is_no_answer(
    raw: bytes, cut: Callable[[bytes], list[bytes]]
) -> None:
    """It is told as soon as it can be, and not when the registry has been silent for long."""
    bed = Bed()
    asked = bed.answer(*cut(raw))
    *before, last = asked.told
    assert isinstance(last, tuple)
    assert last[:2] == ("failed", 502)
    assert str(last[2]).startswith("its answer cannot be read: ")
    assert set(before) <= {("interim", 100)}
    assert bed.end.fate == "aborted"
    assert not bed.is_released


@pytest.mark.parametrize("raw", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS)
def test_chunks_are_read_strictly(raw: bytes) -> None:
    for pieces in ([raw], bytewise(raw)):
        bed = Bed()
        asked = bed.answer(IN_CHUNKS, *pieces)
        assert asked.told[0] == ("answered", 200)
        last = asked.told[-1]
        assert isinstance(last, tuple)
        assert last[:2] == ("failed", 502)
        assert bed.end.fate == "aborted"
        assert b"abc\r".startswith(asked.body)


def test_a_head_may_be_long() -> None:
    filled = OK + b"X: " + b"x" * (LONGEST_HEAD - 40) + b"\r\nContent-Length: 0\r\n\r\n"
    assert len(filled) > LONGEST_HEAD - 10
    assert Bed().answer(filled).told[-1] == "ended"


# An end in between.


@pytest.mark.parametrize("leave", [End.close, End.reset])
@pytest.mark.parametrize(
    ("raw", "is_first", "message", "fate"),
    [
        (b"", True, "without an answer", "broken"),
        (b"", False, "without an answer", "stale"),
        (b"HTTP/1.1 2", False, "in the middle of its answer", "broken"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False, "in the middle of its answer", "broken"),
        (ONE[:-1], False, "in the middle of its answer", "broken"),
        (IN_CHUNKS, False, "in the middle of its answer", "broken"),
        (IN_CHUNKS + b"3\r\none\r\n", False, "in the middle of its answer", "broken"),
        (IN_CHUNKS + b"3\r\none\r\n0\r\n", False, "in the middle of its answer", "broken"),
    ],
)
def test_an_answer_that_breaks_off_has_failed(
    leave: Callable[[End], End], raw: bytes, is_first: bool, message: str, fate: str
) -> None:
    """On a kept connection on which nothing has come the registry may not have seen the request."""
    bed = Bed()
    if not is_first:
        bed.answer(ONE)
    asked = bed.answer(raw)
    leave(bed.end)
    assert asked.told[-1] == ("failed", 502, f"it has closed the connection {message}", fate)


def test_an_answer_until_the_end_of_a_connection_that_breaks_off_has_failed() -> None:
    """A reset, or over TLS an end that the registry has not said itself, may have cut it off."""
    bed = Bed()
    asked = bed.answer(UNTIL_CLOSE + b"on")
    bed.end.reset()
    assert asked.told[-1] == (
        "failed",
        502,
        "it has closed the connection in the middle of its answer",
        "broken",
    )


# What nobody has asked for.


@pytest.mark.parametrize("raw", [b"x", TWO, b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
def test_what_comes_between_two_requests_ends_the_connection(raw: bytes) -> None:
    bed = Bed()
    bed.answer(ONE)
    assert bed.is_released
    assert bed.upstream.is_quiet()
    bed.end.send(raw)
    assert bed.end.fate == "aborted"
    assert not bed.upstream.is_quiet()


@pytest.mark.parametrize("raw", [ONE, IN_CHUNKS + b"3\r\none\r\n0\r\n\r\n"])
@pytest.mark.parametrize("more", [b"x", TWO, b"\r\n"])
def test_what_follows_an_answer_is_nobodys(raw: bytes, more: bytes) -> None:
    bed = Bed()
    asked = bed.answer(raw + more)
    assert asked.told == WHOLE
    assert asked.body == b"one"
    assert not bed.is_released
    assert bed.end.fate == "closed"


def test_what_follows_an_answer_that_has_no_body_is_nobodys() -> None:
    bed = Bed()
    asked = bed.answer(ONE, method=b"HEAD")
    assert asked.told == [("answered", 200), "ended"]
    assert not bed.is_released
    assert bed.end.fate == "closed"


def test_what_has_come_before_a_request_makes_the_connection_unfit() -> None:
    """The bytes may be in the kernel already when the connection is about to be used again."""
    bed = Bed()
    bed.answer(ONE)
    bed.end.is_reading = False
    bed.end.send(TWO)
    assert not bed.upstream.is_quiet()


# An answer before the request is whole.


def test_after_an_early_answer_the_connection_is_not_used_again() -> None:
    bed = Bed()
    asked = bed.ask(b"PUT", is_sent=False)
    bed.end.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    assert asked.told == [("answered", 413), "ended"]
    assert not bed.is_released
    assert bed.end.fate == "aborted"


def test_a_connection_that_has_not_taken_all_of_a_request_is_not_used_again() -> None:
    bed = Bed()
    bed.end.capacity = 100
    asked = bed.ask(b"PUT", is_sent=False)
    bed.upstream.write(b"x" * 200)
    bed.upstream.sent()
    bed.end.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    assert asked.told == ["hold", ("answered", 413), "ended"]
    assert not bed.is_released
    assert bed.end.fate == "aborted"


# Back-pressure.


def test_who_sends_a_body_waits_until_it_is_taken() -> None:
    bed = Bed()
    bed.end.capacity = 100
    asked = bed.ask(b"PUT", is_sent=False)
    bed.upstream.write(b"x" * 200)
    assert asked.told == ["hold"]
    bed.end.take()
    assert asked.told == ["hold", "resume"]
    bed.upstream.sent()
    bed.end.send(ONE)
    assert bed.is_released


def test_an_answer_waits_until_it_is_taken() -> None:
    bed = Bed()
    asked = bed.answer(OK + b"Content-Length: 6\r\n\r\none")
    bed.upstream.pause()
    bed.end.send(b"two")
    assert asked.body == b"one"
    bed.upstream.resume()
    bed.end.settle()
    assert asked.body == b"onetwo"
    assert asked.told == WHOLE


def test_who_pauses_an_answer_as_it_ends_leaves_the_connection_reading() -> None:
    bed = Bed()
    asked = bed.ask()
    asked.acts["content"] = bed.upstream.pause
    bed.end.send(ONE)
    assert asked.told == WHOLE
    assert bed.end.is_reading
    assert bed.answer(TWO).body == b"two"


# Time.


def test_silence_counts_only_while_the_registry_is_waited_for() -> None:
    bed = Bed()
    patience = 10.0
    asked = bed.ask(b"PUT", is_sent=False)
    bed.clock.advance(100)
    assert not bed.upstream.is_late(patience), "the client is slow"
    bed.end.capacity = 10
    bed.upstream.write(b"x" * 100)
    bed.clock.advance(patience + 1)
    assert bed.upstream.is_late(patience), "it does not take the body"
    bed.end.take()
    assert not bed.upstream.is_late(patience)
    bed.upstream.sent()
    bed.clock.advance(patience + 1)
    assert bed.upstream.is_late(patience), "it does not answer"
    bed.end.send(OK + b"Content-Length: 6\r\n\r\none")
    assert not bed.upstream.is_late(patience)
    bed.upstream.pause()
    bed.clock.advance(100)
    assert not bed.upstream.is_late(patience), "the client does not take the answer"
    bed.upstream.resume()
    assert not bed.upstream.is_late(patience)
    bed.clock.advance(patience + 1)
    assert bed.upstream.is_late(patience)
    bed.upstream.give_up(Unreachable(504, "too late"))
    assert asked.told[-1] == ("failed", 504, "too late", "broken")
    assert bed.end.fate == "aborted"
    bed.end.settle()
    assert asked.told[-1] == ("failed", 504, "too late", "broken")


# Who asks may leave, or ask again, at any moment.


@pytest.mark.parametrize("when", ["interim", "answered", "content"])
def test_who_leaves_is_told_nothing_more(when: str) -> None:
    bed = Bed()
    asked = bed.ask()
    asked.acts[when] = bed.upstream.abandon
    bed.end.send(b"HTTP/1.1 100 Continue\r\n\r\n" + ONE)
    last = asked.told[-1]
    assert (last if isinstance(last, str) else last[0]) == when  # type: ignore[index]
    assert bed.end.fate == "aborted"
    assert not bed.is_released


def test_a_connection_may_be_asked_the_next_thing_while_its_answer_ends() -> None:
    bed = Bed()
    first, second = bed.ask(), Asked()

    def ask_next(upstream: Upstream) -> None:
        upstream.ask(b"GET / HTTP/1.1\r\n\r\n", b"GET", second)
        upstream.sent()

    end = new_end(Upstream(ask_next, lambda upstream: None, bed.clock.seconds))
    end.protocol.ask(b"GET / HTTP/1.1\r\n\r\n", b"GET", first)
    end.protocol.sent()
    end.send(ONE)
    assert (first.told, first.body) == (WHOLE, b"one")
    assert second.told == []
    end.send(TWO)
    assert (second.told, second.body) == (WHOLE, b"two")
    assert first.told == WHOLE
