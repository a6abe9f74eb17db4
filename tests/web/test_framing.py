"""What is in a body, whatever its framing and however its bytes come (RFC 9112 §6 and §7)."""

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.answers import Refusal
from regroute.web.framing import MOST_TRAILERS, Chunked, Counted, Framing, UntilClose

from .test_body import FRAGMENTS, bytewise

NEXT = b"GET /next"


def read(framing: Framing, pieces: list[bytes]) -> tuple[bytes, bytes | None] | str:
    """The content and what comes after the body, None if it goes on; or why it is none."""
    content, rest = b"", None
    try:
        for piece in pieces:
            if rest is not None:
                rest += piece
                continue
            more, end = framing.take(piece)
            content += more
            rest = None if end is None else piece[end:]
    except Refusal as refusal:
        return refusal.message
    return content, rest


def cut(raw: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(each, len(raw)) for each in cuts), len(raw)]
    return [raw[start:end] for start, end in pairwise(edges)]


CUTS = st.lists(st.integers(0, 200), max_size=5)


@given(st.binary(max_size=100), st.integers(0, 120), CUTS)
def test_a_counted_body_has_its_length_and_no_more(
    raw: bytes, length: int, cuts: list[int]
) -> None:
    framing = Counted(length)
    rest = raw[length:] if len(raw) >= length else None
    got = read(framing, cut(raw, cuts))
    if length:
        assert got == (raw[:length], rest)
    assert framing.left == max(length - len(raw), 0)


@given(st.binary(max_size=100), CUTS)
def test_a_body_until_its_connection_closes_is_all_that_comes(raw: bytes, cuts: list[int]) -> None:
    framing = UntilClose()
    assert read(framing, cut(raw, cuts)) == (raw, None)
    assert (framing.left, framing.trailers) == (0, ())


TRAILERS = st.lists(
    st.tuples(
        st.from_regex(rb"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True),
        st.from_regex(rb"[!-~]?", fullmatch=True),
    ),
    max_size=3,
)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), TRAILERS, CUTS)
def test_chunks_are_their_data_and_have_trailers_after_them(
    chunks: list[bytes], trailers: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    raw = b"".join(b"%X;x=y\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    raw += b"0\r\n" + b"".join(b"%b: \t%b \r\n" % field for field in trailers) + b"\r\n"
    for pieces in (cut(raw + NEXT, cuts), bytewise(raw + NEXT)):
        framing = Chunked()
        assert read(framing, pieces) == (b"".join(chunks), NEXT)
        assert framing.trailers == tuple((name.lower(), value) for name, value in trailers)
        assert framing.left == 0


def by_h11(raw: bytes) -> tuple[bytes, bytes | None]:
    """The content as h11 reads it, and what comes after it."""
    reader, content = h11.Connection(h11.SERVER), b""
    reader.receive_data(b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
    while (event := reader.next_event()) is not h11.NEED_DATA:
        if isinstance(event, h11.Data):
            content += bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            return content, reader.trailing_data[0]
    return content, None


@given(st.lists(FRAGMENTS, max_size=12).map(b"".join), CUTS)
def test_chunks_have_the_data_that_another_reader_finds(raw: bytes, cuts: list[int]) -> None:
    """What is refused here may be none there: h11 is more generous."""
    whole = read(Chunked(), [raw])
    if not isinstance(whole, str):
        content, rest = by_h11(raw)
        assert rest == whole[1]
        # h11 waits for the end of a chunk's line; here data goes on as it comes.
        assert whole[0].startswith(content)
    got = read(Chunked(), cut(raw, cuts))
    assert isinstance(got, str) == isinstance(whole, str)
    assert isinstance(got, str) or got == whole


def test_a_chunk_that_goes_on_says_how_much_is_left() -> None:
    framing = Chunked()
    assert framing.take(b"5;x\r\nhe") == (b"he", None)
    assert framing.left == 3
    assert framing.take(b"llo") == (b"llo", None)
    assert framing.left == 0


@pytest.mark.parametrize(
    ("raw", "is_fine"),
    [
        (b"1\r\nx\r\n" * 3, True),
        (b"1;x=y\r\nx\r\n" * 3, True),
        (b"3a\r\n" + b"x" * 0x3A + b"\r\n", False),
        (b"100\r\n" + b"x" * 100, False),
        (b"1;" + b"x" * 100 + b"\r\nx\r\n", False),
    ],
)
def test_chunks_are_fine_where_they_are_many_for_their_bytes(raw: bytes, is_fine: bool) -> None:
    framing = Chunked()
    framing.take(raw)
    assert framing.is_fine == is_fine


@pytest.mark.parametrize(("count", "is_fine"), [(MOST_TRAILERS, True), (MOST_TRAILERS + 1, False)])
def test_so_many_trailers_and_no_more(count: int, is_fine: bool) -> None:
    raw = b"0\r\n" + b"a: b\r\n" * count + b"\r\n"
    got = read(Chunked(), [raw])
    assert got == ((b"", b"") if is_fine else "there are too many trailer fields")
