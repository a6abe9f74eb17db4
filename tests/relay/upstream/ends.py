"""Connections to a registry in memory: what was sent on them, and what the registry does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure

from regroute.relay.upstream.connection import Upstream
from regroute.web.streams import RECEIVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IProducer

    from regroute.registry import Terms
    from regroute.relay.upstream.ask import Unreachable
    from regroute.relay.upstream.connect import Place


class Waiter(Protocol):
    """Who asks for a connection."""

    def connected(self, upstream: Upstream) -> None: ...
    def failed(self, why: Unreachable, *, is_stale: bool) -> None: ...


class End:
    """The transport of a connection to a registry; with a `capacity` it is full beyond that.

    As with a real one, nothing comes while it is paused, and its end is told in a turn of its own.
    """

    protocol: Upstream

    def __init__(self, capacity: int | None = None) -> None:
        self.sent = bytearray()
        self.capacity = capacity
        self.is_reading = True
        self.fate = "open"
        self.to_come = b""
        self.portion = RECEIVE
        self.most = 0  # how many bytes have come at once
        self._producer: IPushProducer | None = None
        self._is_full = False
        self._end: Failure | None = None

    # What the connection does.

    def write(self, data: bytes) -> None:
        assert self._end is not None or self.fate == "open", "written after the end"
        self.sent += data
        if self.capacity is not None and len(self.sent) > self.capacity and not self._is_full:
            self._is_full = True
            assert self._producer is not None
            self._producer.pauseProducing()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        assert streaming
        self._producer = IPushProducer(producer)

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        self.is_reading = False

    def resumeProducing(self) -> None:
        self.is_reading = True

    def is_quiet(self) -> bool:
        return not self.to_come and self.fate == "open"

    def loseConnection(self) -> None:
        self._lose("closed", Failure(ConnectionDone()))

    def loseWriteConnection(self) -> None:
        raise AssertionError("a half-closed request is given up by many registries")

    def abortConnection(self) -> None:
        self._lose("aborted", Failure(ConnectionAborted()))

    def _lose(self, fate: str, why: Failure) -> None:
        if self.fate == "open":
            self.fate = fate
            self._end = why

    # What the registry does.

    def take(self) -> bytes:
        """All that has been sent, which makes room for more."""
        sent = bytes(self.sent)
        self.sent.clear()
        if self._is_full:
            self._is_full = False
            assert self._producer is not None
            self._producer.resumeProducing()
        return sent

    def send(self, *pieces: bytes) -> End:
        """Send pieces, each of which comes by itself unless the connection is paused."""
        for piece in pieces:
            self.to_come += piece
            self.settle()
        return self

    def close(self) -> End:
        """Close, after all that has been sent."""
        return self._leave(Failure(ConnectionDone()))

    def reset(self) -> End:
        """Break off."""
        return self._leave(Failure(ConnectionLost()))

    def _leave(self, why: Failure) -> End:
        self.settle()
        assert not self.to_come, "its end would come before what was sent"
        self._lose("left", why)
        return self.settle()

    def settle(self) -> End:
        """Let happen what is to happen."""
        while self.to_come and self.is_reading and self.fate == "open":
            data, self.to_come = self.to_come[: self.portion], self.to_come[self.portion :]
            self.most = max(self.most, len(data))
            self.protocol.dataReceived(data)
        if self._end is not None:
            end, self._end = self._end, None
            self.protocol.connectionLost(end)
        return self


def new_end(upstream: Upstream, capacity: int | None = None) -> End:
    """The transport of a connection that has just been made."""
    end = End(capacity)
    end.protocol = upstream
    upstream.transport = end
    upstream.connectionMade()
    return end


class Ends:
    """Gives out connections in memory, when it is told to."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.waiting: list[Waiter] = []
        self.all: list[End] = []
        self.released: list[Upstream] = []
        self.asked: list[str] = []
        self.left: list[Waiter] = []
        self.kept: list[End] = []
        self._clock = clock

    def acquire(self, where: Place, terms: Terms, waiter: Waiter, *, fresh: bool = False) -> None:
        """Let a waiter wait, if no connection is kept for it."""
        self.asked.append("fresh" if fresh else "any")
        if self.kept and not fresh:
            waiter.connected(self.kept.pop().protocol)
        else:
            self.waiting.append(waiter)

    def leave(self, where: Place, waiter: Waiter) -> None:
        """A waiter wants none any more."""
        self.left.append(waiter)
        if waiter in self.waiting:
            self.waiting.remove(waiter)

    def connect(self, capacity: int | None = None) -> End:
        """Give the first who waits a new connection."""
        end = self.new(capacity)
        self.waiting.pop(0).connected(end.protocol)
        return end

    def keep(self) -> End:
        """Keep a connection that has answered before."""
        end = self.new()
        end.protocol.ask(b"", b"GET", Asked())
        end.protocol.sent()
        end.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.kept.append(end)
        return end

    def new(self, capacity: int | None = None) -> End:
        """A new connection."""
        released = self.released.append
        end = new_end(Upstream(released, lambda upstream: None, self._clock), capacity)
        self.all.append(end)
        return end

    def fail(self, why: Unreachable) -> None:
        """Tell the first who waits that there is none."""
        self.waiting.pop(0).failed(why, is_stale=False)


class Asked:
    """Who has asked: it writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.body = b""
        self.acts: dict[str, Callable[[], None]] = {}

    def _tell(self, what: str, *more: object) -> None:
        self.told.append((what, *more) if more else what)
        if act := self.acts.get(what):
            act()

    def interim(self, head: object) -> None:
        self._tell("interim", getattr(head, "status", None))

    def answered(self, head: object) -> None:
        self._tell("answered", getattr(head, "status", None))

    def content(self, data: bytes) -> None:
        assert data, "nothing is told as if it were something"
        self.body += data
        if "content" not in self.told:
            self._tell("content")

    def ended(self, trailers: object) -> None:
        self._tell("ended", *([trailers] if trailers else []))

    def flush(self) -> None:
        """There is no more for the time being."""

    def failed(self, why: Unreachable, *, is_stale: bool) -> None:
        self._tell("failed", why.status, why.message, "stale" if is_stale else "broken")

    def hold_body(self) -> None:
        self._tell("hold")

    def resume_body(self) -> None:
        self._tell("resume")
