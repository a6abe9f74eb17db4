"""A daemon of its own against clients that mean harm: it answers, gives nothing away, and lives."""

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..process.daemon import Daemon, running
from .answers import Received, read_answers
from .memory import SEED

HOSTS = (b"https://k8s.gcr.io/", b"https://registry-1.docker.io/")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all: each test finds it serving, and the log clean at the end."""
    with running(SEED, tmp_path_factory.mktemp("hostile")) as daemon:
        yield daemon
        check_unharmed(daemon)


def check_unharmed(daemon: Daemon) -> None:
    location = daemon.ask("/v2/a/manifests/1").getheader("Location")
    assert location == "https://k8s.gcr.io/v2/a/manifests/1"
    log = daemon.log()
    assert re.findall("Traceback|Unhandled|#warn|#error|#critical", log) == []


def converse(daemon: Daemon, raw: bytes) -> bytes:
    """All that the daemon sends to a client that sends this, closes its half and reads."""
    received = b""
    with daemon.connect() as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            received += data
    return received


def ask(daemon: Daemon, raw: bytes, *, at_most: int = 1) -> list[Received]:
    """The answers, of which there are no more than requests, and none of which does harm."""
    methods = [b"HEAD"] * at_most if raw.startswith(b"HEAD ") else []
    answers = read_answers(converse(daemon, raw), methods)
    assert len(answers) <= at_most
    for answer in answers:
        check_harmless(answer)
    return answers


def check_harmless(answer: Received) -> None:
    location = answer.field(b"location")
    assert (location is not None) is (answer.status == 302)
    assert location is None or location.startswith(HOSTS)
    assert answer.status in (302, 400, 404, 405, 408, 414, 431)
    assert b"Traceback" not in answer.body
    if answer.status == 302:
        assert re.fullmatch(rb'<a href="[^"<>]*">302</a>\.\n', answer.body) or not answer.body
    else:
        assert b"<" not in answer.body
    assert answer.field(b"x-content-type-options") == b"nosniff"
    assert answer.field(b"server") == b"regroute"
    assert answer.field(b"set-cookie") is None


def head(target: bytes, *fields: bytes, method: bytes = b"GET") -> bytes:
    return b"\r\n".join([b"%s %s HTTP/1.1" % (method, target), b"Host: h", *fields]) + b"\r\n\r\n"


OPEN_REDIRECTS = [
    *(b".evil.example/", b"@evil.example/", b":8443/", b"evil.example", b":@evil.example/"),
    *(b"/.evil.example/", b"/@evil.example", b"//evil.example/", b"///evil.example/", b"/:8443/"),
    *(b"/\\evil.example", b"\\\\evil.example", b"/%5cevil.example", b"/%2f%2fevil.example/"),
    *(b"http://evil.example/", b"https://evil.example", b"http:///evil.example", b"http:evil/"),
    *(b"http://k8s.gcr.io@evil.example/", b"http://evil.example:80:80/", b"http://evil\\@h/"),
    *(b"javascript:alert(1)", b"data:text/html,x", b"/?//evil.example", b"?evil", b"#evil", b"*"),
    *(b"/#@evil.example/", b"/..//evil.example/", b"/%2e%2e/evil.example", b"/\xe2\x80\x8bevil"),
    *(b"http://evil.example/..//x", b"HTTP://EVIL.EXAMPLE/", b"ftp://evil.example/", b"/%00evil"),
]


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("target", OPEN_REDIRECTS)
def test_no_target_leads_to_another_host(daemon: Daemon, target: bytes, method: bytes) -> None:
    (answer,) = ask(daemon, head(target, method=method))
    assert answer.status in (302, 400)


@pytest.mark.parametrize(
    "target",
    [
        *(b"/\rSet-Cookie: a", b"/\nSet-Cookie: a", b"/\r\nSet-Cookie: a\r\n\r\n<script>"),
        *(b"/%0d%0aSet-Cookie:%20a", b"/%0aSet-Cookie:a", b"/\xe5\x98\x8a\xe5\x98\x8dSet-Cookie:a"),
        *(b"/?\r\n\r\nHTTP/1.1 200 OK", b"/a\x00b", b"/\x85Set-Cookie:a", b"/\x0bSet-Cookie:a"),
    ],
)
def test_no_target_splits_the_answer(daemon: Daemon, target: bytes) -> None:
    answers = ask(daemon, head(target), at_most=2)
    assert answers
    assert b"\r\nSet-Cookie" not in converse(daemon, head(target))


MARKUP = [
    *(b"<script>alert(1)</script>", b'"><img src=x onerror=alert(1)>', b"'><svg/onload=alert(1)>"),
    *(b"&lt;script&gt;", b"%3Cscript%3E", b"<!--", b"]]>", b"\xc0\xbcscript\xc0\xbe"),
]


@pytest.mark.parametrize("markup", MARKUP)
@pytest.mark.parametrize("where", [b"/%s", b"/v2/%s/manifests/1", b"/?%s", b"/../%s", b"%s"])
def test_no_markup_comes_back(daemon: Daemon, markup: bytes, where: bytes) -> None:
    for method in (b"GET", b"DELETE"):
        (answer,) = ask(daemon, head(where % markup, method=method))
        assert b"<script" not in answer.body
    received = converse(daemon, head(b"/", b"X-Real-IP: " + markup, b"Referer: " + markup))
    assert markup not in received


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
SMUGGLING = {
    "length and chunks": head(b"/", b"Content-Length: 6", b"Transfer-Encoding: chunked")
    + b"0\r\n\r\n"
    + SMUGGLED,
    "chunks and length": head(b"/", b"Transfer-Encoding: chunked", b"Content-Length: 44")
    + b"0\r\n\r\n"
    + SMUGGLED,
    "two lengths": head(b"/", b"Content-Length: 0", b"Content-Length: 44") + SMUGGLED,
    "a list of lengths": head(b"/", b"Content-Length: 0, 44") + SMUGGLED,
    "a signed length": head(b"/", b"Content-Length: +0") + SMUGGLED,
    "a negative length": head(b"/", b"Content-Length: -1") + SMUGGLED,
    "a hidden length": head(b"/", b"Content-Length : 44") + SMUGGLED,
    "a folded length": head(b"/", b"X: y", b" Content-Length: 44") + SMUGGLED,
    "an unknown coding": head(b"/", b"Transfer-Encoding: xchunked") + SMUGGLED,
    "a hidden coding": head(b"/", b"Transfer-Encoding : chunked") + b"0\r\n\r\n" + SMUGGLED,
    "a coding after a tab": head(b"/", b"Transfer-Encoding:\x0bchunked") + SMUGGLED,
    "two codings": head(b"/", b"Transfer-Encoding: chunked, identity") + SMUGGLED,
    "chunks in HTTP/1.0": b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "more after HTTP/1.0": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + SMUGGLED,
    "more after close": head(b"/", b"Connection: close") + SMUGGLED,
    "an early end of the chunks": head(b"/", b"Transfer-Encoding: chunked") + b"0\n\r\n" + SMUGGLED,
    "an early end of the trailer": head(b"/", b"Transfer-Encoding: chunked")
    + b"0\r\n\n"
    + SMUGGLED,
    "a CR in a chunk's extension": head(b"/", b"Transfer-Encoding: chunked")
    + b"0;a\rb\r\n\r\n"
    + SMUGGLED,
    "a size that overflows": head(b"/", b"Transfer-Encoding: chunked")
    + b"10000000000000000\r\n\r\n"
    + SMUGGLED,
    "a lone LF in the head": b"GET / HTTP/1.1\r\nHost: h\n\r\n" + SMUGGLED,
    "a lone CR in the head": b"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n" + SMUGGLED,
    "two Hosts": head(b"/", b"Host: evil") + SMUGGLED,
    "another version": b"GET / HTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n" + SMUGGLED,
    "HTTP/0.9": b"GET /\r\n\r\n" + SMUGGLED,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
}


@pytest.mark.parametrize("raw", SMUGGLING.values(), ids=SMUGGLING)
def test_what_two_readers_could_frame_in_two_ways_ends_the_connection(
    daemon: Daemon, raw: bytes
) -> None:
    (answer,) = ask(daemon, raw)
    assert answer.closes
    assert answer.field(b"location") in (None, b"https://k8s.gcr.io/")


def test_a_body_that_is_a_request_is_not_one(daemon: Daemon) -> None:
    raw = head(b"/a", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED + head(b"/b")
    answers = ask(daemon, raw, at_most=2)
    locations = [answer.field(b"location") for answer in answers]
    assert locations == [b"https://k8s.gcr.io/a", b"https://k8s.gcr.io/b"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (head(b"/" + b"x" * 70_000), 414),
        (head(b"/v2/" + b"%2e" * 23_000), 414),
        (b"x" * 70_000, 414),
        (head(b"/", b"a: " + b"x" * 70_000), 431),
        (head(b"/", *[b"a: b"] * 15_000), 431),
        (head(b"/", *[b"a:"] * 4_000), 302),
        (head(b"/" + b"\xff" * 16_000), 302),
        (head(b"/v2/" + b"a/" * 8_000), 302),
        (head(b"/?" + b"&" * 16_000), 302),
        (b"\r\n" * 100_000 + head(b"/"), 302),
        (head(b"/", b"X-Forwarded-For: " + b"1," * 8_000), 302),
        (head(b"/", b"Content-Length: 99999999999999999"), 302),
        (head(b"/", b"Content-Length: " + b"9" * 5_000), 400),
        (head(b"/", b"Content-Length: 1000000") + b"x" * 1_000_000, 302),
        (head(b"/", b"Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 100_000, 302),
    ],
)
def test_what_is_large_gets_its_one_answer(daemon: Daemon, raw: bytes, status: int) -> None:
    (answer,) = ask(daemon, raw)
    assert answer.status == status


def test_a_hundred_clients_that_do_not_read_hold_nobody_up(daemon: Daemon) -> None:
    """Each is owed more answers than fit into the sockets between."""
    greedy = [daemon.connect() for _ in range(100)]
    try:
        for connection in greedy:
            connection.setblocking(False)
            try:
                while connection.send(head(b"/" + b"x" * 400) * 200):
                    pass
            except BlockingIOError:
                pass
        for _ in range(20):
            assert daemon.ask("/v2/").status == 302
    finally:
        for connection in greedy:
            connection.close()


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_clients_that_vanish_leave_nothing_behind(daemon: Daemon, cut: int) -> None:
    def vanish(number: int) -> None:
        with daemon.connect() as connection:
            connection.sendall((head(b"/") * 50)[: cut * number + 1])
            linger = b"\x01\0\0\0\0\0\0\0"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(vanish, range(40)))
    check_unharmed(daemon)


VALID = [
    head(b"/v2/library/postgres/manifests/12-alpine?a=b", b"Accept: */*", b"User-Agent: docker"),
    head(b"http://front:10000/v2/", b"X-Real-IP: 192.168.0.1", b"Connection: TE, keep-alive"),
    head(b"/v2/a/blobs/uploads/", b"Content-Length: 5", method=b"POST") + b"hello",
    head(b"/v2/", b"Transfer-Encoding: chunked", method=b"PUT") + b"5\r\nhello\r\n0\r\n\r\n",
]
FLIPS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 7)), min_size=1, max_size=4)


@given(st.sampled_from(VALID), FLIPS)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bits_do_no_harm(daemon: Daemon, raw: bytes, flips: list[tuple[int, int]]) -> None:
    flipped = bytearray(raw)
    for position, bit in flips:
        flipped[position % len(flipped)] ^= 1 << bit
    received = converse(daemon, bytes(flipped))
    answers = read_answers(received, [b"HEAD"] if flipped.startswith(b"HEAD ") else [])
    # Where a flip changes the framing of chunks, what follows may be taken for a second request.
    assert len(answers) <= raw.count(b"\r\n\r\n")
    for answer in answers:
        check_harmless(answer)


@given(st.binary(min_size=1, max_size=400))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_do_no_harm(daemon: Daemon, raw: bytes) -> None:
    ask(daemon, raw + b"\r\n\r\n", at_most=1)
