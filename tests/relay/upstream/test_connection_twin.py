"""Answers of registries as another reader finds them, with h11 as the twin."""

from itertools import pairwise

import h11
from hypothesis import example, given
from hypothesis import strategies as st

from .test_connection import IN_CHUNKS, OK, UNTIL_CLOSE, Bed, bytewise

# h11 as the twin: whatever is an answer here is the same answer there.


def by_h11(raw: bytes, method: bytes, has_ended: bool) -> tuple[list[int], bytes, bool] | None:
    """The statuses, the body and whether it is whole, as h11 reads them; None if it refuses."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"h")]))
    reader.send(h11.EndOfMessage())
    statuses, body = [], b""
    try:
        reader.receive_data(raw)
        if has_ended:
            reader.receive_data(b"")
        while (event := reader.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response | h11.InformationalResponse):
                statuses.append(event.status_code)
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return statuses, body, True
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                break
    except h11.RemoteProtocolError:
        return None
    return statuses, body, False


def by_us(
    pieces: list[bytes], method: bytes, has_ended: bool
) -> tuple[list[int], bytes, bool] | None:
    """The same, as it is read here."""
    bed = Bed()
    asked = bed.answer(*pieces, method=method)
    if has_ended and bed.end.fate == "open":
        bed.end.close()
    statuses = [each[1] for each in asked.told if isinstance(each, tuple) and len(each) == 2]
    ends = [each for each in asked.told if each == "ended" or each[0] == "ended"]  # type: ignore[index]
    if any(isinstance(each, tuple) and each[0] == "failed" for each in asked.told):
        return None
    return [status for status in statuses if isinstance(status, int)], asked.body, bool(ends)


FRAGMENTS = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 No\r\n"),
        *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 304 Not\r\n", b"HTTP/1.1 404\r\n"),
        *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"content-length:5 \r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"X: \xff\r\n", b"X:\r\n"),
        *(b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b" ", b"\t", b"x", b":", b"\x00"),
        *(b"hello", b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\n", b"5;a=b\r\n", b"a: b\r\n"),
    ]
)


@given(
    st.one_of(
        st.lists(FRAGMENTS, max_size=9),
        st.lists(FRAGMENTS, max_size=5).map(lambda rest: [OK, *rest]),
    ).map(b"".join),
    st.sampled_from([b"GET", b"HEAD", b"PUT"]),
    st.booleans(),
)
@example(OK + b"Content-Length: 5\r\n\r\nhello", b"GET", False)
@example(OK + b"\r\nhello", b"GET", True)
@example(IN_CHUNKS + b"5\r\nhello\r\n0\r\na: b\r\n\r\n", b"GET", False)
def test_what_is_an_answer_here_is_the_same_to_another_reader(
    raw: bytes, method: bytes, has_ended: bool
) -> None:
    """h11 is more generous, so that it may have an answer where there is none here."""
    whole = by_us([raw], method, has_ended)
    if whole is not None and whole[2]:
        assert by_h11(raw, method, has_ended) == whole
    assert by_us(bytewise(raw), method, has_ended) == whole


@given(
    st.lists(st.binary(max_size=40), max_size=5),
    st.sampled_from(["counted", "chunked", "until close"]),
    st.lists(st.integers(0, 400), max_size=5),
)
def test_whatever_is_sent_comes(contents: list[bytes], framing: str, cuts: list[int]) -> None:
    body = b"".join(contents)
    if framing == "counted":
        raw = OK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    elif framing == "chunked":
        chunks = (b"%x\r\n%b\r\n" % (len(each), each) for each in contents if each)
        raw = IN_CHUNKS + b"".join(chunks) + b"0\r\n\r\n"
    else:
        raw = UNTIL_CLOSE + body
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [raw[start:end] for start, end in pairwise(edges)]
    expected = ([200], body, True)
    assert by_us(pieces, b"GET", framing == "until close") == expected
