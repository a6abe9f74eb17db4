"""The lifetimes of the daemon's sockets and connections, from start over reloads to stop."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import deferLater
from twisted.logger import Logger

from .check import Checked
from .config.faults import Fault, Faulty
from .config.schema import Listener
from .networks.spans import Address
from .reactor import Reactor
from .starting import CannotStart
from .web.accept import Acceptor
from .web.listening import PassedPlace, Place, TcpPlace, UnixPlace, open_sockets, place_of
from .web.proxy_protocol import AnnouncedFactory
from .web.tls import ServerTLS, TLSFactory, new_context
from .web.tree import Site


class Door(ServerFactory):
    """What stands behind a listening socket, which a reload may change."""

    noisy = False

    def __init__(self) -> None:
        self.tls: ServerTLS | None = None
        self.within: IProtocolFactory | None = None

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

    `passed` are the descriptors of the sockets that systemd opened, by their names.
    """

    _log = Logger()

    def __init__(
        self,
        checked: Checked,
        site: Site,
        trusts: Callable[[Address], bool],
        passed: Mapping[str, Sequence[int]],
        reactor: Reactor,
    ) -> None:
        self._checked = checked
        self._site = site
        self._trusts = trusts
        self._passed = passed
        self._reactor = reactor
        self._listening: dict[Place, Listening] = {}
        self._opened = Opened()
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
        self.apply(self._checked, self._opened)

    def open(self, checked: Checked) -> Opened:
        """Open the sockets that `checked` needs and that are not open; raises `Faulty`."""
        opened = Opened()
        faults: list[Fault] = []
        wanted = [place_of(listener) for listener in checked.config.listen]
        with ExitStack() as undo:
            undo.callback(opened.close)
            for position, place in enumerate(wanted):
                try:
                    for certificate in checked.certificates[position]:
                        new_context(certificate)
                    if place not in self._listening and not self._is_closed:
                        beside = self._leaving(place, wanted)
                        opened.sockets[place] = open_sockets(place, self._passed, beside)
                except (OSError, ValueError) as error:
                    why = error.strerror if isinstance(error, OSError) else error
                    at = checked.source.fault(("listen", position), f"cannot listen: {why}")
                    faults.append(at)
            if faults:
                raise Faulty(faults)
            undo.pop_all()
        return opened

    def _leaving(self, place: Place, wanted: Sequence[Place]) -> list[socket]:
        """Our sockets on the same port that will not be wanted any more."""
        return [
            acceptor.socket
            for other, listening in self._listening.items()
            if isinstance(place, TcpPlace)
            and isinstance(other, TcpPlace)
            and other.port == place.port
            and other not in wanted
            for acceptor in listening.acceptors
        ]

    def apply(self, checked: Checked, opened: Opened) -> None:
        """Listen where `checked` says, with what `open` has opened for it. Cannot fail."""
        if self._is_closed:
            return
        wanted = {
            place_of(listener): position for position, listener in enumerate(checked.config.listen)
        }
        for place in [place for place in self._listening if place not in wanted]:
            self._close(place)
        for place, position in wanted.items():
            if place not in self._listening:
                door = Door()
                acceptors = [
                    Acceptor(each, door, self._site.has_room, self._reactor)
                    for each in opened.sockets[place]
                ]
                self._listening[place] = Listening(door, tuple(acceptors))
            self._furnish(self._listening[place].door, checked, position)
            if place in opened.sockets:
                for acceptor in self._listening[place].acceptors:
                    acceptor.start()
        self._checked = checked
        self._resume()

    def _furnish(self, door: Door, checked: Checked, position: int) -> None:
        """Put behind a door what its listener says: PROXY, then TLS, then HTTP."""
        listener: Listener = checked.config.listen[position]
        within: IProtocolFactory = self._site
        if certificates := checked.certificates[position]:
            if door.tls is None:
                door.tls = ServerTLS(certificates, self._reactor)
            else:
                door.tls.replace(certificates)
            within = TLSFactory(door.tls, within, self._reactor)
        if listener.proxy_protocol:
            deadline = checked.config.limits.head
            within = AnnouncedFactory(
                within, self._trusts, deadline, self._reactor, self._site.waiting
            )
            within.when_lost = self._resume
        door.within = within

    def _close(self, place: Place) -> None:
        for acceptor in self._listening.pop(place).acceptors:
            # Closing the socket would reset whom the kernel has let in already.
            acceptor.doRead()
            acceptor.stop()
        match place:
            case UnixPlace(path=path):
                Path(path).unlink(missing_ok=True)
            case PassedPlace(name=name) if self.running:
                self._log.warn(
                    "nobody answers any more on the socket '{name}', which systemd still holds",
                    name=name,
                )

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
        late = self._reactor.callLater(limits.drain, self._site.abort)
        # In a turn from now, for what clients have sent until now is in flight too.
        await deferLater(self._reactor, 0)
        await self._site.drain()
        if late.active():
            late.cancel()
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
