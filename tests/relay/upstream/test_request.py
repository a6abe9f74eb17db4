"""The request that goes to a registry."""

from ipaddress import ip_address

import pytest

from regroute.networks.spans import Address
from regroute.relay.upstream.request import (
    MOST_HOPS,
    VIA,
    authority,
    forwarded_of,
    is_looping,
    render,
    upstream_fields,
)
from regroute.web.strict import read_head

from ..rewrite.front import relayed


def fields_of(lines: bytes = b"", *, forwarded: bytes | None = None, as_is: bool = False) -> bytes:
    """The fields of a relayed request that has these, as they are sent."""
    relay = relayed("", "/v2/a/tags/list")
    assert relay is not None
    head = read_head(b"GET /v2/a/tags/list HTTP/1.1\r\nHost: front\r\n" + lines + b"\r\n")
    fields = upstream_fields(head, relay, forwarded, as_is=as_is)
    return b"".join(b"%b: %b\n" % field for field in fields)


HOST, END = b"host: registry.example\n", b"via: 1.1 regroute\n"


@pytest.mark.parametrize(
    ("lines", "sent"),
    [
        (b"", b""),
        (b"Accept: a\r\nX: 1\r\nAccept: b\r\n", b"accept: a\nx: 1\naccept: b\n"),
        (b"Authorization: Bearer x\r\n", b""),
        (b"Connection: x\r\nX: 1\r\nVia: 1.0 y\r\n", b"via: 1.0 y\n"),
        (b"Forwarded: for=192.0.2.1\r\n", b"forwarded: for=192.0.2.1\n"),
        (b"Accept-Encoding: gzip\r\n", b"accept-encoding: gzip\n"),
        (b"Connection: host, content-length\r\n", b""),
    ],
)
def test_fields_are_kept_but_for_those_of_the_hop_and_our_own(lines: bytes, sent: bytes) -> None:
    assert fields_of(lines) == HOST + sent + END


def test_a_body_that_is_to_be_read_is_not_to_be_compressed() -> None:
    assert fields_of(b"Accept-Encoding: gzip\r\n", as_is=True) == HOST + END


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        (b"Content-Length: 05\r\n", b"content-length: 05\n"),
        (b"Transfer-Encoding: Chunked\r\n", b"transfer-encoding: chunked\n"),
    ],
)
def test_the_framing_comes_last_and_once(lines: bytes, framing: bytes) -> None:
    assert fields_of(lines + b"X: 1\r\n") == HOST + b"x: 1\n" + END + framing


def test_who_asks_is_told_beside_what_others_have_told() -> None:
    sent = fields_of(b"Forwarded: for=a\r\n", forwarded=b"for=b")
    assert sent == HOST + b"forwarded: for=a\nforwarded: for=b\n" + END


@pytest.mark.parametrize(
    ("client", "host", "scheme", "said"),
    [
        ("192.0.2.1", b"a.example", "https", b'for=192.0.2.1;host="a.example";proto=https'),
        ("2001:db8::1", b"a:80", "http", b'for="[2001:db8::1]";host="a:80";proto=http'),
        (None, b"[::1]:80", "http", b'for=unknown;host="[::1]:80";proto=http'),
        (None, b"", "http", b"for=unknown;proto=http"),
    ],
)
def test_forwarded_says_who_asks_for_what_and_how(
    client: str | None, host: bytes, scheme: str, said: bytes
) -> None:
    """RFC 7239 §4: what is no token is quoted, and addresses of version 6 are in brackets."""
    address: Address | None = None if client is None else ip_address(client)
    assert forwarded_of(address, host, scheme) == said


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://r.example", b"r.example"),
        ("https://r.example:443", b"r.example"),
        ("https://r.example:80", b"r.example:80"),
        ("http://r.example:80", b"r.example"),
        ("http://r.example:443", b"r.example:443"),
        ("https://r.example:5443", b"r.example:5443"),
        ("https://[2001:db8::443]", b"[2001:db8::443]"),
        ("http://[2001:db8::1]:80", b"[2001:db8::1]"),
        ("http://192.0.2.1:8080", b"192.0.2.1:8080"),
    ],
)
def test_host_names_a_port_where_it_is_not_the_schemes_own(origin: str, host: bytes) -> None:
    assert authority(origin) == host


@pytest.mark.parametrize(
    ("lines", "loops"),
    [
        ([], False),
        ([VIA] * MOST_HOPS, False),
        ([VIA] * (MOST_HOPS + 1), True),
        ([b", ".join([VIA] * MOST_HOPS), b"1.0 x, " + VIA], True),
        ([b"1.1 other"] * 50, False),
    ],
)
def test_a_request_that_has_been_here_too_often_goes_in_circles(
    lines: list[bytes], loops: bool
) -> None:
    via = b"".join(b"Via: %b\r\n" % line for line in lines)
    assert is_looping(read_head(b"GET / HTTP/1.1\r\nHost: h\r\n" + via + b"\r\n")) == loops


def test_a_head_is_written_line_by_line() -> None:
    assert render(b"GET", b"/x?y", ((b"host", b"h"), (b"a", b"b"))) == (
        b"GET /x?y HTTP/1.1\r\nhost: h\r\na: b\r\n\r\n"
    )
