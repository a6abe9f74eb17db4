"""A relayed request in memory: what its registry gets, and what its client gets back."""

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.relay.passing import SMALL
from regroute.relay.upstream.request import MOST_HOPS, VIA

from ..web.answers import read_answers
from .desk import Desk
from .exchanges import (
    CHUNKED,
    CONTINUE,
    CREATED,
    GET,
    HEAD,
    LARGE,
    OK,
    OLD,
    ONE,
    PATH,
    chunk,
    put,
    put_chunks,
)
from .upstream.ends import End

# What the registry gets.


HOST, END = b"host: r.example\r\n", b"via: " + VIA + b"\r\n\r\n"
SENT = {
    "plain": (b"", b""),
    "kept in order, with repetitions": (
        b"Accept: a\r\nX-B: 1\r\naccept: b\r\nAccept: c\r\nX-A: 2\r\n",
        b"accept: a\r\nx-b: 1\r\naccept: b\r\naccept: c\r\nx-a: 2\r\n",
    ),
    "the client's own hop": (
        b"Keep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: Basic eA==\r\nX: 1\r\n"
        b"Proxy-Connection: close\r\nUpgrade: websocket\r\nConnection: keep-alive\r\n",
        b"x: 1\r\n",
    ),
    "named by Connection": (
        b"Connection: X-A, upgrade\r\nX-A: 1\r\nX-B: 2\r\nConnection:\tx-c ,\r\nX-C: 3\r\n",
        b"x-b: 2\r\n",
    ),
    "Via of others": (b"Via: 1.0 squid\r\n", b"via: 1.0 squid\r\n"),
    "cookies and ranges": (
        b"Cookie: a=b\r\nRange: bytes=1-2\r\nIf-None-Match: x\r\n",
        b"cookie: a=b\r\nrange: bytes=1-2\r\nif-none-match: x\r\n",
    ),
    "bytes beyond ASCII": (b"X: \xc3\xa9\r\n", b"x: \xc3\xa9\r\n"),
}


@pytest.mark.parametrize(("fields", "sent"), SENT.values(), ids=SENT)
def test_fields_go_on_but_for_those_of_the_hop(fields: bytes, sent: bytes) -> None:
    desk = Desk()
    end = desk.ask(GET[:-2] + fields + b"\r\n")
    assert end.take() == b"GET %b HTTP/1.1\r\n%b%b%b" % (PATH, HOST, sent, END)


@pytest.mark.parametrize("raw", [GET, HEAD, OLD, GET.replace(b"GET", b"OPTIONS")])
def test_whatever_the_clients_version_the_registry_is_asked_in_http_1_1(raw: bytes) -> None:
    method = raw.split()[0]
    assert Desk().ask(raw).take() == b"%b %b HTTP/1.1\r\n%b%b" % (method, PATH, HOST, END)


def test_credentials_come_last() -> None:
    end = Desk().ask(GET[:-2] + b"Authorization: Bearer x\r\nX: 1\r\n\r\n")
    assert end.take().endswith(b"x: 1\r\n" + END[:-2] + b"authorization: Bearer x\r\n\r\n")


def test_a_request_that_goes_in_circles_has_an_end() -> None:
    desk = Desk()
    for hops in range(MOST_HOPS + 1):
        via = b"".join(b"Via: %b\r\n" % VIA for _ in range(hops))
        desk.ask(GET[:-2] + via + b"\r\n").send(ONE)
        desk.settle()
    desk.client.read()
    lists = b", ".join([VIA] * (MOST_HOPS + 1))
    desk.client.send(GET[:-2] + b"Via: 1.1 x, %b\r\n\r\n" % lists)
    assert desk.ends.waiting == []
    (answer,) = read_answers(desk.received)
    assert answer.status == 502
    assert desk.entries[-1] == (b"GET", PATH, 502, len(answer.body))


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        (put(b"hello"), b"content-length: 5\r\n\r\nhello"),
        (put(b""), b"content-length: 0\r\n\r\n"),
        (put_chunks(b"0\r\n\r\n"), b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        (
            put_chunks(b"5;ext=1\r\nhello\r\n", b"0\r\nX-A: 1\r\nConnection: x\r\nHost: y\r\n\r\n"),
            b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-a: 1\r\n\r\n",
        ),
    ],
)
def test_a_body_goes_on_as_it_is_framed(raw: bytes, sent: bytes) -> None:
    desk = Desk()
    end = desk.ask(raw)
    assert end.take().partition(END[:-2])[2] == sent
    end.send(CREATED)
    desk.settle()
    assert desk.received == CREATED
    assert desk.is_client_open
    assert desk.entries == [(b"PUT", b"/v2/a/blobs/uploads/1", 201, 0)]


