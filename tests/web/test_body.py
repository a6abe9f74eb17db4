"""The body of a request: where it ends, however its bytes come (RFC 9112 §6 and §7.1)."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regroute.answers import Refusal
from regroute.web.body import LIMIT, Body, TooLong, framing_of
from regroute.web.strict import read_head

NEXT = b"GET /next HTTP/1.1\r\n"


def counted(length: int) -> Body:
    return body_of(b"Content-Length: %d" % length)


def chunked() -> Body:
    return body_of(b"Transfer-Encoding: chunked")


def body_of(field: bytes) -> Body:
    framing = framing_of(read_head(b"PUT / HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % field))
    assert framing is not None
    return Body(framing)


def outcome(body: Body, pieces: Iterable[bytes]) -> bytes | str | None:
    """What is left after the body's end, or what it comes to instead; None while it goes on."""
    rest: bytes | None = None
    try:
        for piece in pieces:
            rest = body.take(piece) if rest is None else rest + piece
    except TooLong:
        return "too long"
    except Refusal as refusal:
        return f"{refusal.status} {refusal.message}"
    return rest


def bytewise(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]


def test_a_counted_body_ends_after_its_length() -> None:
    body = counted(5)
    assert body.take(b"") is None
    assert body.take(b"abc") is None
    assert body.take(b"de" + NEXT) == NEXT


@pytest.mark.parametrize("length", [1, LIMIT - 1, LIMIT])
def test_a_counted_body_of_up_to_64_kib_is_read(length: int) -> None:
    assert counted(length).take(b"x" * length + NEXT) == NEXT


@pytest.mark.parametrize("length", [LIMIT + 1, 10**17])
def test_a_counted_body_beyond_64_kib_is_given_up_before_it_comes(length: int) -> None:
    with pytest.raises(TooLong):
        counted(length)


WELL_FORMED = {
    "empty": b"0\r\n\r\n",
    "one chunk": b"5\r\nhello\r\n0\r\n\r\n",
    "two chunks": b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
    "sizes in either case": b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
    "leading zeros": b"0005\r\nhello\r\n000\r\n\r\n",
    "data that looks like framing": b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n",
    "an extension": b"5;a=b\r\nhello\r\n0;c\r\n\r\n",
    "an extension after spaces": b'5 \t; a = "b c"\r\nhello\r\n0\r\n\r\n',
    "a trailer field": b"0\r\nExpires: never\r\n\r\n",
    "two trailer fields": b"1\r\nx\r\n0\r\na: b\r\nc:\r\n\r\n",
}


@pytest.mark.parametrize("raw", WELL_FORMED.values(), ids=WELL_FORMED)
def test_a_chunked_body_ends_after_its_trailer(raw: bytes) -> None:
    assert outcome(chunked(), [raw + NEXT]) == NEXT
    assert outcome(chunked(), bytewise(raw + NEXT)) == NEXT
    assert outcome(chunked(), [raw[:-1]]) is None


