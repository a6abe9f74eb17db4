"""The head of a registry's answer: how it is read, what is refused, and how it goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.relay.upstream.hops import end_to_end
from regroute.relay.upstream.response import Broken, ResponseHead, read_head, render

OK = b"HTTP/1.1 200 OK"
LENGTH = b"Content-Length: 5"


def head(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


BROKEN = {
    "another version": head(b"HTTP/2.0 200 OK"),
    "no status": head(b"HTTP/1.1 OK"),
    "a status of four digits": head(b"HTTP/1.1 2000 OK"),
    "a status that is none": head(b"HTTP/1.1 600 Odd"),
    "a control character in the reason": head(b"HTTP/1.1 200 O\x00K"),
    "a space before the colon": head(OK, b"Content-Length : 5"),
    "a line that is folded": head(OK, b"A: b", b" c"),
    "a name that is no token": head(OK, b"A B: c"),
    "a line without a colon": head(OK, b"A"),
    "a control character in a value": head(OK, b"A: b\x7fc"),
    "a bare line feed": head(OK, b"A: b\nContent-Length: 5"),
    "a bare carriage return": head(OK, b"A: b\rContent-Length: 5"),
    "two lengths": head(OK, LENGTH, LENGTH),
    "two lengths in a line": head(OK, b"Content-Length: 5, 5"),
    "a negative length": head(OK, b"Content-Length: -5"),
    "a length that is no number": head(OK, b"Content-Length: five"),
    "an empty length": head(OK, b"Content-Length:"),
    "a length and chunks": head(OK, LENGTH, b"Transfer-Encoding: chunked"),
    "chunks, and a length after other fields": head(
        OK, b"transfer-encoding: chunked", b"A: b", b"CONTENT-LENGTH: 5"
    ),
    "a coding that is not known": head(OK, b"Transfer-Encoding: gzip, chunked"),
    "chunks twice": head(OK, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunks in HTTP/1.0": head(b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked"),
    "chunks without content": head(b"HTTP/1.1 204 No", b"Transfer-Encoding: chunked"),
    "chunks of an interim answer": head(b"HTTP/1.1 100 Go", b"Transfer-Encoding: chunked"),
    "another protocol": head(b"HTTP/1.1 101 Switch", b"Upgrade: h2c"),
    "another protocol, with a length": head(b"HTTP/1.1 101 Switch", LENGTH),
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_what_could_be_read_in_two_ways_is_no_answer(raw: bytes) -> None:
    with pytest.raises(Broken):
        read_head(raw)


@pytest.mark.parametrize(
    ("raw", "persists"),
    [
        (head(OK, LENGTH), True),
        (head(OK, LENGTH, b"Connection: keep-alive"), True),
        (head(OK, LENGTH, b"Connection: close"), False),
        (head(OK, LENGTH, b"connection: x, CLOSE "), False),
        (head(OK, LENGTH, b"Connection: keep-alive", b"Connection: close"), False),
        (head(b"HTTP/1.0 200 OK", LENGTH), False),
        (head(b"HTTP/1.0 200 OK", LENGTH, b"Connection: keep-alive"), False),
    ],
)
def test_a_connection_goes_on_unless_it_is_said_to_end(raw: bytes, persists: bool) -> None:
    """RFC 9112 §9.3; HTTP/1.0 never goes on."""
    assert read_head(raw).persists is persists


@pytest.mark.parametrize(
    ("line", "leads"),
    [
        (b"Location: /v2/", True),
        (b"LINK: </v2/>; rel=next", True),
        (b"Content-Location: /", True),
        (b"X-Location: /v2/", False),
        (b"X: location: /", False),
    ],
)
def test_it_leads_somewhere_where_a_field_names_a_place(line: bytes, leads: bool) -> None:
    for lines in ((OK, line, LENGTH), (OK, LENGTH, line), (OK, line)):
        assert read_head(head(*lines)).leads is leads


def test_fields_are_kept_with_their_case_order_and_repetitions() -> None:
    read = read_head(head(OK, b"B:1", b"a: \t2 \t", b"B: ", b"b: 1"))
    assert read.fields == ((b"B", b"1"), (b"a", b"2"), (b"B", b""), (b"b", b"1"))
    assert read.lines(b"b") == [b"1", b"", b"1"]


# How it goes on.


def said(opening: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The status line, and the fields in some order."""
    line, *fields = opening.removesuffix(b"\r\n").split(b"\r\n")
    split = (field.partition(b":") for field in fields)
    return line, sorted((name.lower(), value.strip(b" \t")) for name, _, value in split)


def naive(read: ResponseHead) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The same, field by field."""
    framing = {b"content-length"} | ({b"trailer"} if read.is_bodiless else set())
    fields = [field for field in end_to_end(read.fields) if field[0].lower() not in framing]
    if read.length is not None and not read.is_bodiless:
        fields.append((b"Content-Length", b"%d" % read.length))
    return said(render(read.status, read.reason, fields).removesuffix(b"\r\n"))


_PLAIN = st.sampled_from([b"Connection: keep-alive", b"Content-Length: 17", b"Etag: x", b"X:"])
_NAMES = st.sampled_from(
    [b"Connection", b"Content-Length", b"Etag", b"Keep-Alive", b"Link", b"TE", b"Trailer", b"X"]
)
_VALUES = st.sampled_from([b"", b"0", b"17 ", b"keep-alive", b"Keep-Alive", b"X", b"x, etag"])
_FIELDS = st.builds(b"%b:%b%b".__mod__, st.tuples(_NAMES, st.sampled_from([b"", b"\t "]), _VALUES))


@given(
    line=st.sampled_from(
        [OK, b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.1 304 Same"]
    ),
    fields=st.lists(_PLAIN, max_size=5) | st.lists(_PLAIN | _FIELDS, max_size=5),
)
def test_what_goes_on_is_the_same_as_field_by_field(line: bytes, fields: list[bytes]) -> None:
    """Also where most of the head goes on as it has come."""
    try:
        read = read_head(head(line, *fields))
    except Broken:
        return
    assert said(read.opening) == naive(read)
    assert read.opening.startswith(b"HTTP/1.1 %d " % read.status)
    assert read.opening.endswith(b"\r\n")
