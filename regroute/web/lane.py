"""The lane: exact, plain requests are answered here, in the callback that brings them.

Its connections register at an epoll of its own, which the reactor sees as one descriptor. A head
that has been answered before, for a client of the same networks, costs one look-up in `memory`.
Whatever is anything else than one whole, plain head goes with all its bytes to the tree, and its
connection stays there.

The law: the lane and the tree send the same bytes to the same request, keep or close the connection
alike, and record the same.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from select import EPOLLIN, epoll
from time import perf_counter
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from twisted.web.http import datetimeToString
from zope.interface import implementer

from .connection import Connection
from .lane_tls import LaneTLS
from .memory import Memory, Served
from .transport import Handler, SocketTransport, address_of
from .tree import Site
from .visitor import SHORT, EncryptedVisitor, Name, Visitor

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from ..reactor import Reactor

BURST = 64
BURSTS = 4
"""How many connections are served, how often, before the reactor turns to other work."""
SWEEP_TIME = 1.0
"""How far apart idle connections are looked for, in seconds."""

_DONTWAIT = socket.MSG_DONTWAIT

_log = Logger()


@implementer(IReadDescriptor)
class Lane:
    """All connections of the lane, and of the transports that it drives for the tree."""

    def __init__(self, site: Site, reactor: Reactor) -> None:
        self.visitors: dict[int, Handler] = {}
        self.memory = Memory(site.rules(), site.remember, site.is_own)
        self.era = object()
        """Changes with the rules: what a connection has at hand is of one era."""
        self.is_recording = False
        self.count = site.count
        self.now = 0.0
        self.date = b""
        self._site = site
        self._reactor = reactor
        self._epoll = epoll()
        self._second = -1
        self._sweeping: IDelayedCall | None = None
        self._is_draining = False
        self.refresh()

    def start(self) -> None:
        """Begin to serve."""
        self._reactor.addReader(self)
        self._sweeping = self._reactor.callLater(SWEEP_TIME, self._sweep)

    def adopt(self, accepted: socket.socket, name: Name, tls: LaneTLS | None = None) -> None:
        """Serve a connection that has just been accepted, whose first bytes may be there.

        `refresh` is to be called before a burst of them.
        """
        try:
            data: bytes | None = None
            unsent = None
            if tls is None:
                with suppress(OSError):
                    data = accepted.recv(SHORT, _DONTWAIT)
                if data and (unsent := self._serve_once(accepted, name[0], data)) == b"":
                    accepted.close()
                    return
            idle = self._site.limits().idle
            if tls is None:
                visitor = Visitor(self, accepted, name, idle)
            else:
                visitor = EncryptedVisitor(self, accepted, name, idle, tls)
            self.visitors[visitor.fd] = visitor
            self._site.add(visitor)
            if unsent is not None:
                visitor.leave_unsent(unsent, closes=True)
            elif data is None:
                visitor.ready(EPOLLIN)
            else:
                visitor.serve(data)
            if (current := self.visitors.get(visitor.fd)) is not None:
                self._epoll.register(visitor.fd, current.mask)
        except Exception:
            self._fail(accepted.fileno())
            accepted.close()

    def _serve_once(self, accepted: socket.socket, peer: str, data: bytes) -> bytes | None:
        """Answer, where a connection begins with a known head that asks to close after it.

        Such a connection costs neither an object nor a place in the epoll. None if it is no such,
        or else what the kernel has not taken.
        """
        served = self.memory.answers_for(peer).get(data)
        if served is None or not served.closes:
            return None
        began = perf_counter() if self.is_recording else 0.0
        answer = served.before + self.date + served.after
        if self.is_recording:
            self.record_served(served, peer, began)
        try:
            sent = accepted.send(answer, _DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(answer)
        return answer[sent:]

    def _fail(self, descriptor: int) -> None:
        """End one connection for a fault of ours: the others must not suffer."""
        _log.failure("a connection of the lane has failed")
        # It may have left for the tree before it failed.
        if (visitor := self.visitors.get(descriptor)) is not None:
            visitor.abort()

    def doRead(self) -> None:
        """Serve a burst of connections that are ready."""
        self.refresh()
        visitors = self.visitors
        poll = self._epoll.poll
        # What comes in the meantime is served here too: a turn of the reactor costs more than
        # asking once more.
        for _ in range(BURSTS):
            events = poll(0, BURST)
            if not events:
                break
            for descriptor, event in events:
                if (visitor := visitors.get(descriptor)) is not None:
                    try:
                        visitor.ready(event)
                    except Exception:
                        self._fail(descriptor)
            if self._epoll.closed:
                # The last connection has ended, and a stop has waited for it.
                break

    def drain(self) -> None:
        """Leave whatever comes from now on to the tree: it knows how to end a connection."""
        self._is_draining = True
        self.memory.forget()
        self.era = object()

    def refresh(self) -> None:
        """Look at the clock and at the rules in force: once a burst, not once a request."""
        self.now = now = self._reactor.seconds()
        if int(now) != self._second:
            self._second = int(now)
            self.date = datetimeToString(now)
        rules = self._site.rules()
        if rules is not self.memory.rules:
            # Connections that stay silent must not keep what was remembered under the old ones.
            self.memory.forget()
            self.memory = Memory(rules, self._site.remember, self._site.is_own)
            self.era = object()
        self.is_recording = self._site.is_recording()

    def record_served(self, served: Served, peer: str, began: float) -> None:
        """Record an answer before it is sent: whoever has it finds it counted."""
        took = int((perf_counter() - began) * 1e6)
        client = peer if served.is_peer else served.client
        served.again(self._reactor.seconds(), client, took)

    def recognise(self, data: bytes, peer: str, *, is_secure: bool) -> Served | None:
        """The answer to one whole, plain head; None for whatever else it is."""
        if self._is_draining:
            return None
        relaying = self._site.relaying
        if relaying is not None and relaying.recall(peer, is_secure, data) is not None:
            # To read it and to find that it is for the tree is half of what its answer costs.
            return None
        return self.memory.recognise(data, peer, self._site.limits().head_size)

    def leave(self, visitor: Visitor, received: bytes, unsent: bytes = b"") -> Connection:
        """Hand a connection over to the tree, with all the bytes of it."""
        transport = SocketTransport(
            visitor.stream(),
            address_of(visitor.name),
            address_of(visitor.socket.getsockname()),
            self,
            self._reactor,
        )
        self.visitors[visitor.fd] = transport
        connection = self._site.buildProtocol(transport.getPeer())
        try:
            transport.start(connection, received, unsent)
        finally:
            # Not before the connection has been added: the last one to be discarded ends a drain.
            self._site.discard(visitor)
        return connection

    def close(self, visitor: Visitor) -> None:
        """Close a connection."""
        if self.visitors.pop(visitor.fd, None) is not None:
            visitor.close()
            self._site.discard(visitor)

    def trusts(self, name: Name) -> bool:
        """Whether a peer is a proxy of ours."""
        return self._site.trusts(address_of(name))

    def _sweep(self) -> None:
        """Close who has been idle for too long: one timer for all of them."""
        self._sweeping = self._reactor.callLater(SWEEP_TIME, self._sweep)
        self.refresh()
        for visitor in list(self.visitors.values()):
            visitor.sweep(self.now)

    # What the reactor and the transports ask for.

    def enter(self, handler: Handler) -> None:
        """Tell a handler, too, that is no visitor."""
        is_known = handler.fd in self.visitors
        (self._epoll.modify if is_known else self._epoll.register)(handler.fd, handler.mask)
        self.visitors[handler.fd] = handler

    def watch(self, handler: Handler, mask: int) -> None:
        """Tell a handler of other events; one that is being adopted is not registered yet."""
        with suppress(FileNotFoundError):
            self._epoll.modify(handler.fd, mask)

    def forget(self, handler: Handler) -> None:
        """Tell a handler of nothing more."""
        self.visitors.pop(handler.fd, None)

    def fileno(self) -> int:
        """The epoll's descriptor."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """The name in Twisted's log."""
        return "lane"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has ended."""
        self._epoll.close()

    def stop(self) -> None:
        """Serve nobody any more."""
        self._reactor.removeReader(self)
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._epoll.close()
