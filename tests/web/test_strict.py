"""The head of a request (RFC 9112 §2 to §6): what is refused, and what is read how."""

import re
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regroute.answers import Refusal
from regroute.web.strict import Head, has_bare_lf, read_head

PLAIN = b"GET /v2/a/tags/list?n=1 HTTP/1.1\r\nHost: r.example:443\r\nAccept: */*\r\n\r\n"


def head(line: bytes = b"GET / HTTP/1.1", *fields: bytes, host: bytes = b"Host: h") -> bytes:
    lines = [line, *([host] if host else []), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def framed(*fields: bytes) -> bytes:
    return head(b"POST / HTTP/1.1", *fields)


VIOLATIONS = {
    # The request line, §3.
    "nothing": b"\r\n\r\n",
    "no target": head(b"GET HTTP/1.1"),
    "no version": head(b"GET /"),
    "an empty target": head(b"GET  HTTP/1.1"),
    "two spaces": head(b"GET  / HTTP/1.1"),
    "two spaces before the version": head(b"GET /  HTTP/1.1"),
    "a space in the target": head(b"GET /a b HTTP/1.1"),
    "a space before the method": head(b" GET / HTTP/1.1"),
    "a space after the version": head(b"GET / HTTP/1.1 "),
    "a tab for a space": head(b"GET\t/ HTTP/1.1"),
    "a tab before the version": head(b"GET /\tHTTP/1.1"),
    "a tab in the target": head(b"GET /a\tb HTTP/1.1"),
    "a vertical tab": head(b"GET\x0b/ HTTP/1.1"),
    "a NUL in the target": head(b"GET /a\x00b HTTP/1.1"),
    "a bare CR in the target": head(b"GET /a\rb HTTP/1.1"),
    "a bare CR before the line's end": head(b"GET / HTTP/1.1\r"),
    "a bare LF for the line's end": b"GET / HTTP/1.1\nHost: h\r\n\r\n",
    "a method that is no token": head(b"G(T / HTTP/1.1"),
    "a method beyond ASCII": head(b"G\xc9T / HTTP/1.1"),
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2.0": head(b"GET / HTTP/2.0"),
    "HTTP/1.2": head(b"GET / HTTP/1.2"),
    "HTTP/1.10": head(b"GET / HTTP/1.10"),
    "HTTP/1": head(b"GET / HTTP/1"),
    "a version in lower case": head(b"GET / http/1.1"),
    "a version of another protocol": head(b"GET / ICY/1.1"),
    "a version in full-width digits": head("GET / HTTP/\uff11.\uff11".encode()),
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    # The target, §3.2.
    "CONNECT": head(b"CONNECT h:443 HTTP/1.1"),
    "CONNECT with a path": head(b"CONNECT / HTTP/1.1"),
    "authority-form": head(b"GET h:443 HTTP/1.1"),
    "asterisk-form with GET": head(b"GET * HTTP/1.1"),
    "a relative path": head(b"GET .evil.example/ HTTP/1.1"),
    "an at sign first": head(b"GET @evil.example/ HTTP/1.1"),
    "a port first": head(b"GET :8443/ HTTP/1.1"),
    "a query alone": head(b"GET ?a HTTP/1.1"),
    "another scheme": head(b"GET ftp://h/ HTTP/1.1"),
    "a scheme without slashes": head(b"GET http:h/ HTTP/1.1"),
    "absolute-form with a user": head(b"GET http://u@h/ HTTP/1.1"),
    "absolute-form with a broken port": head(b"GET http://h:x/ HTTP/1.1"),
    # Host, §3.2.
    "no Host": head(host=b""),
    "two Hosts": head(b"GET / HTTP/1.1", b"Host: h"),
    "two Hosts, one empty": head(b"GET / HTTP/1.1", b"Host:"),
    "two Hosts in HTTP/1.0": head(b"GET / HTTP/1.0", b"host: h"),
    "two Hosts in one line": head(host=b"Host: a b"),
    "a Host with a user": head(host=b"Host: u@h"),
    "a Host with a path": head(host=b"Host: h/p"),
    "a Host with a scheme": head(host=b"Host: http://h"),
    "a Host with a port that is none": head(host=b"Host: h:x"),
    "a Host with two ports": head(host=b"Host: h:1:2"),
    "a Host that is a port": head(host=b"Host: :80"),
    "a Host with a bare IPv6 address": head(host=b"Host: ::1"),
    "a Host with half a bracket": head(host=b"Host: [::1"),
    "a Host with brackets around a name": head(host=b"Host: [h]"),
    "a Host beyond ASCII": head(host=b"Host: h\xe9"),
    "a Host with a quote": head(host=b'Host: h"'),
    "a Host with a broken escape": head(host=b"Host: h%zz"),
    # Fields, §5.
    "a space before the colon": head(b"GET / HTTP/1.1", b"Accept : a"),
    "a tab before the colon": head(b"GET / HTTP/1.1", b"Accept\t: a"),
    "no colon": head(b"GET / HTTP/1.1", b"Accept"),
    "no name": head(b"GET / HTTP/1.1", b": a"),
    "a name with a slash": head(b"GET / HTTP/1.1", b"a/b: a"),
    "a name beyond ASCII": head(b"GET / HTTP/1.1", b"\xe9: a"),
    "a folded line": head(b"GET / HTTP/1.1", b"Accept: a", b" b"),
    "a line folded by a tab": head(b"GET / HTTP/1.1", b"Accept: a", b"\tb"),
    "a folded line before all fields": head(host=b" Host: h"),
    "a folded Host": head(b"GET / HTTP/1.1", b" x"),
    "a NUL in a value": head(b"GET / HTTP/1.1", b"a: b\x00c"),
    "a bare CR in a value": head(b"GET / HTTP/1.1", b"a: b\rc"),
    "a bare CR before the colon": head(b"GET / HTTP/1.1", b"a\r: b"),
    "a bare LF in a value": head(b"GET / HTTP/1.1", b"a: b\nHost: evil"),
    "an escape character in a value": head(b"GET / HTTP/1.1", b"a: \x1b[2J"),
    "DEL in a value": head(b"GET / HTTP/1.1", b"a: \x7f"),
    # Framing, §6.
    "both length and chunks": framed(b"Content-Length: 4", b"Transfer-Encoding: chunked"),
    "chunks, then a length": framed(b"Transfer-Encoding: chunked", b"Content-Length: 0"),
    "two lengths": framed(b"Content-Length: 4", b"Content-Length: 5"),
    "two equal lengths": framed(b"Content-Length: 4", b"Content-Length: 4"),
    "a list of lengths": framed(b"Content-Length: 4, 4"),
    "a signed length": framed(b"Content-Length: +4"),
    "a negative length": framed(b"Content-Length: -1"),
    "a length with an underscore": framed(b"Content-Length: 1_0"),
    "a length in hex": framed(b"Content-Length: 0x4"),
    "a length with a fraction": framed(b"Content-Length: 4.0"),
    "an empty length": framed(b"Content-Length:"),
    "a length of digits beyond ASCII": framed("Content-Length: ٤".encode()),
    "a length of 4,000 digits": framed(b"Content-Length: " + b"9" * 4000),
    "an unknown coding": framed(b"Transfer-Encoding: gzip"),
    "two codings": framed(b"Transfer-Encoding: gzip, chunked"),
    "chunked twice": framed(b"Transfer-Encoding: chunked, chunked"),
    "chunked in two lines": framed(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "identity": framed(b"Transfer-Encoding: identity"),
    "an empty coding": framed(b"Transfer-Encoding:"),
    "a coding with a control character": framed(b"Transfer-Encoding: \x0bchunked"),
    "a coding with a parameter": framed(b"Transfer-Encoding: chunked;a=b"),
    "chunks in HTTP/1.0": head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"),
}


@pytest.mark.parametrize("raw", VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_violation_is_refused_with_400(raw: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        read_head(raw)
    assert refused.value.status == 400
    assert re.fullmatch(r"[ -~]+", refused.value.message)


ODD_BUT_LEGAL: dict[str, tuple[bytes, bytes]] = {
    "an unknown method": (head(b"BREW / HTTP/1.1"), b"/"),
    "a method in lower case": (head(b"get / HTTP/1.1"), b"/"),
    "a method of symbols": (head(b"!#$%&'*+-.^_`|~ / HTTP/1.1"), b"/"),
    "two slashes first": (head(b"GET //evil.example/ HTTP/1.1"), b"//evil.example/"),
    "an empty query": (head(b"GET /? HTTP/1.1"), b"/?"),
    "bytes beyond ASCII": (head(b"GET /\xc3\xa9\x80\xff HTTP/1.1"), b"/%C3%A9%80%FF"),
    "DEL": (head(b"GET /\x7f HTTP/1.1"), b"/%7F"),
    "markup": (head(b"GET /<b>\"'\\^`{|} HTTP/1.1"), b"/<b>\"'\\^`{|}"),
    "a broken escape": (head(b"GET /%zz% HTTP/1.1"), b"/%zz%"),
    "absolute-form": (head(b"GET http://other/a?b HTTP/1.1"), b"http://other/a?b"),
    "absolute-form in capitals": (head(b"GET HTTPS://O/a HTTP/1.1"), b"HTTPS://O/a"),
    "OPTIONS *": (head(b"OPTIONS * HTTP/1.1"), b"/"),
    "HTTP/1.0 without Host": (b"GET /a HTTP/1.0\r\n\r\n", b"/a"),
    "an empty Host": (head(host=b"Host:"), b"/"),
    "an IPv6 Host": (head(host=b"Host: [2001:db8::1]:10000"), b"/"),
    "a Host with an empty port": (head(host=b"Host: h:"), b"/"),
    "a Host in capitals with spaces around": (head(host=b"HOST: \t H.EXAMPLE \t"), b"/"),
    "an empty value": (head(b"GET / HTTP/1.1", b"a:"), b"/"),
    "a value beyond ASCII": (head(b"GET / HTTP/1.1", b"a: \xc3\xa9"), b"/"),
    "a tab in a value": (head(b"GET / HTTP/1.1", b"a: b\tc"), b"/"),
    "a name of symbols": (head(b"GET / HTTP/1.1", b"!#$%&'*+-.^_`|~: a"), b"/"),
    "a colon in a value": (head(b"GET / HTTP/1.1", b"a:: b"), b"/"),
    "a length with leading zeros": (framed(b"Content-Length: 0004"), b"/"),
    "chunked in capitals": (framed(b"Transfer-Encoding: CHUNKED"), b"/"),
}


@pytest.mark.parametrize(("raw", "target"), ODD_BUT_LEGAL.values(), ids=ODD_BUT_LEGAL)
def test_what_is_odd_but_legal_is_read(raw: bytes, target: bytes) -> None:
    assert read_head(raw).target == target


def test_a_head_is_read_into_its_parts() -> None:
    read = read_head(PLAIN)
    assert read == Head(
        b"GET",
        b"/v2/a/tags/list?n=1",
        b"1.1",
        ((b"host", b"r.example:443"), (b"accept", b"*/*")),
    )
    assert (read.is_chunked, read.content_length, read.persists) == (False, 0, True)


def test_the_lines_of_a_field_are_kept_apart_and_in_order() -> None:
    read = read_head(head(b"GET / HTTP/1.1", b"Accept: a, b", b"X: y", b"ACCEPT:c"))
    assert read.lines(b"accept") == [b"a, b", b"c"]


@pytest.mark.parametrize(
    ("fields", "version", "persists"),
    [
        ((), b"1.1", True),
        ((b"Connection: keep-alive",), b"1.1", True),
        ((b"Connection: close",), b"1.1", False),
        ((b"Connection: CLOSE",), b"1.1", False),
        ((b"Connection: Close, TE",), b"1.1", False),
        ((b"Connection: TE,close",), b"1.1", False),
        ((b"Connection: ,, \t close\t,",), b"1.1", False),
        ((b"Connection: TE", b"Connection: close"), b"1.1", False),
        ((b"Connection: keep-alive", b"Connection: te", b"connection: close"), b"1.1", False),
        ((b"Connection: closed",), b"1.1", True),
        ((b"Connection: not-close, x",), b"1.1", True),
        ((b"X-Connection: close",), b"1.1", True),
        ((), b"1.0", False),
        ((b"Connection: keep-alive",), b"1.0", False),
    ],
)
def test_the_connection_ends_after_close_in_any_line_and_after_http_1_0(
    fields: tuple[bytes, ...], version: bytes, persists: bool
) -> None:
    assert read_head(head(b"GET / HTTP/" + version, *fields)).persists is persists


@pytest.mark.parametrize(
    ("line", "fields", "expects"),
    [
        (b"PUT / HTTP/1.1", (b"Expect: 100-continue",), True),
        (b"PUT / HTTP/1.1", (b"Expect: 100-Continue",), True),
        (b"PUT / HTTP/1.1", (b"Expect: something-else",), False),
        (b"PUT / HTTP/1.1", (), False),
        (b"PUT / HTTP/1.0", (b"Expect: 100-continue",), False),
    ],
)
def test_only_http_1_1_waits_for_a_100(
    line: bytes, fields: tuple[bytes, ...], expects: bool
) -> None:
    assert read_head(head(line, *fields)).expects_continue is expects


def check_read(raw: bytes) -> None:
    """Whatever the bytes are: a head without a trace of a line's end in it, or a refusal."""
    with suppress(Refusal):
        check_head(read_head(raw))


def check_head(read: Head) -> None:
    assert re.fullmatch(rb"(/|(?i:https?)://)[!-~]*", read.target)
    for name, value in read.fields:
        assert re.fullmatch(rb"[!-9;-~]+", name)
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value)
    assert not (read.is_chunked and read.lines(b"content-length"))
    assert isinstance(read.persists, bool)
    assert isinstance(read.expects_continue, bool)
    assert read.content_length >= 0


@given(st.binary(max_size=300))
@example(b"")
@example(b"\r\n")
def test_random_bytes_are_refused_or_read_but_never_an_error(raw: bytes) -> None:
    check_read(raw + b"\r\n\r\n")


@given(
    st.sampled_from([PLAIN, *(raw for raw, _ in ODD_BUT_LEGAL.values())]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=5),
)
def test_a_flipped_head_is_refused_or_read_but_never_an_error(
    raw: bytes, flips: list[tuple[int, int]]
) -> None:
    flipped = bytearray(raw[:-4])
    for position, bits in flips:
        flipped[position % len(flipped)] ^= bits
    check_read(bytes(flipped) + b"\r\n\r\n")


LINES = st.sampled_from(
    [
        *(b"Host: h", b"Host: a@b", b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        *(b" folded", b"\t", b"a:b", b"a :b", b":", b"", b"\r", b"x: \x00", b"\xff: a"),
        b"Connection: close",
    ]
)


@given(
    st.sampled_from([b"GET / HTTP/1.1", b"OPTIONS * HTTP/1.0", b"GET http://h HTTP/1.1", b""]),
    st.lists(LINES, max_size=6),
)
def test_any_mixture_of_lines_is_refused_or_read_but_never_an_error(
    line: bytes, lines: list[bytes]
) -> None:
    check_read(b"\r\n".join([line, *lines]) + b"\r\n\r\n")


@given(
    data=st.lists(st.sampled_from([b"\r", b"\n", b"x"])).map(b"".join),
    start=st.integers(0, 12),
    end=st.integers(0, 12),
)
def test_a_bare_line_feed_is_found_as_by_looking_at_each(data: bytes, start: int, end: int) -> None:
    """Also where the bytes before it have been looked at earlier."""
    bare = [at for at in re.finditer(rb"\n", data) if data[: at.start()][-1:] != b"\r"]
    assert has_bare_lf(data, start, end) is any(start <= at.start() < end for at in bare)
