"""A relayed request in memory: what its registry gets, and what its client gets back."""

import json
from collections.abc import Callable
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.config.schema import Limits
from regroute.relay.forward import LEFT
from regroute.relay.passing import SMALL
from regroute.relay.upstream.ask import Unreachable
from regroute.relay.upstream.request import MOST_HOPS, VIA
from regroute.web.connection import LINGER_TIME

from ..making import HEAD_SIZE, IDLE_TIME
from ..web.answers import read_answers
from .desk import Desk
from .upstream.ends import End

PATH = b"/v2/a/manifests/1"
GET = b"GET %b HTTP/1.1\r\nHost: front.example\r\n\r\n" % PATH
HEAD = GET.replace(b"GET", b"HEAD")
OLD = GET.replace(b"HTTP/1.1", b"HTTP/1.0")
OK = b"HTTP/1.1 200 OK\r\n"
ONE = OK + b"Content-Length: 3\r\n\r\none"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
UPLOAD = b"PUT /v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: front.example\r\n"
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LARGE = SMALL + 1


def put(body: bytes, *fields: bytes) -> bytes:
    lines = b"".join(field + b"\r\n" for field in (b"Content-Length: %d" % len(body), *fields))
    return UPLOAD + lines + b"\r\n" + body


def put_chunks(*pieces: bytes) -> bytes:
    return UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(pieces)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def bytewise(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]


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


# A registry that gives no answer, or none that has an end.


LATE = Unreachable(504, "it takes too long to answer")


def close(end: End) -> None:
    end.close()


def reset(end: End) -> None:
    end.reset()


def be_silent(end: End) -> None:
    """As the pool does with a connection that is late."""
    end.protocol.give_up(LATE)
    end.settle()


def talk_nonsense(end: End) -> None:
    end.send(b"\x00nonsense\r\n\r\n")


FAULTS: list[Callable[[End], None]] = [close, reset, be_silent, talk_nonsense]
NOT_BEGUN = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nX: ",
    "an interim answer": CONTINUE,
    "half a small body": OK + b"Content-Length: 3\r\n\r\non",
    "a head": OK + b"Content-Length: %d\r\n\r\n" % SMALL,
}
BEGUN = {
    "half a large body": OK + b"Content-Length: %d\r\n\r\nx" % LARGE,
    "a chunk": CHUNKED + b"3\r\none\r\n",
    "the last chunk": CHUNKED + b"3\r\none\r\n0\r\n",
}


def faults_after(table: dict[str, bytes]) -> list[object]:
    """Every fault after each of these, but for nonsense where any bytes are a body."""
    return [
        pytest.param(raw, fault, id=f"{name}, {fault.__name__}")
        for name, raw in table.items()
        for fault in FAULTS
        if fault is not talk_nonsense or b"Content-Length" not in raw
    ]


@pytest.mark.parametrize(("raw", "fault"), faults_after(NOT_BEGUN))
def test_where_nothing_has_been_sent_there_is_an_answer(
    raw: bytes, fault: Callable[[End], None]
) -> None:
    desk = Desk()
    end = desk.ask(GET).send(raw)
    fault(end)
    desk.settle()
    (answer,) = read_answers(desk.received.removeprefix(CONTINUE))
    assert answer.status == (504 if fault is be_silent else 502)
    assert json.loads(answer.body)["errors"][0]["code"] == "UNAVAILABLE"
    assert answer.field(b"docker-distribution-api-version") == b"registry/2.0"
    assert desk.entries == [(b"GET", PATH, answer.status, len(answer.body))]
    assert end.fate != "open"
    assert desk.is_client_open
    desk.client.read()
    desk.ask(GET).send(ONE)
    desk.settle()
    assert desk.received == ONE


@pytest.mark.parametrize("asked", [GET, OLD])
@pytest.mark.parametrize(("raw", "fault"), faults_after(BEGUN))
def test_where_an_answer_has_begun_it_is_visibly_broken_off(
    raw: bytes, fault: Callable[[End], None], asked: bytes
) -> None:
    desk = Desk()
    end = desk.ask(asked).send(raw)
    fault(end)
    desk.settle()
    assert desk.client.wire.is_aborted
    assert not desk.received.endswith(b"0\r\n\r\n")
    ((_, _, status, size),) = desk.entries
    assert (status, size > 0) == (200, True)
    assert end.fate != "open"
    assert desk.site.connections == set()


