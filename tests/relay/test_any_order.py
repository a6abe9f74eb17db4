"""Whatever comes in which order and in which pieces: each answer is that of its request, whole."""

from __future__ import annotations

from dataclasses import dataclass, field

import h11
from hypothesis import given
from hypothesis import strategies as st

from .desk import Desk
from .upstream.ends import End


@dataclass(frozen=True)
class Wanted:
    """A request, and how its registry frames the answer."""

    method: str
    number: int
    body: bytes
    is_chunked: bool
    framing: str
    length: int

    @property
    def raw(self) -> bytes:
        """What the client sends."""
        head = f"{self.method} /v2/a/blobs/{self.number} HTTP/1.1\r\nHost: h\r\n".encode()
        if self.method != "PUT":
            return head + b"\r\n"
        if not self.is_chunked:
            return head + b"Content-Length: %d\r\n\r\n%b" % (len(self.body), self.body)
        chunk = b"%x\r\n%b\r\n" % (len(self.body), self.body) if self.body else b""
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"

    @property
    def content(self) -> bytes:
        """What the answer has to say."""
        said = b"%d %b" % (self.number, self.body)
        return said.ljust(self.length, b".")

    @property
    def answer(self) -> bytes:
        """What the registry sends; after all but one it goes on."""
        content = self.content
        if self.framing == "chunked":
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
            return head if self.method == "HEAD" else head + body
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(content)
        if self.framing == "last":
            head += b"Connection: close\r\n"
        return head + b"\r\n" + (b"" if self.method == "HEAD" else content)


WANTED = st.lists(
    st.builds(
        Wanted,
        method=st.sampled_from(["GET", "HEAD", "PUT", "PUT"]),
        number=st.just(0),
        body=st.binary(max_size=30) | st.integers(0, 200_000).map(lambda size: b"b" * size),
        is_chunked=st.booleans(),
        framing=st.sampled_from(["counted", "chunked", "last"]),
        length=st.sampled_from([0, 40, 70_000, 150_000]),
    ),
    min_size=1,
    max_size=6,
)
SIZES = st.sampled_from([1, 3, 50, 1000, 40_000, 200_000])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("client"), SIZES),
        st.tuples(st.just("connect"), st.sampled_from([10, 1000, 10**9])),
        st.tuples(st.just("registry"), SIZES),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("read"), st.just(0)),
        st.tuples(st.just("narrow"), st.sampled_from([0, 100, 100_000])),
    ),
    min_size=40,
    max_size=80,
)


@dataclass
class Served:
    """A connection as the registry sees it."""

    end: End
    reader: h11.Connection = field(default_factory=lambda: h11.Connection(h11.SERVER))
    bodies: bytes = b""
    target: bytes = b""
    to_say: bytes = b""


class Play:
    """A client, a front and a registry, of which each goes a step when it is told to."""

    def __init__(self, wanted: list[Wanted]) -> None:
        self.desk = Desk()
        self.wanted = [
            Wanted(each.method, number, each.body, each.is_chunked, each.framing, each.length)
            for number, each in enumerate(wanted)
        ]
        self.to_send = b"".join(each.raw for each in self.wanted)
        self.received = b""
        self.served: list[Served] = []

    def step(self, act: str, size: int) -> None:
        """Do one thing, and let come of it what does."""
        desk = self.desk
        if act == "client":
            piece, self.to_send = self.to_send[:size], self.to_send[size:]
            desk.client.send(piece)
        elif act == "connect" and desk.ends.waiting:
            self.served.append(Served(desk.ends.connect(size)))
        elif act == "registry":
            for each in self.served:
                self.answer(each, size)
        elif act == "take":
            for each in self.served:
                self.take(each)
        elif act == "read":
            self.received += desk.client.read()
        elif act == "narrow":
            desk.client.wire.capacity = size
        desk.settle()
        # What may be used again is, as by the pool.
        kept = [each.end for each in self.served if each.end.protocol in desk.ends.released]
        desk.ends.kept += [end for end in kept if end not in desk.ends.kept]
        desk.ends.released.clear()

    def take(self, served: Served) -> None:
        """Read what has been sent, and think of an answer when a request is whole."""
        if sent := served.end.take():
            served.reader.receive_data(sent)
        while True:
            event = served.reader.next_event()
            if isinstance(event, h11.Request):
                served.target, served.bodies = bytes(event.target), b""
            elif isinstance(event, h11.Data):
                served.bodies += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                number = int(served.target.rsplit(b"/")[-1])
                wanted = self.wanted[number]
                assert served.bodies == (wanted.body if wanted.method == "PUT" else b"")
                served.to_say += wanted.answer
                # To h11 it is answered at once; what it says of that is not sent.
                served.reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                served.reader.send(h11.EndOfMessage())
                served.reader.start_next_cycle()
            else:
                return

    def answer(self, served: Served, size: int) -> None:
        """Say some more of the answer."""
        piece, served.to_say = served.to_say[:size], served.to_say[size:]
        if piece:
            assert served.end.fate == "open"
            served.end.send(piece)

    def finish(self) -> None:
        """Let everything come to its end."""
        for _ in range(40 * (len(self.wanted) + 1)):
            for act in ("client", "connect", "take", "registry", "read"):
                self.step(act, 10**9)


@given(WANTED, STEPS)
def test_each_answer_is_that_of_its_request(
    wanted: list[Wanted], steps: list[tuple[str, int]]
) -> None:
    """h11 is both the client and the registry."""
    play = Play(wanted)
    for act, size in steps:
        play.step(act, size)
    play.finish()
    reader = h11.Connection(h11.CLIENT)
    reader.receive_data(play.received)
    for each in play.wanted:
        reader.send(h11.Request(method=each.method, target="/", headers=[("Host", "h")]))
        reader.send(h11.EndOfMessage())
        response, content = reader.next_event(), b""
        assert isinstance(response, h11.Response)
        while isinstance(event := reader.next_event(), h11.Data):
            content += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        assert content == (b"" if each.method == "HEAD" else each.content)
        reader.start_next_cycle()
    assert reader.trailing_data[0] == b""
    assert play.desk.is_client_open
    sizes = [0 if each.method == "HEAD" else len(each.content) for each in play.wanted]
    assert [(status, size) for _, _, status, size in play.desk.entries] == [
        (200, size) for size in sizes
    ]
