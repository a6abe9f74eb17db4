"""Connections of the lane, which have sent nothing but plain heads, each by itself."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from select import EPOLLIN
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from ..metrics.events import Event
from .connection import PROXY_IDLE_TIME
from .lane_tls import LaneTLS
from .memory import Served
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
    is_secure = False
    """Whether the client speaks TLS with us."""

    __slots__ = (
        "_answers",
        "_era",
        "_lane",
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
        self._era: object = None
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
        if self._era is not lane.era:
            self._era = lane.era
            self._answers = lane.memory.answers_for(self.name[0])
        served = self._answers.get(data)
        if served is None:
            served = lane.recognise(data, self.name[0], is_secure=self.is_secure)
            if served is None:
                lane.leave(self, data)
                return
        answer = served.before + lane.date + served.after
        if lane.is_recording:
            lane.record_served(served, self.name[0], began)
        try:
            sent = self._send(answer, _DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = -1
        self.seen = lane.now
        if sent != len(answer):
            if sent < 0:
                lane.close(self)
            else:
                self.leave_unsent(answer[sent:], closes=served.closes)
        elif served.closes:
            self._finish()

    def _finish(self) -> None:
        """Close, for all is sent."""
        self._lane.close(self)

    def leave_unsent(self, unsent: bytes, *, closes: bool) -> None:
        """The kernel has not taken all: the tree's transport waits until it does."""
        connection = self._lane.leave(self, b"", unsent)
        if closes:
            connection.close_idle(self._lane.now)

    def sweep(self, now: float) -> None:
        """Close, if nothing has come for too long."""
        if now - self.seen < self.patience:
            return
        if self.patience < PROXY_IDLE_TIME and self._lane.trusts(self.name):
            self.patience = PROXY_IDLE_TIME
        else:
            self._lane.count(Event.IDLE)
            self._lane.close(self)

    def drain(self) -> None:
        """Nothing: a lane that drains leaves all that comes to the tree."""

    def close_idle(self, since: float) -> None:
        """Close, if nothing has come since then, nor has just come."""
        if self.seen <= since:
            self.ready(EPOLLIN)
            if self._lane.visitors.get(self.fd) is self:
                self._lane.close(self)

    def abort(self) -> None:
        """Close at once."""
        self._lane.close(self)


class EncryptedVisitor(Visitor):
    """A visitor over TLS. Its handshake has a deadline of its own."""

    is_secure = True

    __slots__ = ("_encrypted",)

    def __init__(
        self, lane: Lane, accepted: socket.socket, name: Name, patience: float, tls: LaneTLS
    ) -> None:
        super().__init__(lane, accepted, name, patience)
        self._encrypted = Encrypted(accepted, tls.context(), lane.count)
        self._receive = self._encrypted.receive
        self._send = self._encrypted.send

    def stream(self) -> Stream:
        """The connection, for the tree."""
        return self._encrypted

    def ready(self, event: int) -> None:
        """Go on with the handshake, or serve what has come."""
        super().ready(event)
        encrypted = self._encrypted
        is_done = encrypted.is_clogged or encrypted.has_ended
        if is_done and self._lane.visitors.get(self.fd) is self:
            if encrypted.is_clogged:
                self._lane.leave(self, b"")
            else:
                self._lane.close(self)

    def _finish(self) -> None:
        """Close, when all is sent."""
        if self._encrypted.is_clogged:
            self.leave_unsent(b"", closes=True)
        else:
            super()._finish()

    def sweep(self, now: float) -> None:
        """Close, if the handshake takes too long, or nothing has come for too long."""
        if not self._encrypted.is_handshaking:
            super().sweep(now)
        elif now - self.seen >= HANDSHAKE_TIME:
            self._encrypted.end_handshake(Event.HANDSHAKE_LATE)
            self._lane.close(self)

    def close(self) -> None:
        """Tell the client, and close."""
        with suppress(OSError):
            self._encrypted.shut()
        self._encrypted.close()