@pytest.mark.parametrize("path", [b"/", b"/docs", b"/v2x"])
def test_elsewhere_than_under_v2_a_refusal_is_plain_text(path: bytes) -> None:
    desk = Desk()
    desk.ask(GET.replace(PATH, path)).close()
    desk.settle()
    answer = desk.client.answer()
    assert answer.field(b"content-type") == b"text/plain; charset=utf-8"
    assert answer.body == (
        b"the registry 'r' gives no answer: it has closed the connection without an answer\n"
    )


def test_head_gets_a_refusal_without_its_body() -> None:
    desk = Desk()
    desk.ask(HEAD).close()
    desk.settle()
    answer = desk.client.answer(b"HEAD")
    assert (answer.status, answer.body) == (502, b"")
    assert desk.entries == [(b"HEAD", PATH, 502, 0)]


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("raw", [GET, put(b"x" * 100)[:-50], put_chunks(b"5\r\nhel")])
def test_without_a_connection_there_is_an_answer(status: int, raw: bytes) -> None:
    desk = Desk()
    desk.client.send(raw)
    desk.fail(Unreachable(status, "why"))
    answer = desk.client.answer()
    assert (answer.status, answer.closes) == (status, raw != GET)
    assert desk.is_client_open == (raw == GET)
    assert [entry[2] for entry in desk.entries] == [status]


def test_a_redirect_to_itself_is_no_answer() -> None:
    desk = Desk()
    end = desk.ask(GET).send(b"HTTP/1.1 302 F\r\nLocation: https://r.example%b\r\n\r\n" % PATH)
    desk.settle()
    assert desk.client.answer().status == 502
    assert end.fate == "aborted"


# Kept connections.


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
@pytest.mark.parametrize("leave", [close, reset])
def test_what_is_safe_and_has_met_a_closing_connection_is_tried_again_on_a_new_one(
    method: bytes, leave: Callable[[End], None]
) -> None:
    desk = Desk()
    kept = desk.ends.keep()
    desk.client.send(GET.replace(b"GET", method))
    sent = kept.take()
    leave(kept)
    assert desk.ends.asked == ["any", "fresh"]
    end = desk.ends.connect()
    assert end.take() == sent.removeprefix(b"GET / HTTP/1.1\r\n\r\n")
    end.send(OK + b"Content-Length: 0\r\n\r\n")
    desk.settle()
    assert desk.client.answer(method).status == 200


def test_it_is_tried_again_once() -> None:
    desk = Desk()
    kept = desk.ends.keep()
    desk.client.send(GET)
    kept.close()
    desk.ends.connect().close()
    desk.settle()
    assert desk.ends.waiting == []
    assert desk.client.answer().status == 502
    assert [entry[2] for entry in desk.entries] == [502]


@pytest.mark.parametrize("raw", [b"H", CONTINUE])
def test_it_is_not_tried_again_where_something_has_come(raw: bytes) -> None:
    desk = Desk()
    kept = desk.ends.keep()
    desk.client.send(GET)
    kept.send(raw).close()
    desk.settle()
    assert desk.ends.waiting == []
    assert desk.received.removeprefix(CONTINUE).startswith(b"HTTP/1.1 502")


@pytest.mark.parametrize("raw", [put(b"x"), put(b""), put_chunks(b"0\r\n\r\n")])
def test_what_cannot_be_sent_twice_gets_a_new_connection(raw: bytes) -> None:
    desk = Desk()
    desk.ends.keep()
    desk.client.send(raw)
    assert desk.ends.asked == ["fresh"]
    desk.ends.connect().close()
    desk.settle()
    assert desk.ends.asked == ["fresh"]
    assert desk.client.answer().status == 502


# A client that leaves.


def vanish(desk: Desk) -> None:
    desk.client.wire.abortConnection()
    desk.settle()


def close_its_half(desk: Desk) -> None:
    desk.client.end()
    desk.settle()


def be_cut_off(desk: Desk) -> None:
    """As at the end of a drain."""
    desk.site.abort()
    desk.settle()


LEAVES: list[Callable[[Desk], None]] = [vanish, close_its_half, be_cut_off]


