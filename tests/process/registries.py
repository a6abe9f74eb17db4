"""Registries of the tests' own, on real sockets: good ones, and as faulty as a test likes."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO, NamedTuple, TypeAlias

from .daemon import PATIENCE

MIB = 1 << 20
PIECE = bytes(range(256)) * 256
"""64 KiB of what large bodies are made of."""


class Request(NamedTuple):
    """What a registry is asked; names of fields are in lower case."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]

    def field(self, name: str) -> str | None:
        """The value of the first field with this name."""
        return next((value for key, value in self.fields if key == name), None)


class Visit:
    """One connection to a registry, as that sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._input: BinaryIO = connection.makefile("rb")

    def request(self) -> Request | None:
        """The head of the next request; None at the end."""
        line = self._input.readline()
        if not line:
            return None
        method, target, _ = line.decode("latin-1").split(" ")
        fields = []
        while (line := self._input.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            fields.append((name.lower(), value.strip()))
        return Request(method, target, tuple(fields))

    def body(self, request: Request) -> Iterator[bytes]:
        """The request's body, piece by piece; raises `EOFError` where it breaks off."""
        if request.field("transfer-encoding") is None:
            yield from self._exactly(int(request.field("content-length") or "0"))
            return
        while size := int(self._input.readline().partition(b";")[0], 16):
            yield from self._exactly(size)
            self._input.readline()
        while self._input.readline() not in (b"\r\n", b""):
            pass

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._input.read(min(size, len(PIECE)))
            if not piece:
                raise EOFError
            size -= len(piece)
            yield piece

    def say(self, data: bytes) -> None:
        """Send something."""
        self._connection.sendall(data)

    def wait_for_end(self) -> bytes:
        """Do nothing more until the other end closes; what still comes until then."""
        with suppress(OSError):
            return self._input.read()
        return b""

    def is_left(self, seconds: float) -> bool:
        """Whether the other end closes, or says anything more, within a time."""
        return bool(select.select([self._connection], [], [], seconds)[0])

    def reset(self) -> None:
        """Break the connection off."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Behave: TypeAlias = Callable[[Visit], None]
"""What a registry does on a connection, which is closed at the end of it."""


class Registry:
    """Behaves to everyone who connects as it is told; each has a thread of its own."""

    def __init__(
        self, behave: Behave, context: ssl.SSLContext | None = None, *, port: int = 0
    ) -> None:
        self.behave = behave
        self.accepted = 0
        self.failures: list[str] = []
        self._context = context
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}" if self._context is None else self.named("localhost")

    def named(self, name: str) -> str:
        """Where it is over TLS, by a name."""
        return f"https://{name}:{self.port}"

    @property
    def open(self) -> int:
        """How many connections there are at the moment."""
        with self._lock:
            return len(self._open)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                self.accepted += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.settimeout(PATIENCE)
            if self._context is not None:
                connection = self._context.wrap_socket(plain, server_side=True)
            self.behave(Visit(connection))
            if isinstance(connection, ssl.SSLSocket):
                connection.unwrap()
        except (OSError, EOFError):
            # Whoever asks may leave at any moment.
            pass
        except Exception as failure:
            self.failures.append(repr(failure))
        finally:
            with self._lock:
                self._open.discard(plain)
            connection.close()

    def close(self) -> None:
        """Be gone."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        assert self.failures == []


@contextmanager
def registry(behave: Behave, context: ssl.SSLContext | None = None) -> Iterator[Registry]:
    """A registry, until the block ends."""
    with ExitStack() as stack:
        there = Registry(behave, context)
        stack.callback(there.close)
        yield there


def echo(visit: Visit) -> None:
    """A good registry: its answers say what was asked, and are as long as their paths say."""
    while (request := visit.request()) is not None:
        size = sum(len(piece) for piece in visit.body(request))
        body = f"{request.method} {request.target} {size}".encode()
        visit.say(answer_of(body, method=request.method))


def answer_of(body: bytes, status: str = "200 OK", *, method: str = "GET") -> bytes:
    """A whole answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return head if method == "HEAD" else head + body


def pieces(size: int) -> Iterator[bytes]:
    """A large body of so many bytes."""
    for _ in range(size // len(PIECE)):
        yield PIECE
    if rest := size % len(PIECE):
        yield PIECE[:rest]


def stream(size: int) -> Behave:
    """A registry whose every answer is large; it takes large bodies too, and says how large."""

    def behave(visit: Visit) -> None:
        while (request := visit.request()) is not None:
            taken = sum(len(piece) for piece in visit.body(request))
            if request.method != "GET":
                visit.say(answer_of(b"%d" % taken, "201 Created"))
                continue
            visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for piece in pieces(size):
                visit.say(piece)

    return behave
