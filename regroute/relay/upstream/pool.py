"""The connections to all registries: kept for the next request, and bounded in number."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ...metrics.events import Event, uncounted
from ...registry import Terms
from .ask import Unreachable
from .connect import Connecting, Place
from .connection import Upstream

if TYPE_CHECKING:
    from twisted.internet.interfaces import IHostnameResolver, IReactorTime

    from ...metrics.events import Count
    from ...web.transport import Poller, SocketTransport

KEEP_TIME = 60.0
"""How long a connection is kept without a request, in seconds."""
MOST_KEPT = 256
"""How many connections to one place are kept without a request."""


class Waiter(Protocol):
    """Who wants a connection, and gets it, or is told that there is none."""

    def connected(self, upstream: Upstream) -> None:
        """Here it is."""

    def failed(self, why: Unreachable, *, is_stale: bool) -> None:
        """There is none."""


class _Waiting(NamedTuple):
    """Who waits until there may be a connection more; `until` is when it has waited too long."""

    waiter: Waiter
    terms: Terms
    until: float
    fresh: bool


class _Place:
    """The connections to one place, and who waits for one."""

    def __init__(self) -> None:
        self.idle: deque[Upstream] = deque()
        self.busy: dict[Upstream, float] = {}  # and how long each may be silent, in seconds
        self.connecting: dict[Waiter, Connecting] = {}
        self.queue: deque[_Waiting] = deque()

    @property
    def size(self) -> int:
        return len(self.idle) + len(self.busy) + len(self.connecting)


class Pool:
    """Gives out connections; `sweep` is to be called now and then."""

    def __init__(
        self,
        resolver: IHostnameResolver,
        poller: Poller,
        clock: IReactorTime,
        count: Count = uncounted,
    ) -> None:
        self._resolver = resolver
        self._poller = poller
        self._clock = clock
        self._count = count
        self._places: dict[Place, _Place] = {}

    @property
    def size(self) -> int:
        """How many connections there are, those in the making included."""
        return sum(place.size for place in self._places.values())

    def acquire(self, where: Place, terms: Terms, waiter: Waiter, *, fresh: bool = False) -> None:
        """Give a waiter a connection, at once where one is kept; a `fresh` one is new.

        The registry may close a kept one at the very moment. What cannot be sent twice must not
        meet that.
        """
        place = self._places.get(where)
        if place is None:
            place = self._places[where] = _Place()
        while place.idle and not fresh:
            upstream = place.idle.pop()
            if upstream.is_quiet():
                place.busy[upstream] = terms.idle
                waiter.connected(upstream)
                return
            # What has come on it is nobody's answer.
            upstream.abandon()
        if place.size >= terms.connections and place.idle:
            place.idle.popleft().close()
        if place.size >= terms.connections:
            until = self._clock.seconds() + terms.connect
            place.queue.append(_Waiting(waiter, terms, until, fresh))
            return
        self._connect(where, place, terms, waiter)

    def _connect(self, where: Place, place: _Place, terms: Terms, waiter: Waiter) -> None:
        def connected(transport: SocketTransport) -> None:
            del place.connecting[waiter]
            upstream = Upstream(
                lambda each: self._release(where, place, each),
                lambda each: self._forget(where, place, each),
                self._clock.seconds,
            )
            place.busy[upstream] = terms.idle
            self._count(Event.UPSTREAM)
            transport.is_patient = True
            self._poller.enter(transport)
            transport.start(upstream, b"")
            waiter.connected(upstream)

        def failed(why: Unreachable) -> None:
            del place.connecting[waiter]
            self._serve_queue(where, place)
            waiter.failed(why, is_stale=False)

        connecting = Connecting(
            where, terms.connect, connected, failed, self._resolver, self._poller, self._clock
        )
        place.connecting[waiter] = connecting
        connecting.start()

    def leave(self, where: Place, waiter: Waiter) -> None:
        """A waiter wants no connection any more."""
        place = self._places.get(where)
        if place is None:
            return
        connecting = place.connecting.pop(waiter, None)
        if connecting is not None:
            connecting.cancel()
            self._serve_queue(where, place)
        place.queue = deque(entry for entry in place.queue if entry.waiter is not waiter)

    def _release(self, where: Place, place: _Place, upstream: Upstream) -> None:
        """A connection has answered, and may go on."""
        del place.busy[upstream]
        if place.queue:
            if place.queue[0].fresh or not upstream.is_quiet():
                upstream.abandon()
                self._serve_queue(where, place)
                return
            waiting = place.queue.popleft()
            place.busy[upstream] = waiting.terms.idle
            waiting.waiter.connected(upstream)
            return
        place.idle.append(upstream)
        if len(place.idle) > MOST_KEPT:
            place.idle.popleft().close()

    def _forget(self, where: Place, place: _Place, upstream: Upstream) -> None:
        """A connection has ended."""
        self._count(Event.UPSTREAM, -1)
        place.busy.pop(upstream, None)
        if upstream in place.idle:
            place.idle.remove(upstream)
        self._serve_queue(where, place)

    def _serve_queue(self, where: Place, place: _Place) -> None:
        while place.queue and place.size < place.queue[0].terms.connections:
            waiting = place.queue.popleft()
            self._connect(where, place, waiting.terms, waiting.waiter)

    def sweep(self) -> None:
        """End what has been waited for too long, and what nobody has used for long."""
        now = self._clock.seconds()
        for where, place in list(self._places.items()):
            for upstream, patience in list(place.busy.items()):
                if upstream.is_late(patience):
                    upstream.give_up(Unreachable(504, "it takes too long to answer"))
            while place.idle and now - place.idle[0].since > KEEP_TIME:
                place.idle.popleft().close()
            while place.queue and place.queue[0].until <= now:
                why = Unreachable(503, "there are as many requests to it as there may be")
                place.queue.popleft().waiter.failed(why, is_stale=False)
            if not (place.size or place.queue):
                del self._places[where]

    def close(self) -> None:
        """End all connections at once."""
        for place in self._places.values():
            place.queue.clear()
            for connecting in place.connecting.values():
                connecting.cancel()
            for upstream in [*place.idle, *place.busy]:
                upstream.abandon()
        self._places.clear()