@given(
    st.lists(st.binary(max_size=60), max_size=6),
    st.booleans(),
    st.lists(st.integers(0, 500), max_size=6),
)
def test_a_body_comes_whole_however_it_is_cut(
    contents: list[bytes], is_chunked: bool, cuts: list[int]
) -> None:
    """h11 is the registry, and a second request follows on the same connections."""
    desk = Desk()
    body = b"".join(contents)
    if is_chunked:
        raw = put_chunks(*(chunk(each) for each in contents if each), b"0\r\nX: 1\r\n\r\n")
    else:
        raw = put(body)
    raw += GET
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    end: End | None = None
    for start, stop in pairwise(edges):
        desk.client.send(raw[start:stop])
        if end is None and desk.ends.waiting:
            end = desk.ends.connect()
        desk.settle()
    assert end is not None
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(end.take())
    request, content = reader.next_event(), b""
    assert isinstance(request, h11.Request)
    while isinstance(event := reader.next_event(), h11.Data):
        content += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert (content, list(event.headers)) == (body, [(b"x", b"1")] if is_chunked else [])
    assert reader.trailing_data[0] == b""
    end.send(CREATED)
    desk.settle()
    desk.ends.connect().send(ONE)
    desk.settle()
    assert desk.received == CREATED + ONE


# What the client gets.


