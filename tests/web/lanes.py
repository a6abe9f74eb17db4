"""A lane that a test drives by hand, and clients of it on real connections."""

import fcntl
import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar, cast

from regroute.config.schema import Limits
from regroute.logs.access_log import Entry, line_of, line_template
from regroute.reactor import Reactor
from regroute.rules import RuleSet
from regroute.web.lane import Lane
from regroute.web.lane_tls import LaneTLS
from regroute.web.tree import Site

from ..making import Books, site_of
from .handshakes import TLSClient
from .memory import SEED_RULES, Turns

_T = TypeVar("_T")

PATIENCE = 10.0
"""How long the kernel may take to move bytes that it has, in seconds."""
UNSENT = 0x894B
"""SIOCOUTQNSD: how many bytes have not left yet. What leaves for this machine itself has come."""
DELIVERY = 5000
"""How many times the kernel is asked whether it has delivered something, at the most."""


class LaneClock(Turns):
    """What a lane needs of a reactor: a clock, and nobody who polls."""

    def addReader(self, reader: object) -> None:
        """Nothing: the test calls `doRead`."""

    def removeReader(self, reader: object) -> None:
        """Nothing."""


class Laned:
    """A lane, its site, and what is recorded; `rules` may be replaced at any time."""

    def __init__(self, rules: RuleSet = SEED_RULES, limits: Limits | None = None) -> None:
        self.rules = rules
        self.clock = LaneClock()
        self.books = Books()
        self.entries = self.books.entries
        self.site: Site = site_of(
            lambda: self.rules, self.clock, self.books.record, limits, count=self.books.tally.count
        )
        self.site.remember = self.books.remember
        self.lane = Lane(self.site, cast("Reactor", self.clock))
        self.lane.start()
        self._listening = socket.create_server(("127.0.0.1", 0))
        # As our own have it: what is sent has come.
        self._listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients: list[Talker] = []

    def connect(
        self,
        peer: str = "192.0.2.9",
        first: bytes = b"",
        tls: LaneTLS | None = None,
        *,
        is_narrow: bool = False,
    ) -> "Talker":
        """A client that the lane believes to be at `peer`; `first` is there when it is adopted.

        The kernel takes few bytes at once for a client that is narrow.
        """
        near = socket.socket()
        if is_narrow:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        near.connect(self._listening.getsockname())
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted, _ = self._listening.accept()
        if is_narrow:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        talker = Talker(self, near)
        self._clients.append(talker)
        if first:
            near.sendall(first)
            talker.deliver()
        self.lane.refresh()
        self.lane.adopt(accepted, (peer, 50000, 0, 0) if ":" in peer else (peer, 50000), tls)
        self.settle()
        return talker

    def settle(self) -> None:
        """Let the lane work until nothing moves any more."""
        while self.clock.turn() or select.select([self.lane.fileno()], [], [], 0)[0]:
            self.lane.doRead()

    def lines(self) -> list[bytes]:
        """What is recorded, without the times."""
        return lines_of(self.entries)

    def close(self) -> None:
        """End everything."""
        self.site.abort()
        self.settle()
        self.lane.stop()
        self.leave()

    def leave(self) -> None:
        """End what clients have."""
        self._listening.close()
        for client in self._clients:
            client.near.close()


def lines_of(entries: list[Entry]) -> list[bytes]:
    """Entries as the logs write them, without the times."""
    templates = line_template("json", "full"), line_template("combined", "full")
    timeless = [entry._replace(time=0.0, microseconds=0) for entry in entries]
    return [b"".join(line_of(entry, template) for template in templates) for entry in timeless]


@contextmanager
def laned(rules: RuleSet = SEED_RULES, limits: Limits | None = None) -> Iterator[Laned]:
    """A lane, until the block ends."""
    bed = Laned(rules, limits)
    try:
        yield bed
    finally:
        bed.close()


class Talker:
    """A client of a lane. `received` is all that it has got, `fate` how its connection is left."""

    def __init__(self, bed: Laned, near: socket.socket) -> None:
        self.bed = bed
        self.near = near
        self.received = b""
        self.fate = "open"

    def deliver(self) -> None:
        """Wait until the other kernel end has what has been sent, or takes no more."""
        before = -1
        for _ in range(DELIVERY):
            with suppress(OSError):
                raw = fcntl.ioctl(self.near, UNSENT, b"\0\0\0\0")
                (left,) = struct.unpack("i", raw)
                if left == 0:
                    return
                before = left
        assert before > 0

    def send(self, *pieces: bytes) -> "Talker":
        """Send pieces, and let the lane take each; none after the end."""
        for piece in pieces:
            if self.fate != "open":
                break
            with suppress(OSError):
                self.near.sendall(piece)
            self.deliver()
            self.read()
        return self

    def end(self) -> "Talker":
        """Close our half."""
        with suppress(OSError):
            self.near.shutdown(socket.SHUT_WR)
        self.read()
        return self

    def read(self) -> bytes:
        """Let the lane work, and take all that comes of it; all that has ever come."""
        self.bed.settle()
        while self.fate == "open":
            try:
                data = self.near.recv(1 << 20, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except ConnectionResetError:
                self.fate = "reset"
                break
            self.received += data
            if not data:
                self.fate = "ended"
            self.bed.settle()
        return self.received

    def read_to(self, size: int) -> bytes:
        """Go on until so many bytes have come, and all that comes with them."""
        deadline = time.monotonic() + PATIENCE
        while len(self.read()) < size and self.fate == "open" and time.monotonic() < deadline:
            select.select([self.near.fileno(), self.bed.lane.fileno()], [], [], 0.1)
        return self.read()


class TLSTalker(TLSClient):
    """A client of a lane over TLS, on a connection that has been adopted."""

    def __init__(
        self,
        talker: Talker,
        context: ssl.SSLContext,
        name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        super().__init__(context, name, session)
        self.talker = talker
        self.received = b""
        self.has_ended = False
        self._fed = 0

    def pump(self) -> bool:
        """Move what is there in both directions; false if nothing came."""
        self.talker.send(self._out.read())
        self.talker.read()
        raw = self.talker.received[self._fed :]
        self._fed = len(self.talker.received)
        self._in.write(raw)
        return bool(raw)

    def do(self, act: Callable[[], _T]) -> _T:
        """Do something, and move bytes to and fro until it is done; an alert is sent as well."""
        try:
            return super().do(act)
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError:
            self.pump()
            raise

    def send(self, *pieces: bytes) -> "TLSTalker":
        """Send pieces, a record each, and take what comes back."""
        for piece in pieces:
            if self.has_ended:
                break
            if piece:
                self.tls.write(piece)
            self.read()
        return self

    def read(self) -> bytes:
        """Take what has come; all that has ever come. The other end closes by close_notify."""
        with suppress(ssl.SSLWantReadError):
            while not self.has_ended:
                try:
                    data = self.do(lambda: self.tls.read(1 << 16))
                except ssl.SSLZeroReturnError:
                    data = b""
                self.received += data
                self.has_ended = not data
        return self.received

    def close_notify(self) -> "TLSTalker":
        """Close our half."""
        with suppress(ssl.SSLError):
            self.tls.unwrap()
        self.pump()
        return self


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir(Path("/proc/self/fd")))