@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize("raw", [GET, put(b"x" * 10)[:-5], GET + GET])
def test_who_leaves_before_there_is_a_connection_wants_none(
    leave: Callable[[Desk], None], raw: bytes
) -> None:
    desk = Desk()
    desk.client.send(raw)
    (waiter,) = desk.ends.waiting
    leave(desk)
    if leave is close_its_half and raw.startswith(b"PUT"):
        # His body is not read as long as nobody takes it.
        assert desk.ends.waiting == [waiter]
        desk.ends.connect()
        desk.settle()
        assert desk.ends.all[0].fate == "aborted"
    else:
        assert desk.ends.left == [waiter]
        assert desk.ends.waiting == []
    assert [entry[2] for entry in desk.entries] == [LEFT]
    assert desk.site.connections == set()
    assert desk.clock.getDelayedCalls() == []


@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize(
    ("raw", "answer", "status"),
    [
        (GET, b"", LEFT),
        (GET, OK, LEFT),
        (GET, OK + b"Content-Length: 3\r\n\r\non", LEFT),
        (GET, CHUNKED + b"3\r\none\r\n", 200),
        (GET + GET, b"", LEFT),
        (put(b"x" * 10)[:-5], b"", LEFT),
        (put(b"x" * 10), b"", LEFT),
        (put_chunks(b"5\r\nhel"), CHUNKED + b"3\r\none\r\n", 200),
    ],
)
def test_who_leaves_ends_what_is_under_way(
    leave: Callable[[Desk], None], raw: bytes, answer: bytes, status: int
) -> None:
    desk = Desk()
    end = desk.ask(raw).send(answer)
    leave(desk)
    assert end.fate == "aborted"
    assert [entry[2] for entry in desk.entries] == [status]
    assert desk.site.connections == set()
    assert desk.clock.getDelayedCalls() == []


@pytest.mark.parametrize("leave", LEAVES)
def test_who_leaves_ends_his_next_request_too(leave: Callable[[Desk], None]) -> None:
    """It has come with the first one, and nothing was read while it waited for its turn."""
    desk = Desk()
    end = desk.ask(GET + GET)
    end.send(ONE)
    desk.settle()
    other = desk.ends.connect()
    leave(desk)
    assert other.fate == "aborted"
    assert [entry[2] for entry in desk.entries] == [200, LEFT]


# Back-pressure.


def test_a_client_that_does_not_read_holds_the_registry_up() -> None:
    desk = Desk()
    end = desk.ask(GET).send(OK + b"Content-Length: 10000000\r\n\r\n")
    desk.settle()
    desk.client.wire.capacity = 1000
    while end.is_reading:
        end.send(b"x" * 500)
    assert len(desk.received) < 3000
    end.send(b"y" * 500)
    desk.settle()
    assert b"y" not in desk.received
    desk.client.read()
    desk.settle()
    assert end.is_reading
    assert desk.received == b"y" * 500


def test_a_client_that_never_reads_has_its_time() -> None:
    desk = Desk()
    desk.client.wire.capacity = 1000
    end = desk.ask(GET).send(OK + b"Content-Length: 10000000\r\n\r\n" + b"x" * 2000)
    desk.clock.advance(IDLE_TIME - 1)
    desk.settle()
    assert end.fate == "open"
    assert not end.is_reading
    desk.clock.advance(1)
    desk.settle()
    assert end.fate == "aborted"
    assert desk.client.wire.is_aborted
    assert [entry[2] for entry in desk.entries] == [200]
    assert desk.clock.getDelayedCalls() == []


def test_a_registry_that_does_not_read_holds_the_client_up() -> None:
    desk = Desk()
    total = 5_000_000
    end = desk.ask(UPLOAD + b"Content-Length: %d\r\n\r\n" % total, capacity=1000)
    end.take()
    desk.client.send(b"x" * total)
    assert len(desk.client.unread) > total - 100_000
    taken = 0
    while sent := end.take():
        assert len(sent) < 140_000
        taken += len(sent)
        desk.settle()
    assert taken == total
    end.send(CREATED)
    desk.settle()
    assert desk.received == CREATED


def test_a_body_waits_for_its_connection() -> None:
    desk = Desk()
    desk.client.send(put(b"x" * 1_000_000))
    assert len(desk.client.unread) > 900_000
    end = desk.ends.connect()
    desk.settle()
    assert end.take().endswith(b"x" * 1_000_000)


