"""The lifetimes of the daemon's sockets and connections, from start over reloads to stop."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET, AF_INET6, socket
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import LoopingCall, deferLater

from .certificates import Certificate
from .check import Checked
from .config.faults import Fault, Faulty
from .config.schema import Listener
from .networks.spans import Address
from .reactor import Reactor
from .web.accept import Acceptor, adopt_by
from .web.lane_tls import LaneTLS, certified
from .web.listening import Place, Sockets, TcpPlace, place_of
from .web.newcomers import HOLD_OFF_TIME, hold_off
from .web.proxy_protocol import AnnouncedFactory
from .web.tls import ServerTLS, TLSFactory, new_context
from .web.tree import Site

if TYPE_CHECKING:
    from .relay.service import Relaying
    from .web.lane import Lane

LET_IN_TIME = 0.1
"""How long a listening socket is still accepted from when nobody wants it any more, in seconds: who
has connected to it already, and has not been accepted for nothing has come of him, may still send
his request."""
GRACE = 1.0
"""How long a connection without a request is kept when the daemon stops, in seconds since its last
one: who asks again and again is then told to ask elsewhere, and not cut off on his way."""


def _new_lane(site: Site, reactor: Reactor) -> Lane | None:
    """The lane, where the system has what it stands on; else the tree alone serves."""
    if not hasattr(select, "epoll"):
        return None
    from .web.lane import Lane

    return Lane(site, reactor)


class Door(ServerFactory):
    """What stands behind a listening socket, which a reload may change."""

    noisy = False

    def __init__(self, reactor: Reactor) -> None:
        self._by_factory = adopt_by(self, reactor)
        self.lane: Lane | None = None
        self.tls: ServerTLS | None = None
        self.lane_tls: LaneTLS | None = None
        self.within: IProtocolFactory | None = None

    def use(self, certificates: Sequence[Certificate], reactor: Reactor) -> None:
        """Serve these certificates from now on; sessions go on where there was TLS before."""
        if self.tls is None or self.lane_tls is None:
            self.tls = ServerTLS(certificates, reactor)
            self.lane_tls = LaneTLS(certificates, reactor)
        else:
            self.tls.replace(certificates)
            self.lane_tls.replace(certificates)

    def adopt(self, accepted: socket, name: Any) -> None:
        """Take a connection that has been accepted."""
        if self.lane is not None:
            self.lane.adopt(accepted, name, self.lane_tls)
        else:
            self._by_factory(accepted, name)

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:  # type: ignore[override]
        """The protocol for a connection from now on."""
        return self.within.buildProtocol(addr) if self.within else None


@dataclass(frozen=True)
class Listening:
    """A place that is listened to."""

    door: Door
    acceptors: tuple[Acceptor, ...]


class Serving(Service):
    """Serves the connections that come to listening sockets, and when it stops, what is in flight.

    `base` is where relative paths begin. `tell_open` is told which registries are known to ask
    nobody for credentials, by their origins.
    """

    def __init__(
        self,
        site: Site,
        base: Path,
        reactor: Reactor,
        tell_open: Callable[[frozenset[str]], object] = lambda origins: None,
    ) -> None:
        self._site = site
        self._base = base
        self._tell_open = tell_open
        self._reactor = reactor
        self._listening: dict[Place, Listening] = {}
        self._closing: list[Acceptor] = []
        self._lane = _new_lane(site, reactor)
        self._relaying = self._new_relaying()
        site.relaying = self._relaying
        self.is_replaced = False
        """Whether others go on with the same sockets when it stops: who waits there is theirs."""
        self._is_closed = False  # for good, while what is in flight ends
        site.when_room = self._resume

    def startService(self) -> None:
        """Begin to serve those who come."""
        Service.startService(self)
        if self._lane is not None:
            self._lane.start()
        if self._relaying is not None:
            self._relaying.startService()

    def _new_relaying(self) -> Relaying | None:
        """Who relays: its connections are the lane's to watch."""
        if self._lane is None:
            return None
        from .relay.service import Relaying
        from .relay.upstream.lookups import Lookups

        return Relaying(
            self._site.rules,
            self._tell_open,
            Lookups(self._reactor),
            self._lane,
            self._reactor,
            self._site.count,
        )

    def prepare(self, checked: Checked) -> None:
        """Make sure that `checked` can be served; raises `Faulty`."""
        faults: list[Fault] = []
        if self._relaying is None and checked.rules.relays:
            message = "relaying needs epoll, which this system has not: redirect instead"
            faults.append(checked.source.fault(("registries",), message))
        for position, certificates in enumerate(checked.certificates):
            try:
                for certificate in certificates:
                    new_context(certificate)
                    if self._lane is not None:
                        certified(certificate)
            except ValueError as error:
                at = checked.source.fault(("listen", position), f"cannot listen: {error}")
                faults.append(at)
        if faults:
            raise Faulty(faults)

    def apply(self, checked: Checked, sockets: Mapping[Place, Sockets]) -> None:
        """Serve as `checked` says; `sockets` are those of places that are new. Cannot fail."""
        if self._is_closed:
            for each in (each for new in sockets.values() for each in new):
                each.close()
            return
        wanted = {
            place_of(listener, self._base): position
            for position, listener in enumerate(checked.config.listen)
        }
        for place in [place for place in self._listening if place not in wanted]:
            self._close(place)
        for place, position in wanted.items():
            if place not in self._listening:
                door = Door(self._reactor)
                acceptors = [
                    Acceptor(
                        each,
                        door.adopt,
                        self._site.room,
                        self._begin_burst,
                        self._reactor,
                        self._site.count,
                    )
                    for each in sockets[place]
                ]
                self._listening[place] = Listening(door, tuple(acceptors))
            self._furnish(self._listening[place].door, checked, position)
            if place in sockets:
                for acceptor in self._listening[place].acceptors:
                    if isinstance(place, TcpPlace):
                        acceptor.defer()
                    acceptor.start()
        if self._relaying is not None:
            self._relaying.apply(checked)
        self._resume()

    def _trusts(self, address: Address) -> bool:
        return self._site.rules().clients.trusts(address)

    def _begin_burst(self) -> None:
        if self._lane is not None:
            self._lane.refresh()

    def _furnish(self, door: Door, checked: Checked, position: int) -> None:
        """Put behind a door what its listener says: PROXY, then TLS, then HTTP."""
        listener: Listener = checked.config.listen[position]
        within: IProtocolFactory = self._site
        sockets = [
            acceptor.socket
            for acceptor in self._listening[place_of(listener, self._base)].acceptors
        ]
        is_direct = all(each.family in (AF_INET, AF_INET6) for each in sockets)
        may_use = checked.config.lane and is_direct and not listener.proxy_protocol
        door.lane = self._lane if may_use else None
        if certificates := checked.certificates[position]:
            door.use(certificates, self._reactor)
            assert door.tls is not None
            within = TLSFactory(door.tls, within, self._reactor, self._site.count)
        else:
            door.tls = door.lane_tls = None
        if listener.proxy_protocol:
            deadline = checked.config.limits.head
            within = AnnouncedFactory(
                within,
                self._trusts,
                deadline,
                self._reactor,
                self._site.waiting,
                self._site.count,
            )
            within.when_lost = self._resume
        door.within = within

    def _close(self, place: Place) -> None:
        acceptors = self._listening.pop(place).acceptors
        if self.is_replaced or not isinstance(place, TcpPlace):
            for acceptor in acceptors:
                acceptor.stop()
            return
        for acceptor in acceptors:
            acceptor.let_in()
        self._closing += acceptors
        self._reactor.callLater(LET_IN_TIME - HOLD_OFF_TIME, self._hold_off, acceptors)
        self._reactor.callLater(LET_IN_TIME, self._finish_closing, acceptors)

    def _hold_off(self, acceptors: Iterable[Acceptor]) -> None:
        for acceptor in acceptors:
            hold_off(acceptor.socket)

    def _finish_closing(self, acceptors: Iterable[Acceptor]) -> None:
        for acceptor in acceptors:
            acceptor.stop()
        self._closing = [each for each in self._closing if each.fileno() >= 0]

    def _resume(self) -> None:
        for listening in self._listening.values():
            for acceptor in listening.acceptors:
                acceptor.resume()

    def stopService(self) -> Deferred[None]:
        """Accept no more, finish what is in flight, and close."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        limits = self._site.limits()
        if limits.lame_duck:
            await deferLater(self._reactor, limits.lame_duck)
        doors = [listening.door for listening in self._listening.values()]
        self._is_closed = True
        for place in list(self._listening):
            self._close(place)
        if self._lane is not None:
            self._lane.drain()
        self._site.drain()
        late = self._reactor.callLater(max(limits.drain, LET_IN_TIME), self._site.abort)
        idle = LoopingCall(self._close_idle)
        idle.clock = self._reactor
        idle.start(LET_IN_TIME / 2)
        await deferLater(self._reactor, LET_IN_TIME if self._closing else 0)
        await self._site.emptied()
        idle.stop()
        if late.active():
            late.cancel()
        if self._relaying is not None:
            self._relaying.stopService()
        if self._lane is not None:
            self._lane.stop()
        for door in doors:
            if isinstance(door.within, AnnouncedFactory):
                door.within.abort_waiting()

    def _close_idle(self) -> None:
        self._site.close_idle(self._reactor.seconds() - GRACE)


class InOrder(MultiService):
    """Services of which each is stopped before the one that was started before it is."""

    def __init__(self, services: Iterable[IService]) -> None:
        MultiService.__init__(self)
        for service in services:
            MultiService.addService(self, service)

    def startService(self) -> None:
        """Start the services one after another."""
        MultiService.startService(self)

    def stopService(self) -> Deferred[None]:
        """Stop the services one after another, the last one first."""
        self.running = False
        return Deferred.fromCoroutine(self._stop_each())

    async def _stop_each(self) -> None:
        for service in reversed(list(self)):
            await maybeDeferred(service.stopService)