EMPTY = b"Content-Length: 0\r\n\r\n"
TO_STORAGE = b"HTTP/1.1 307 T\r\nLocation: https://s.example/x?sig=a%2f\r\n" + EMPTY
NAMED = b"Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"
ANSWERS: dict[str, tuple[bytes, list[bytes], bytes, bool]] = {
    "as it is": (GET, [ONE], ONE, True),
    "fields in order, with repetitions": (
        GET,
        [
            OK
            + b"Set-Cookie: a\r\n"
            + NAMED
            + b"ETag: x\r\nset-cookie:b\r\nContent-Length: 0\r\n\r\n"
        ],
        OK + b"Set-Cookie: a\r\nETag: x\r\nset-cookie: b\r\n" + EMPTY,
        True,
    ),
    "with another reason": (
        GET,
        [b"HTTP/1.1 299 All \xe9!\r\nContent-Length: 0\r\n\r\n"],
        b"HTTP/1.1 299 All \xe9!\r\nContent-Length: 0\r\n\r\n",
        True,
    ),
    "a redirect to a storage": (GET, [TO_STORAGE], TO_STORAGE, True),
    "in chunks": (
        GET,
        [CHUNKED + b"3;x\r\none\r\n", b"3\r\ntw", b"o\r\n0\r\nX-A: 1\r\nSet-Cookie: x\r\n\r\n"],
        # What has come is passed on at once, in chunks of its own.
        CHUNKED + b"3\r\none\r\n2\r\ntw\r\n1\r\no\r\n0\r\nX-A: 1\r\n\r\n".replace(b"X-A", b"x-a"),
        True,
    ),
    "until the registry closes": (
        GET,
        [OK + b"\r\n", b"one"],
        CHUNKED + b"3\r\none\r\n0\r\n\r\n",
        True,
    ),
    "to HTTP/1.0, in chunks": (
        OLD,
        [CHUNKED + b"3\r\none\r\n0\r\nX: 1\r\n\r\n"],
        OK + b"Connection: close\r\n\r\none",
        False,
    ),
    "to HTTP/1.0, counted": (
        OLD,
        [ONE],
        OK + b"Content-Length: 3\r\nConnection: close\r\n\r\none",
        False,
    ),
    "to HTTP/1.0, after an interim one": (
        OLD,
        [CONTINUE + ONE],
        OK + b"Content-Length: 3\r\nConnection: close\r\n\r\none",
        False,
    ),
    "to who closes": (
        GET[:-2] + b"Connection: close\r\n\r\n",
        [ONE],
        OK + b"Content-Length: 3\r\nConnection: close\r\n\r\none",
        False,
    ),
    "of HTTP/1.0": (GET, [b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none"], ONE, True),
    "after which the registry closes": (
        GET,
        [OK + b"Connection: close\r\nContent-Length: 3\r\n\r\none"],
        ONE,
        True,
    ),
    "to HEAD": (HEAD, [OK + b"Content-Length: 3\r\n\r\n"], OK + b"Content-Length: 3\r\n\r\n", True),
    "to HEAD, long": (
        HEAD,
        [OK + b"Content-Length: 10000000\r\n\r\n"],
        OK + b"Content-Length: 10000000\r\n\r\n",
        True,
    ),
    "to HEAD, in chunks": (HEAD, [CHUNKED], OK + b"\r\n", True),
    "204": (
        GET,
        [b"HTTP/1.1 204 N\r\nContent-Length: 0\r\nX: 1\r\n\r\n"],
        b"HTTP/1.1 204 N\r\nX: 1\r\n\r\n",
        True,
    ),
    "304": (
        GET,
        [b"HTTP/1.1 304 N\r\nETag: x\r\nContent-Length: 3\r\n\r\n"],
        b"HTTP/1.1 304 N\r\nETag: x\r\n\r\n",
        True,
    ),
    "a refusal": (
        GET,
        [b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"],
        b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops",
        True,
    ),
    "with what comes before it": (
        GET,
        [
            CONTINUE,
            b"HTTP/1.1 103 Early\r\nConnection: x\r\nX: 1\r\n"
            b"Link: <https://r.example/a>\r\n\r\n" + ONE,
        ],
        CONTINUE + b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" + ONE,
        True,
    ),
}


@pytest.mark.parametrize(("asked", "pieces", "received", "persists"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_passed_on(
    asked: bytes, pieces: list[bytes], received: bytes, persists: bool
) -> None:
    desk = Desk()
    end = desk.ask(asked).send(*pieces)
    if end.fate == "open" and not desk.ends.released:
        end.close()
    desk.settle()
    assert desk.received == received
    assert desk.is_client_open == persists
    assert len(desk.entries) == 1
    if persists:
        desk.client.read()
        desk.client.send(GET)
        (desk.ends.connect() if desk.ends.waiting else end).send(ONE)
        desk.settle()
        assert desk.received == ONE


@pytest.mark.parametrize("length", [0, 1, SMALL, LARGE])
def test_a_small_answer_is_sent_in_one_piece_and_a_large_one_as_it_comes(length: int) -> None:
    desk = Desk()
    head, body = OK + b"Content-Length: %d\r\n\r\n" % length, b"x" * length
    end = desk.ask(GET).send(head + body[: length // 2])
    desk.settle()
    so_far = head + body[: length // 2] if length == LARGE else b""
    assert length == 0 or desk.received == so_far
    end.send(body[length // 2 :])
    desk.settle()
    assert desk.received == head + body
    assert desk.entries == [(b"GET", PATH, 200, length)]


@given(
    st.lists(st.binary(max_size=60), max_size=6),
    st.sampled_from(["counted", "chunked", "until close"]),
    st.lists(st.integers(0, 500), max_size=6),
    st.booleans(),
)
def test_an_answer_comes_whole_however_it_is_cut(
    contents: list[bytes], framing: str, cuts: list[int], is_old: bool
) -> None:
    """h11 is the client."""
    desk = Desk()
    body = b"".join(contents)
    raw = {
        "counted": OK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
        "chunked": CHUNKED + b"".join(chunk(each) for each in contents if each) + b"0\r\n\r\n",
        "until close": OK + b"\r\n" + body,
    }[framing]
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    end = desk.ask(OLD if is_old else GET)
    for start, stop in pairwise(edges):
        end.send(raw[start:stop])
    if framing == "until close":
        end.close()
    desk.settle()
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=b"GET", target=PATH, headers=[(b"Host", b"h")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(desk.received)
    if not desk.is_client_open:
        reader.receive_data(b"")
    assert isinstance(reader.next_event(), h11.Response)
    content = b""
    while isinstance(event := reader.next_event(), h11.Data):
        content += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert content == body
    assert desk.is_client_open == (not is_old)