def test_no_time_counts_against_a_client_whose_body_is_not_taken() -> None:
    desk = Desk()
    end = desk.ask(UPLOAD + b"Content-Length: 100000\r\n\r\n", capacity=1000)
    desk.client.send(b"x" * 50_000)
    desk.clock.advance(10 * IDLE_TIME)
    desk.settle()
    assert end.fate == "open"
    end.take()
    desk.settle()
    desk.clock.advance(IDLE_TIME - 1)
    desk.client.send(b"x" * 50_000)
    end.take()
    end.send(CREATED)
    desk.settle()
    assert desk.received == CREATED


def test_a_client_whose_body_is_held_while_it_ends_goes_on_afterwards() -> None:
    """The registry answers before it has taken all, and nobody lets the client go on then."""
    desk = Desk()
    end = desk.ask(put(b"x" * 10_000), capacity=100)
    end.send(CREATED)
    desk.settle()
    assert desk.received == CREATED
    assert end.fate == "aborted"
    desk.client.read()
    end = desk.ask(put(b"y" * 10_000))
    assert end.take().endswith(b"y" * 10_000)
    end.send(CREATED)
    desk.settle()
    assert desk.received == CREATED


def test_pipelined_requests_have_their_turns_whatever_they_are() -> None:
    desk = Desk()
    elsewhere = GET.replace(PATH, b"/elsewhere")
    desk.client.send(GET + elsewhere + put(b"x" * 70_000) + elsewhere + HEAD)
    desk.ends.connect().send(ONE)
    desk.settle()
    upload = desk.ends.connect()
    desk.settle()
    assert upload.take().endswith(b"x" * 70_000)
    upload.send(CREATED)
    desk.settle()
    desk.ends.connect().send(OK + b"Content-Length: 3\r\n\r\n")
    desk.settle()
    statuses = [answer.status for answer in read_answers(desk.received, [b""] * 4 + [b"HEAD"])]
    assert statuses == [200, 302, 201, 302, 200]


@pytest.mark.parametrize("raw", [GET, put(b"x" * 10)])
def test_a_client_that_asks_ahead_is_read_no_further_than_a_head(raw: bytes) -> None:
    """However many requests have had their turn."""
    desk = Desk()
    total = 50_000 * len(raw)
    desk.client.send(raw * 50_000)
    for answered in range(30):
        ahead = total - len(desk.client.unread) - answered * len(raw)
        assert ahead < HEAD_SIZE + 2 * 65536
        desk.ends.connect().send(ONE)
        desk.settle()


# Answers before the request is whole.


@pytest.mark.parametrize("raw", [put(b"x" * 1000)[:-500], put_chunks(b"5\r\nhel")])
def test_an_early_answer_ends_the_request(raw: bytes) -> None:
    """What still comes of the body is dropped, until the client has read the answer."""
    desk = Desk()
    end = desk.ask(raw)
    end.send(b"HTTP/1.1 401 U\r\nContent-Length: 2\r\n\r\nno")
    desk.settle()
    answer = desk.client.answer()
    assert (answer.status, answer.body, answer.closes) == (401, b"no", True)
    assert end.fate == "aborted"
    assert desk.client.wire.is_half_closed
    assert not desk.client.wire.is_closed
    desk.client.send(b"x" * 100_000)
    assert desk.received.endswith(b"no")
    desk.client.end()
    assert desk.client.wire.is_closed
    assert not desk.client.wire.is_aborted


def test_an_answer_may_begin_before_the_request_is_whole_and_end_after_it() -> None:
    desk = Desk()
    end = desk.ask(put(b"x" * 10)[:-5]).send(CHUNKED)
    desk.settle()
    desk.client.send(b"y" * 5)
    assert end.take().endswith(b"xxxxxyyyyy")
    end.send(b"3\r\none\r\n0\r\n\r\n")
    desk.settle()
    assert desk.received == (
        OK + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\none\r\n0\r\n\r\n"
    )
    assert not desk.is_client_open


