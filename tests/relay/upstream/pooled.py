"""A pool of connections to a registry that a test plays, and who asks for them."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from regroute.registry import Terms
from regroute.relay.upstream.ask import Unreachable
from regroute.relay.upstream.connect import Place
from regroute.relay.upstream.connection import Upstream
from regroute.relay.upstream.pool import Pool

from ...ports import free_port
from .ends import Asked
from .loops import Loop, Resolver, deliver

HERE = "127.0.0.2"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
MIB = 1 << 20
FULL = "503 there are as many requests to it as there may be"


class Waiter(Asked):
    """Who asks one thing."""

    def __init__(self, seconds: float, connections: int) -> None:
        super().__init__()
        self.terms = Terms(idle=seconds, connect=seconds, connections=connections)
        self.upstream: Upstream | None = None
        self.failure: str | None = None

    def connected(self, upstream: Upstream) -> None:
        """Ask."""
        assert self.upstream is None
        assert self.failure is None
        self.upstream = upstream
        upstream.ask(b"GET / HTTP/1.1\r\n\r\n", b"GET", self)
        upstream.sent()

    def failed(self, why: Unreachable, *, is_stale: bool) -> None:
        """There is none, or it has ended."""
        super().failed(why, is_stale=is_stale)
        assert self.failure is None
        self.failure = f"{why.status} {why.message}"

    @property
    def is_answered(self) -> bool:
        return self.told[-1:] == ["ended"]


class Registry:
    """The registry's end of all connections."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections: list[socket.socket] = []
        self.open()

    def open(self) -> None:
        """Listen."""
        self._listening = socket.create_server((HERE, self.port), backlog=2000)
        self._listening.setblocking(False)

    def accept(self) -> list[socket.socket]:
        """All connections so far, in the order in which they came."""
        while True:
            try:
                accepted, _ = self._listening.accept()
            except BlockingIOError:
                return self.connections
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(accepted)

    def close(self) -> None:
        """Be gone, with all connections."""
        self._listening.close()
        for each in self.connections:
            each.close()
        self.connections.clear()


class Bed:
    """A pool, and a registry that a test plays."""

    def __init__(self, stack: ExitStack) -> None:
        self.loop = Loop()
        self.registry = Registry(free_port())
        self.pool = Pool(Resolver(), self.loop, self.loop.clock)
        self.where = Place(f"http://{HERE}:{self.registry.port}", None)
        stack.callback(self.registry.close)

    def ask(self, *, connections: int = 9, seconds: float = 5.0, fresh: bool = False) -> Waiter:
        """Let somebody ask, as far as it goes."""
        waiter = Waiter(seconds, connections)
        self.pool.acquire(self.where, waiter.terms, waiter, fresh=fresh)
        self.loop.settle()
        return waiter

    def answer(self, at: int, raw: bytes = OK) -> None:
        """Let the registry answer on one of its connections."""
        self.say(at, raw)
        self.loop.settle()

    def say(self, at: int, raw: bytes) -> None:
        """Let the registry send something, which has come by then."""
        connection = self.registry.accept()[at]
        connection.sendall(raw)
        deliver(connection)

    def pass_time(self, seconds: float) -> None:
        """Let so much time pass."""
        self.loop.clock.advance(seconds)
        self.pool.sweep()
        self.loop.settle()

    @property
    def count(self) -> int:
        """How many connections the registry has been given so far."""
        return len(self.registry.accept())

    def has_ended(self, at: int) -> bool:
        """Whether a connection has been closed from this side."""
        each = self.registry.accept()[at]
        try:
            while each.recv(65536):
                pass
        except BlockingIOError:
            return False
        except ConnectionResetError:
            pass
        return True
