"""Registries that do not do what they should: what their clients get, and what is left of it."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..issuers import DAY, NOW, new_key, new_root, pem, pem_key
from ..ports import free_port
from ..relay.upstream.loops import BlackHole
from .daemon import Daemon, eventually
from .registries import Behave, Registry, Visit, answer_of, echo, registry
from .relays import comes_to_have, descriptors, relaying
from .talk import over

OK = b"HTTP/1.1 200 OK\r\n"
SILENCE = 1.5
"""How long the registries here may be silent, in seconds."""
BAD = "/v2/bad/manifests/1"
GOOD = "/v2/good/manifests/1"


def saying(*pieces: bytes, then: str = "close") -> Behave:
    """A registry that says this to every request, with pauses, and then closes or whatever."""

    def behave(visit: Visit) -> None:
        while visit.request() is not None:
            for number, piece in enumerate(pieces):
                if number:
                    threading.Event().wait(SILENCE / 10)
                visit.say(piece)
            if then == "reset":
                visit.reset()
            elif then == "wait":
                visit.wait_for_end()
            return

    return behave


def in_answers(text: bytes) -> list[bytes]:
    """An answer, byte for byte."""
    return [text[at : at + 1] for at in range(len(text))]


CLEAN: dict[str, tuple[Behave, int]] = {
    "closes at once": (lambda visit: None, 502),
    "closes without an answer": (saying(), 502),
    "resets without an answer": (saying(then="reset"), 502),
    "is silent": (saying(then="wait"), 504),
    "half a head, and closes": (saying(b"HTTP/1.1 200 OK\r\nCont"), 502),
    "half a head, and is silent": (saying(b"HTTP/1.1 200 OK\r\nCont", then="wait"), 504),
    "half a small body, and closes": (saying(OK + b"Content-Length: 9\r\n\r\nhalf"), 502),
    "half a small body, and resets": (
        saying(OK + b"Content-Length: 9\r\n\r\nhalf", then="reset"),
        502,
    ),
    "half a small body, and is silent": (
        saying(OK + b"Content-Length: 9\r\n\r\nhalf", then="wait"),
        504,
    ),
    "another protocol": (saying(b"SSH-2.0-OpenSSH_9.2\r\n", then="wait"), 502),
    "nonsense": (saying(bytes(range(256)) * 10, then="wait"), 502),
    "TLS, where none is due": (saying(b"\x15\x03\x01\x00\x02\x02\x16", then="wait"), 502),
    "64 kB of fields": (
        saying(OK + b"X: " + b"x" * 65_536 + b"\r\nContent-Length: 0\r\n\r\n", then="wait"),
        502,
    ),
    "fields without end": (saying(OK + b"X: x\r\n" * 20_000, then="wait"), 502),
    "interim answers without end": (saying(b"HTTP/1.1 100 C\r\n\r\n" * 100, then="wait"), 502),
    "two lengths": (
        saying(OK + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", then="wait"),
        502,
    ),
    "a length and chunks": (
        saying(
            OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", then="wait"
        ),
        502,
    ),
    "a folded field": (saying(OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", then="wait"), 502),
    "bare line feeds": (saying(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", then="wait"), 502),
    "another protocol from now on": (
        saying(b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", then="wait"),
        502,
    ),
    "a redirect to itself": (
        saying(b"HTTP/1.1 307 T\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % BAD.encode()),
        502,
    ),
}
LENGTH_3 = b"Content-Length: 3\r\n\r\n"
LARGE = OK + b"Content-Length: 1000000\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN: dict[str, Behave] = {
    "half a large body, and closes": saying(LARGE + b"x" * 99_999),
    "half a large body, and resets": saying(LARGE, b"x" * 9, then="reset"),
    "half a large body, and is silent": saying(LARGE + b"x" * 9, then="wait"),
    "chunks without end": saying(CHUNKED + b"3\r\nabc\r\n"),
    "chunks, and is silent": saying(CHUNKED + b"3\r\nabc\r\n", then="wait"),
    "chunks and nonsense": saying(CHUNKED + b"3\r\nabc\r\n", b"nonsense\r\n", then="wait"),
    "a chunk that is too long": saying(CHUNKED + b"3\r\nabc\r\n", b"3\r\nabcde\r\n", then="wait"),
    "until it resets": saying(OK + b"\r\nabc", b"def", then="reset"),
}
WHOLE: dict[str, tuple[Behave, int, bytes]] = {
    "an error of its own": (saying(answer_of(b"oops", "500 Oops")), 500, b"oops"),
    "a slow head": (saying(*in_answers(OK[:5]), OK[5:] + b"\r\n"), 200, b""),
    "a slow body": (
        saying(OK + b"Content-Length: 5\r\n\r\n", *in_answers(b"hello")),
        200,
        b"hello",
    ),
    "more than it says": (
        saying(OK + b"Content-Length: 3\r\n\r\nabcdef", then="wait"),
        200,
        b"abc",
    ),
    "more chunks than it says": (
        saying(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n3\r\ndef\r\n0\r\n\r\n", then="wait"),
        200,
        b"abc",
    ),
    "two answers": (saying(answer_of(b"one") + answer_of(b"two"), then="wait"), 200, b"one"),
    "until it closes": (saying(OK + b"\r\nhello"), 200, b"hello"),
    "old": (saying(b"HTTP/1.0 200 OK\r\n\r\nold"), 200, b"old"),
}


class Bed:
    """A daemon before a bad registry and a good one."""

    def __init__(self, daemon: Daemon, bad: Registry, good: Registry) -> None:
        self.daemon = daemon
        self.bad = bad
        self.good = good
        self.before = 0

    def settles(self) -> bool:
        """Whether nothing is left of all requests but the connections that are kept."""
        return eventually(lambda: self.bad.open == 0) and comes_to_have(
            self.daemon.process.pid, self.before
        )


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    directory = tmp_path_factory.mktemp("faults")
    with (
        registry(lambda visit: None) as bad,
        registry(echo) as good,
        relaying(directory, {"bad": bad.url, "good": good.url}, f"idle: {SILENCE:g}s") as daemon,
    ):
        bed = Bed(daemon, bad, good)
        assert daemon.ask(GOOD).status == 200
        bed.before = descriptors(daemon.process.pid)
        yield bed


@pytest.mark.parametrize(("behave", "status"), CLEAN.values(), ids=CLEAN)
def test_no_answer_is_told_as_that_and_the_client_may_go_on(
    bed: Bed, behave: Behave, status: int
) -> None:
    bed.bad.behave = behave
    with bed.daemon.connect() as connected:
        client = over(connected)
        for path, media_type in [(BAD, "application/json"), ("/bad/", "text/plain; charset=utf-8")]:
            if path == "/bad/" and behave is CLEAN["a redirect to itself"][0]:
                continue
            client.request("GET", path)
            answer = client.getresponse()
            body = answer.read()
            assert (answer.status, answer.getheader("Content-Type")) == (status, media_type)
            message = body.decode()
            if path == BAD:
                (error,) = json.loads(body)["errors"]
                assert (error["code"], error["detail"]) == ("UNAVAILABLE", None)
                message = error["message"]
            assert message.startswith("the registry 'bad' gives no answer: ")
        client.request("GET", GOOD)
        assert client.getresponse().read() == f"GET {GOOD} 0".encode()
        assert client.sock is connected
    assert bed.settles()


def test_who_cannot_be_asked_what_he_wants_gives_no_answer_either(tmp_path: Path) -> None:
    """A registry is asked first what it asks for, unless its own challenge is to pass through."""
    # To the question a redirect is an answer.
    faults = [each for name, each in CLEAN.items() if name != "a redirect to itself"]
    tables = {f"r{number}": each for number, each in enumerate(faults)}
    with ExitStack() as stack:
        there = {
            name: stack.enter_context(registry(behave)) for name, (behave, _) in tables.items()
        }
        urls = {name: each.url for name, each in there.items()}
        daemon = stack.enter_context(
            relaying(tmp_path, urls, f"idle: {SILENCE:g}s", challenge="own")
        )
        daemon.ask("/")
        before = descriptors(daemon.process.pid)
        for name, (_, status) in tables.items():
            answers = []
            for method in ("GET", "PUT"):
                with daemon.connect() as connected:
                    client = over(connected)
                    client.request(method, f"/v2/{name}/manifests/1", body=b"x")
                    answer = client.getresponse()
                    (error,) = json.loads(answer.read())["errors"]
                    answers.append((answer.status, error["code"]))
                    # By its name, and not by where it is.
                    assert error["message"].startswith(f"the registry '{name}' ")
                    assert there[name].url not in error["message"]
            assert answers == [(status, "UNAVAILABLE")] * 2, name
        assert eventually(lambda: all(each.open == 0 for each in there.values()))
        assert comes_to_have(daemon.process.pid, before)


@pytest.mark.parametrize("behave", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_breaks_off_is_visibly_broken_off(bed: Bed, behave: Behave) -> None:
    """By a reset: neither its length nor a last chunk may say that it is whole."""
    bed.bad.behave = behave
    with bed.daemon.connect() as connected:
        connected.sendall(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % BAD.encode())
        raw, is_reset = b"", False
        try:
            while data := connected.recv(65536):
                raw += data
        except ConnectionResetError:
            is_reset = True
        assert is_reset
        assert raw.startswith(OK) or raw == b""
        assert not raw.endswith(b"0\r\n\r\n")
        assert len(raw) < 1_000_000
    assert bed.settles()


@pytest.mark.parametrize(("behave", "status", "body"), WHOLE.values(), ids=WHOLE)
def test_an_answer_that_is_whole_is_passed_on_whatever_comes_after_it(
    bed: Bed, behave: Behave, status: int, body: bytes
) -> None:
    bed.bad.behave = behave
    with bed.daemon.connect() as connected:
        client = over(connected)
        for _ in range(3):
            client.request("GET", BAD)
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (status, body)
            client.request("GET", GOOD)
            assert client.getresponse().read() == f"GET {GOOD} 0".encode()
    assert bed.settles()


# Who cannot be connected to.


def be_mute(visit: Visit) -> None:
    """Take whatever comes, and say nothing."""
    visit.wait_for_end()


@pytest.mark.parametrize(
    ("url", "status", "message"),
    [
        ("http://127.0.0.1:{nobody}", 502, "cannot connect: connection refused"),
        ("http://255.255.255.255", 502, "cannot connect: network is unreachable"),
        ("http://nobody.invalid", 502, "it has no address"),
        ("http://127.0.0.9:{silent}", 504, "it does not answer: connecting takes too long"),
        ("https://127.0.0.1:{plain}", 502, "TLS fails: WRONG_VERSION_NUMBER"),
        ("https://127.0.0.1:{mute}", 504, "it does not answer: connecting takes too long"),
    ],
)
def test_who_cannot_be_connected_to_gives_no_answer(
    tmp_path: Path, url: str, status: int, message: str
) -> None:
    silent = free_port()
    with ExitStack() as stack:
        stack.callback(BlackHole("127.0.0.9", silent).close)
        plain = stack.enter_context(
            registry(lambda visit: visit.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        )
        mute = stack.enter_context(registry(be_mute))
        at = url.format(nobody=free_port(), silent=silent, plain=plain.port, mute=mute.port)
        daemon = stack.enter_context(relaying(tmp_path, {"bad": at}, "connect: 250ms"))
        daemon.ask("/")
        before = descriptors(daemon.process.pid)
        with daemon.connect() as connected:
            client = over(connected)
            for _ in range(3):
                began = time.monotonic()
                client.request("GET", BAD)
                answer = client.getresponse()
                (error,) = json.loads(answer.read())["errors"]
                assert answer.status == status
                assert error["message"] == f"the registry 'bad' gives no answer: {message}"
                assert time.monotonic() - began > 0.2 or status != 504
        assert comes_to_have(daemon.process.pid, before)


ROOT, OTHER, KEY = new_root(), new_root(), new_key()


def served(
    directory: Path, name: str, *, is_old: bool = False, by: object = ROOT
) -> ssl.SSLContext:
    """A server's TLS with a certificate for a name."""
    issuer = ROOT if by is ROOT else OTHER
    leaf = issuer.sign(KEY, name, begins=NOW - 3 * DAY, ends=NOW + (-1 if is_old else 1) * DAY)
    file = directory / "served.pem"
    file.write_bytes(pem(leaf) + pem_key(KEY))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.mark.parametrize(
    ("name", "is_old", "by", "words"),
    [
        ("localhost", False, ROOT, None),
        (
            "other.example",
            False,
            ROOT,
            "Hostname mismatch, certificate is not valid for 'localhost'.",
        ),
        ("localhost", True, ROOT, "certificate has expired"),
        ("localhost", False, OTHER, "certificate signature failure"),
    ],
    ids=["right", "another name", "expired", "unknown authority"],
)
def test_over_tls_nobody_but_the_registry_is_believed(
    tmp_path: Path, name: str, is_old: bool, by: object, words: str | None
) -> None:
    """Not even a byte of the request is sent to anyone else."""
    (tmp_path / "ca.pem").write_bytes(pem(ROOT.certificate))
    seen: list[object] = []

    def behave(visit: Visit) -> None:
        request = visit.request()
        seen.append(request)
        visit.say(answer_of(b"hello"))

    with (
        registry(behave, served(tmp_path, name, is_old=is_old, by=by)) as there,
        relaying(tmp_path, {"bad": there.url}, "ca: ca.pem") as daemon,
        daemon.connect() as connected,
    ):
        client = over(connected)
        client.request("GET", BAD, headers={"Authorization": "Basic c2VjcmV0"})
        answer = client.getresponse()
        body = answer.read()
        if words is None:
            assert (answer.status, body) == (200, b"hello")
            assert len(seen) == 1
        else:
            (error,) = json.loads(body)["errors"]
            assert answer.status == 502
            assert error["message"].endswith(f"its certificate is not to be trusted: {words}")
            assert seen == []