def test_who_waits_for_100_gets_it_from_the_registry() -> None:
    desk = Desk()
    end = desk.ask(put(b"hello", b"Expect: 100-continue").removesuffix(b"hello"))
    assert b"expect: 100-continue\r\n" in end.take()
    desk.settle()
    assert desk.received == b""
    end.send(CONTINUE)
    desk.settle()
    assert desk.received == CONTINUE
    desk.client.send(b"hello")
    assert end.take() == b"hello"
    end.send(CREATED)
    desk.settle()
    assert desk.received == CONTINUE + CREATED
    assert desk.is_client_open


@pytest.mark.parametrize("by", ["the registry", "us"])
def test_who_waits_for_100_may_get_an_answer_instead(by: str) -> None:
    desk = Desk()
    desk.client.send(put(b"hello", b"Expect: 100-continue").removesuffix(b"hello"))
    if by == "us":
        desk.fail(Unreachable(502, "why"))
    else:
        desk.ends.connect().send(b"HTTP/1.1 401 U\r\nContent-Length: 0\r\n\r\n")
    desk.settle()
    answer = desk.client.answer()
    assert answer.status in (401, 502)
    assert answer.closes, "whatever comes next, it is no request"
    assert not desk.is_client_open


# Requests that cannot be read to their end.


@pytest.mark.parametrize(
    "raw", [b"5\r\nhelloo\r\n", b"x\r\n", b"5\nhello\r\n", b"0\r\nGET / HTTP/1.1\r\n\r\n"]
)
@pytest.mark.parametrize("answer", [b"", OK + b"Content-Length: 3\r\n\r\non", CHUNKED])
def test_a_broken_body_ends_the_request_at_the_registry_too(raw: bytes, answer: bytes) -> None:
    desk = Desk()
    end = desk.ask(put_chunks(b"1\r\nx\r\n")).send(answer)
    desk.settle()
    before = desk.received
    desk.client.send(raw + GET)
    desk.settle()
    assert end.fate == "aborted"
    assert b"0\r\n\r\n" not in end.take()
    if answer == CHUNKED:
        assert desk.client.wire.is_aborted
        assert desk.received == before
        assert [entry[2] for entry in desk.entries] == [200]
    else:
        refusal = desk.client.answer()
        assert (refusal.status, refusal.closes) == (400, True)
        entry = (b"PUT", b"/v2/a/blobs/uploads/1", 400, len(refusal.body))
        assert desk.entries == [entry]


def test_a_body_that_does_not_come_has_its_time() -> None:
    """As long as the client is idle, however long all of it takes."""
    desk = Desk(Limits().model_copy(update={"idle": 10.0}))
    end = desk.ask(put(b"x" * 100).removesuffix(b"x" * 100))
    for _ in range(5):
        desk.clock.advance(9)
        desk.client.send(b"x")
    desk.clock.advance(10)
    desk.settle()
    refusal = desk.client.answer()
    assert (refusal.status, refusal.closes) == (408, True)
    assert desk.entries == [(b"PUT", b"/v2/a/blobs/uploads/1", 408, len(refusal.body))]
    assert end.fate == "aborted"
    assert desk.client.wire.is_half_closed
    desk.clock.advance(LINGER_TIME)
    assert desk.client.wire.is_aborted


def test_no_time_counts_against_a_client_who_waits_for_an_answer() -> None:
    desk = Desk()
    end = desk.ask(GET)
    desk.clock.advance(10 * IDLE_TIME)
    desk.settle()
    end.send(ONE)
    desk.settle()
    assert desk.received == ONE


# The end of the daemon.


def test_an_answer_under_way_is_finished_while_draining_and_then_the_connection_closed() -> None:
    desk = Desk()
    end = desk.ask(GET).send(OK + b"Content-Length: 100000\r\n\r\n")
    desk.settle()
    desk.site.drain()
    emptied = desk.site.emptied()
    desk.site.close_idle(desk.clock.seconds())
    assert desk.is_client_open
    end.send(b"x" * 100_000)
    desk.settle()
    assert desk.received.endswith(b"x" * 100_000)
    assert desk.client.wire.is_closed
    assert not desk.client.wire.is_aborted
    assert emptied.called


def test_an_answer_that_begins_while_draining_says_that_it_is_the_last() -> None:
    desk = Desk()
    end = desk.ask(GET)
    desk.site.drain()
    end.send(ONE)
    desk.settle()
    assert desk.client.answer().closes
    assert not desk.is_client_open
