"""The lifetimes of the daemon's sockets and connections, from start over reloads to stop."""

from __future__ import annotations

import select
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from socket import AF_INET, AF_INET6, socket
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import deferLater
from twisted.logger import Logger

from .certificates import Certificate
from .check import Checked
from .config.faults import Fault, Faulty
from .config.schema import Listener
from .networks.spans import Address
from .reactor import Reactor
from .starting import CannotStart
from .web.accept import Acceptor, adopt_by
from .web.lane_tls import LaneTLS, certified
from .web.listening import PassedPlace, Place, TcpPlace, UnixPlace, open_sockets, place_of
from .web.proxy_protocol import AnnouncedFactory
from .web.tls import ServerTLS, TLSFactory, new_context
from .web.tree import Site

if TYPE_CHECKING:
    from .web.lane import Lane

LET_IN_TIME = 0.1
"""How long a listening socket is still accepted from when nobody wants it any more, in seconds: who
has connected to it already, and has not been accepted for nothing has come of him, may still send
his request."""


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


@dataclass
class Opened:
    """Sockets that a configuration needs and that were not open yet."""

    sockets: dict[Place, list[socket]] = field(default_factory=dict)

    def close(self) -> None:
        """Give them up."""
        for opened in self.sockets.values():
            for each in opened:
                each.close()


class Serving(Service):
    """Listens where the configuration in force says; when it stops, what is in flight ends first.

    `passed` are the descriptors of the sockets that systemd opened, by their names; `base` is where
    relative paths begin.
    """

    _log = Logger()

    def __init__(
        self,
        checked: Checked,
        site: Site,
        passed: Mapping[str, Sequence[int]],
        base: Path,
        reactor: Reactor,
    ) -> None:
        self._checked = checked
        self._site = site
        self._passed = passed
        self._base = base
        self._reactor = reactor
        self._listening: dict[Place, Listening] = {}
        self._closing: list[tuple[TcpPlace, Acceptor]] = []
        self._opened = Opened()
        self._lane = _new_lane(site, reactor)
        self._is_closed = False  # for good, while what is in flight ends
        site.when_room = self._resume

    def privilegedStartService(self) -> None:
        """Bind, while low ports are still allowed; exits with a message where that fails."""
        Service.privilegedStartService(self)
        try:
            self._opened = self.open(self._checked)
        except Faulty as faulty:
            raise CannotStart(str(faulty)) from None

    def startService(self) -> None:
        """Begin to accept."""
        Service.startService(self)
        if self._lane is not None:
            self._lane.start()
        self.apply(self._checked, self._opened)

    def open(self, checked: Checked) -> Opened:
        """Open the sockets that `checked` needs and that are not open; raises `Faulty`."""
        opened = Opened()
        faults: list[Fault] = []
        wanted = [place_of(listener, self._base) for listener in checked.config.listen]
        with ExitStack() as undo:
            undo.callback(opened.close)
            for position, place in enumerate(wanted):
                try:
                    for certificate in checked.certificates[position]:
                        new_context(certificate)
                        if self._lane is not None:
                            certified(certificate)
                    if place not in self._listening and not self._is_closed:
                        beside = self._leaving(place, wanted)
                        opened.sockets[place] = open_sockets(place, self._passed, beside)
                except (OSError, ValueError) as error:
                    why = (isinstance(error, OSError) and error.strerror) or error
                    at = checked.source.fault(("listen", position), f"cannot listen: {why}")
                    faults.append(at)
            if faults:
                raise Faulty(faults)
            undo.pop_all()
        return opened

    def _leaving(self, place: Place, wanted: Sequence[Place]) -> list[socket]:
        """Our sockets on the same port that will not be wanted any more, or are not already."""
        unwanted = [
            (other, acceptor)
            for other, listening in self._listening.items()
            if isinstance(other, TcpPlace) and other not in wanted
            for acceptor in listening.acceptors
        ]
        return [
            acceptor.socket
            for other, acceptor in [*unwanted, *self._closing]
            if isinstance(place, TcpPlace) and other.port == place.port
        ]

    def apply(self, checked: Checked, opened: Opened) -> None:
        """Listen where `checked` says, with what `open` has opened for it. Cannot fail."""
        if self._is_closed:
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
                    for each in opened.sockets[place]
                ]
                self._listening[place] = Listening(door, tuple(acceptors))
            self._furnish(self._listening[place].door, checked, position)
            if place in opened.sockets:
                for acceptor in self._listening[place].acceptors:
                    acceptor.start()
        self._checked = checked
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
        if isinstance(place, TcpPlace):
            for acceptor in acceptors:
                acceptor.let_in()
                self._closing.append((place, acceptor))
            self._reactor.callLater(LET_IN_TIME, self._finish_closing, acceptors)
            return
        for acceptor in acceptors:
            acceptor.stop()
        match place:
            case UnixPlace(path=path):
                Path(path).unlink(missing_ok=True)
            case PassedPlace(name=name) if self.running:
                self._log.warn(
                    "nobody answers any more on the socket '{name}', which systemd still holds",
                    name=name,
                )

    def _finish_closing(self, acceptors: Iterable[Acceptor]) -> None:
        for acceptor in acceptors:
            acceptor.stop()
        self._closing = [each for each in self._closing if each[1].fileno() >= 0]

    def _resume(self) -> None:
        for listening in self._listening.values():
            for acceptor in listening.acceptors:
                acceptor.resume()

    def stopService(self) -> Deferred[None]:
        """Accept no more, finish what is in flight, and close."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        limits = self._checked.config.limits
        if limits.lame_duck:
            await deferLater(self._reactor, limits.lame_duck)
        doors = [listening.door for listening in self._listening.values()]
        self._is_closed = True
        for place in list(self._listening):
            self._close(place)
        # What clients have sent until then is in flight too.
        await deferLater(self._reactor, LET_IN_TIME if self._closing else 0)
        rest = max(limits.drain - LET_IN_TIME, 0.0)
        late = self._reactor.callLater(rest, self._site.abort)
        if self._lane is not None:
            self._lane.catch_up()
        await self._site.drain()
        if late.active():
            late.cancel()
        if self._lane is not None:
            self._lane.stop()
        for door in doors:
            if isinstance(door.within, AnnouncedFactory):
                door.within.abort_waiting()


class InOrder(MultiService):
    """Services of which each is stopped before the one that was started before it is."""

    def __init__(self, services: Iterable[IService]) -> None:
        MultiService.__init__(self)
        for service in services:
            MultiService.addService(self, service)

    def stopService(self) -> Deferred[None]:
        """Stop the services one after another, the last one first."""
        self.running = False
        return Deferred.fromCoroutine(self._stop_each())

    async def _stop_each(self) -> None:
        for service in reversed(list(self)):
            await maybeDeferred(service.stopService)
