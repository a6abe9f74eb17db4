"""The lane: exact, plain requests are answered here, in the callback that brings them.

Its connections register at an epoll of its own, which the reactor sees as one descriptor. A head
that has been answered before, for a client of the same networks, costs one look-up in a table;
another one is read by `strict` and answered by `respond`, as in the tree. Whatever is anything else
than one whole, plain head goes with all its bytes to the tree, and its connection stays there.

The law: the lane and the tree send the same bytes to the same request, keep or close the connection
alike, and record the same.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from select import EPOLLIN, epoll
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.web.http import datetimeToString
from zope.interface import implementer

from ..access_log import Entry
from ..answers import Refusal
from ..clients import peer_address
from ..networks.spans import Address
from ..respond import respond
from ..rules import RuleSet
from . import wire
from .connection import PROXY_IDLE_TIME, Connection
from .lane_tls import LaneTLS
from .strict import END, Head, read_head
from .tls import HANDSHAKE_TIME
from .transport import Encrypted, Plain, SocketTransport, Stream, address_of
from .tree import Site, entry_of

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from ..reactor import Reactor

BURST = 64
BURSTS = 4
"""How many connections are served, how often, before the reactor turns to other work."""
SHORT = 4096
"""How many bytes are taken at once: a longer head is for the tree."""
SWEEP_TIME = 1.0
"""How far apart idle connections are looked for, in seconds."""
REMEMBERED = 16_384
"""How many heads with their answers are remembered at the most."""
REMEMBERED_BYTES = 16 * 2**20
"""How many bytes these may be."""

# What makes a head more than its own end: a body, or another protocol.
_NOT_PLAIN = {b"content-length", b"transfer-encoding", b"expect", b"upgrade"}
_DATE = b"Thu, 01 Jan 1970 00:00:00 GMT"

_DONTWAIT = socket.MSG_DONTWAIT

Name: TypeAlias = tuple[str, int] | tuple[str, int, int, int]

_log = Logger()


class Served(NamedTuple):
    """The answer to one head: its bytes around the date, and what is recorded of it.

    `entry` has no time and duration yet; and where `is_peer`, the client is the peer.
    """

    before: bytes
    after: bytes
    closes: bool
    entry: Entry
    is_peer: bool


class Memory:
    """Heads and their answers under one rule set, for each set of networks that a client is in."""

    def __init__(self, rules: RuleSet) -> None:
        self.rules = rules
        self._by_networks: dict[frozenset[str], dict[bytes, Served]] = {}
        self._count = 0
        self._bytes = 0

    def for_peer(self, address: Address) -> dict[bytes, Served]:
        """What is remembered for the networks of a peer."""
        return self._by_networks.setdefault(self.rules.networks.lookup(address), {})

    def keep(self, answers: dict[bytes, Served], head: bytes, served: Served) -> None:
        """Remember an answer; all are forgotten where they become too many."""
        self._count += 1
        self._bytes += 2 * len(head) + len(served.before) + len(served.after)
        if self._count > REMEMBERED or self._bytes > REMEMBERED_BYTES:
            for each in self._by_networks.values():
                each.clear()
            self._count = self._bytes = 0
        answers[head] = served


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
            self._answers = lane.answers_for(self.name[0])
        served = self._answers.get(data)
        if served is None and (served := self._recognise(data)) is None:
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

    def _recognise(self, data: bytes) -> Served | None:
        served = self._lane.recognise(data, self.name[0])
        if served is not None:
            self._lane.memory.keep(self._answers, data, served)
        return served

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


@implementer(IReadDescriptor)
class Lane:
    """All connections of the lane, and of the transports that it drives for the tree."""

    def __init__(self, site: Site, reactor: Reactor) -> None:
        self.visitors: dict[int, Visitor | SocketTransport] = {}
        self.memory = Memory(site.rules())
        self.is_recording = False
        self.record = site.record
        self.now = 0.0
        self.date = b""
        self._site = site
        self._reactor = reactor
        self._epoll = epoll()
        self._second = -1
        self._peers: dict[str, dict[bytes, Served]] = {}
        self.refresh()

    def start(self) -> None:
        """Begin to serve."""
        self._reactor.addReader(self)
        self._sweeping = self._reactor.callLater(SWEEP_TIME, self._sweep)

    def adopt(self, accepted: socket.socket, name: Name, tls: LaneTLS | None = None) -> None:
        """Serve a connection that has just been accepted, whose first bytes may be there.

        `refresh` is to be called before a burst of them.
        """
        data: bytes | None = None
        if tls is None:
            with suppress(OSError):
                data = accepted.recv(SHORT, _DONTWAIT)
            if data and self._serve_once(accepted, name[0], data):
                return
        idle = self._site.limits().idle
        if tls is None:
            visitor = Visitor(self, accepted, name, idle)
        else:
            visitor = EncryptedVisitor(self, accepted, name, idle, tls)
        self.visitors[visitor.fd] = visitor
        self._site.add(visitor)
        try:
            if data is None:
                visitor.ready(EPOLLIN)
            else:
                visitor.serve(data)
        except Exception:
            self._fail(visitor)
        if (current := self.visitors.get(visitor.fd)) is not None:
            self._epoll.register(visitor.fd, current.mask)

    def _serve_once(self, accepted: socket.socket, peer: str, data: bytes) -> bool:
        """Answer and close, where a connection begins with a known head that asks for that.

        Such a connection costs neither an object nor a place in the epoll.
        """
        served = self.answers_for(peer).get(data)
        if served is None or not served.closes:
            return False
        began = perf_counter() if self.is_recording else 0.0
        # What the kernel does not take of so few bytes, to a client that has just come, is lost with
        # the client.
        with suppress(OSError):
            accepted.send(served.before + self.date + served.after, _DONTWAIT)
        if self.is_recording:
            self.record_served(served, peer, began)
        accepted.close()
        return True

    def _fail(self, visitor: Visitor | SocketTransport) -> None:
        """End one connection for a fault of ours: the others must not suffer."""
        _log.failure("a connection of the lane has failed")
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
                        self._fail(visitor)

    def refresh(self) -> None:
        """Look at the clock and at the rules in force: once a burst, not once a request."""
        self.now = now = self._reactor.seconds()
        if int(now) != self._second:
            self._second = int(now)
            self.date = datetimeToString(now)
        rules = self._site.rules()
        if rules is not self.memory.rules:
            self.memory = Memory(rules)
            self._peers = {}
        self.is_recording = self._site.is_recording()

    def record_served(self, served: Served, peer: str, began: float) -> None:
        """Record an answer of the lane."""
        entry = served.entry
        now = self._reactor.seconds()
        took = int((perf_counter() - began) * 1e6)
        client = peer if served.is_peer else entry.client
        self.record(entry._replace(time=now, client=client, microseconds=took))

    def answers_for(self, peer: str) -> dict[bytes, Served]:
        """What is remembered for a peer, by the socket's text of its address."""
        found = self._peers.get(peer)
        if found is None:
            if len(self._peers) >= REMEMBERED:
                self._peers.clear()
            found = self._peers[peer] = self.memory.for_peer(peer_address(peer))
        return found

    def recognise(self, data: bytes, peer: str) -> Served | None:
        """The answer to one whole, plain head; None for whatever else it is."""
        if data.find(END) != len(data) - len(END) or len(data) > self._site.limits().head_size:
            return None
        try:
            head = read_head(data)
            if not _is_plain(head):
                return None
            response = respond(self.memory.rules, peer, head.method, head.target, head.lines)
        except Refusal:
            return None
        except Exception:
            _log.failure("the lane has no answer to {data}", data=data)
            return None
        answer = response.answer
        wired = wire.render_head(
            answer.status, wire.answer_fields(answer, _DATE), close=not head.persists
        )
        before, _, after = wired.partition(_DATE)
        return Served(
            before,
            after if head.method == b"HEAD" else after + answer.body,
            not head.persists,
            entry_of(response, head.method, head.target, head.lines, head.version),
            response.client == peer_address(peer),
        )

    def leave(self, visitor: Visitor, received: bytes, unsent: bytes = b"") -> Connection:
        """Hand a connection over to the tree, with all the bytes of it."""
        self._site.discard(visitor)
        transport = SocketTransport(
            visitor.stream(),
            address_of(visitor.name),
            address_of(visitor.socket.getsockname()),
            self,
            self._reactor,
        )
        self.visitors[visitor.fd] = transport
        connection = self._site.buildProtocol(transport.getPeer())
        transport.start(connection, received, unsent)
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
        now = self._reactor.seconds()
        for visitor in list(self.visitors.values()):
            visitor.sweep(now)
        self._sweeping = self._reactor.callLater(SWEEP_TIME, self._sweep)

    # What the reactor and the transports ask for.

    def watch(self, transport: SocketTransport, mask: int) -> None:
        """Tell a transport of other events; one that is being adopted is not registered yet."""
        with suppress(FileNotFoundError):
            self._epoll.modify(transport.fd, mask)

    def forget(self, transport: SocketTransport) -> None:
        """Tell a transport of nothing more."""
        self.visitors.pop(transport.fd, None)

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
        self._sweeping.cancel()
        self._epoll.close()


def _is_plain(head: Head) -> bool:
    """Whether there is no more to a head than itself."""
    return (
        head.version == b"1.1"
        and head.method in (b"GET", b"HEAD")
        and all(name not in _NOT_PLAIN for name, _ in head.fields)
    )