MALFORMED = {
    "no size": b"\r\nhello\r\n",
    "a size that is no number": b"five\r\nhello\r\n",
    "a signed size": b"+5\r\nhello\r\n",
    "a negative size": b"-1\r\n",
    "a size with a prefix": b"0x5\r\nhello\r\n",
    "a size with an underscore": b"1_0\r\n",
    "a space before the size": b" 5\r\nhello\r\n",
    "a space after the size": b"5 \r\nhello\r\n",
    "a size of 17 digits": b"00000000000000005\r\nhello\r\n",
    "two sizes": b"5 5\r\nhello\r\n",
    "a comma": b"5,a\r\nhello\r\n",
    "a lone LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "a lone LF in an extension": b"5;a\nb\r\nhello\r\n",
    "a lone CR in an extension": b"5;a\rb\r\nhello\r\n",
    "a control character in an extension": b"5;\x00\r\nhello\r\n",
    "two CRs": b"5\r\r\nhello\r\n",
    "data that is longer": b"5\r\nhello!\r\n0\r\n\r\n",
    "data that is shorter": b"5\r\nhell\r\n0\r\n\r\n",
    "a lone LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "a lone LF at the end": b"0\r\n\n",
    "a lone LF in the last size": b"0\n\r\n",
    "a lone LF in the trailer": b"0\r\na: b\n\r\n",
    "a trailer without a colon": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "a folded trailer": b"0\r\na: b\r\n c\r\n\r\n",
    "a trailer with a NUL": b"0\r\na: \x00\r\n\r\n",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_malformed_chunks_are_refused(raw: bytes) -> None:
    whole = outcome(chunked(), [raw])
    assert str(whole).startswith("400 ")
    assert outcome(chunked(), bytewise(raw)) == whole


def chunks_of(total: int) -> bytes:
    """A chunked body that takes `total` bytes as it is sent."""
    framing = len(b"ffff\r\n" + b"\r\n" + b"0\r\n\r\n")
    size = total - framing
    return b"%04x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size)


@pytest.mark.parametrize("pieces", [lambda raw: [raw], bytewise], ids=["whole", "bytewise"])
@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (chunks_of(LIMIT) + NEXT, NEXT),
        (chunks_of(LIMIT + 1) + NEXT, "too long"),
        (b"%x\r\n" % (LIMIT + 1), "too long"),
        (b"F" * 16 + b"\r\n", "too long"),
        (b"5;" + b"x" * LIMIT, "400 a line between chunks is too long"),
        (b"0\r\n" + b"a: b\r\n" * LIMIT, "400 there are too many trailer fields"),
        (b"0\r\na: b\r\n\r\n" + b"x" * LIMIT, b"x" * LIMIT),
        (b"1\r\nx\r\n" * (LIMIT // 6) + b"broken", "too long"),
    ],
    ids=["64 KiB", "64 KiB and one", "told", "vast", "extension", "trailers", "next", "broken"],
)
def test_chunks_are_read_up_to_64_kib_as_they_are_sent(
    raw: bytes, expected: bytes | str, pieces: Callable[[bytes], list[bytes]]
) -> None:
    assert outcome(chunked(), pieces(raw)) == expected


def by_h11(raw: bytes) -> bytes | None:
    """What h11 finds after the end of a chunked body; None if it finds no end."""
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
    try:
        while (event := reader.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.EndOfMessage):
                return reader.trailing_data[0]
    except h11.RemoteProtocolError:
        pass
    return None


FRAGMENTS = st.sampled_from(
    [
        *(b"0", b"1", b"5", b"a", b"F", b"hello", b"x", b";", b" ", b"\t", b"a: b", b":", b"-"),
        *(b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"0\r\n\r\n", b"5\r\nhello\r\n", b"\x00"),
    ]
)


@given(st.lists(FRAGMENTS, max_size=12).map(b"".join), st.lists(st.integers(0, 60), max_size=4))
@example(b"0\r\n\n" + NEXT, [])
@example(b"5;\r\r\nhello\r\n0\r\n\r\n", [])
def test_a_body_ends_where_another_reader_finds_its_end_however_it_is_cut(
    raw: bytes, cuts: list[int]
) -> None:
    """h11 is more generous, so that it may find an end where there is a refusal here."""
    whole = outcome(chunked(), [raw])
    if isinstance(whole, bytes):
        assert whole == by_h11(raw)
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [raw[start:end] for start, end in pairwise(edges)]
    assert outcome(chunked(), pieces) == whole
    assert outcome(chunked(), bytewise(raw)) == whole


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.binary(max_size=20))
def test_whatever_is_sent_in_chunks_is_read_to_its_end(data: list[bytes], rest: bytes) -> None:
    raw = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in data) + b"0\r\n\r\n"
    assert outcome(chunked(), [raw + rest]) == rest
    assert outcome(chunked(), bytewise(raw + rest)) == rest
