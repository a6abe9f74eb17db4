"""Connections of the lane, which have sent nothing but plain heads, each by itself."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from select import EPOLLIN
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from .connection import PROXY_IDLE_TIME
from .lane_tls import LaneTLS
from .memory import Memory, Served
from .streams import Encrypted, Plain, Stream
from .tls import HANDSHAKE_TIME

if TYPE_CHECKING:
    from .lane import Lane

SHORT = 4096
"""How many bytes are taken at once: a longer head is for the tree."""

_DONTWAIT = socket.MSG_DONTWAIT

Name: TypeAlias = tuple[str, int] | tuple[str, int, int, int]


class Visitor:
    """A connection in the lane: it has sent nothing but plain heads, each by itself."""

    mask = EPOLLIN

    __slots__ = (
        "_answers",
        "_lane",
        "_memory",
        "_receive",
        "_send",
        "fd",
        "name",
        "patience",
        "seen",
        "socket",
    )

    def __init__(self, lane: Lane, accepted: socket.socket, name: Name, patience: float) -> None:
        self._lane = lane
        self._memory: Memory | None = None
        self._answers: dict[bytes, Served] = {}
        self.socket = accepted
        self._receive: Callable[[int, int], bytes] = accepted.recv
        self._send: Callable[[bytes, int], int] = accepted.send
        self.fd = accepted.fileno()
        self.name = name
        self.patience = patience  # how long it may be idle, in seconds
        self.seen = lane.now

    def stream(self) -> Stream:
        """The connection, for the tree."""
        return Plain(self.socket)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def ready(self, event: int) -> None:
        """Serve what has come. Every microsecond here is one a request."""
        try:
            data = self._receive(SHORT, _DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.serve(data)

    def serve(self, data: bytes) -> None:
        """Answer one plain, whole head; whatever else has come is for the tree."""
        lane = self._lane
        if not data:
            lane.close(self)
            return
        began = perf_counter() if lane.is_recording else 0.0
        if self._memory is not lane.memory:
            self._memory = lane.memory
            self._answers = lane.memory.answers_for(self.name[0])
        served = self._answers.get(data)
        if served is None and (served := lane.recognise(data, self.name[0])) is None:
            lane.leave(self, data)
            return
        answer = served.before + lane.date + served.after
        try:
            sent = self._send(answer, _DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = -1
        self.seen = lane.now
        if lane.is_recording:
            lane.record_served(served, self.name[0], began)
        if sent != len(answer):
            self._leave_unsent(answer[sent:] if sent >= 0 else b"", served)
        elif served.closes:
            lane.close(self)

    def _leave_unsent(self, unsent: bytes, served: Served) -> None:
        """The kernel has not taken all: the tree's transport waits until it does."""
        if not unsent:
            self._lane.close(self)
            return
        connection = self._lane.leave(self, b"", unsent)
        if served.closes:
            connection.drain()

    def sweep(self, now: float) -> None:
        """Close, if nothing has come for too long."""
        if now - self.seen < self.patience:
            return
        if self.patience < PROXY_IDLE_TIME and self._lane.trusts(self.name):
            self.patience = PROXY_IDLE_TIME
        else:
            self._lane.close(self)

    def drain(self) -> None:
        """Answer what has come, and end as the tree ends connections."""
        if self.fd in self._lane.visitors:
            self.ready(EPOLLIN)
        if self.fd in self._lane.visitors:
            self._lane.leave(self, b"").drain()

    def abort(self) -> None:
        """Close at once."""
        self._lane.close(self)


class EncryptedVisitor(Visitor):
    """A visitor over TLS. Its handshake has a deadline of its own."""

    __slots__ = ("_encrypted", "_idle_time")

    def __init__(
        self, lane: Lane, accepted: socket.socket, name: Name, patience: float, tls: LaneTLS
    ) -> None:
        super().__init__(lane, accepted, name, HANDSHAKE_TIME)
        self._idle_time = patience
        self._encrypted = Encrypted(accepted, tls.context())
        self._receive = self._encrypted.receive
        self._send = self._encrypted.send

    def stream(self) -> Stream:
        """The connection, for the tree."""
        return self._encrypted

    def ready(self, event: int) -> None:
        """Go on with the handshake, or serve what has come."""
        super().ready(event)
        if self._lane.visitors.get(self.fd) is self:
            if self._encrypted.has_ended:
                self._lane.close(self)
            elif self._encrypted.is_clogged:
                self._lane.leave(self, b"")

    def sweep(self, now: float) -> None:
        """Close, if nothing has come for too long."""
        if self.patience == HANDSHAKE_TIME and not self._encrypted.is_handshaking:
            self.patience = self._idle_time
        super().sweep(now)

    def close(self) -> None:
        """Tell the client, and close."""
        with suppress(OSError):
            self._encrypted.shut()
        self.socket.close()
