"""The lifetimes of the daemon's sockets and connections."""

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from twisted.internet.task import deferLater
from twisted.logger import Logger

from .config.schema import Listener
from .reactor import Reactor
from .web.tree import Site

DRAIN_TIME = 5.0
"""How long what is in flight may take when the daemon stops, in seconds."""
BACKLOG = 1024
"""How many connections the kernel may hold that the daemon has not accepted yet."""


class CannotListen(SystemExit, Exception):  # named for what happened
    """The end of a start, without a traceback.

    An `Exception` too: only for those does twistd, in the background, tell its parent and tidy up.
    """


class Serving(Service):
    """Listens while it runs; when it stops, what is in flight ends first."""

    _log = Logger()

    def __init__(self, listeners: Sequence[Listener], site: Site, reactor: Reactor) -> None:
        self._listeners = listeners
        self._site = site
        self._reactor = reactor
        self._ports: list[IListeningPort] = []

    def privilegedStartService(self) -> None:
        """Bind, while low ports are still allowed; exits with a message where that fails."""
        Service.privilegedStartService(self)
        for listener in self._listeners:
            try:
                bound = bind(listener)
            except OSError as error:
                self._log.critical(
                    "cannot listen on port {port} of {host}: {reason}",
                    port=listener.port,
                    host=listener.host or "this host",
                    # Python's own text ends with the address in a form of its own.
                    reason=os.strerror(error.errno or 0),
                )
                raise CannotListen(1) from None
            with bound:
                port = self._reactor.adoptStreamPort(
                    bound.fileno(),
                    bound.family,
                    self._site,  # type: ignore[arg-type]  # it builds our own kind of HTTPChannel
                )
                self._ports.append(port)

    def stopService(self) -> Deferred[None]:
        """Accept no more, finish what is in flight, and close."""
        Service.stopService(self)
        for port in self._ports:
            self._accept_waiting(port)
        closed: list[Deferred[object]] = [maybeDeferred(port.stopListening) for port in self._ports]
        self._ports = []
        late = self._reactor.callLater(DRAIN_TIME, self._site.abort)

        def finish(result: object) -> None:
            if late.active():
                late.cancel()

        # In a turn from now, for what clients have sent until now is in flight too.
        drained: Deferred[object] = deferLater(self._reactor, 0, self._site.drain)
        return DeferredList([*closed, drained]).addCallback(finish)

    def _accept_waiting(self, port: IListeningPort) -> None:
        """Accept whom the kernel has let in already: closing the port would reset them."""
        descriptor = IReadDescriptor(port, None)
        for _ in range(BACKLOG if descriptor else 0):
            before = len(self._site.connections)
            descriptor.doRead()
            if len(self._site.connections) == before:
                break


def bind(listener: Listener) -> socket.socket:
    """A listening socket. Without a host it takes IPv6 and IPv4, or IPv4 where there is no more.

    Raises `OSError`.
    """
    if listener.host is None:
        try:
            return _bind("::", listener.port)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            return _bind("0.0.0.0", listener.port)
    return _bind(str(listener.host), listener.port)


def _bind(host: str, port: int) -> socket.socket:
    is_ipv6 = ":" in host
    # Whether :: takes IPv4 too is for us to say and not for the system's default. Where there is no
    # IPv6, asking for both is a ValueError, and asking for it alone the OSError that it should be.
    is_both = is_ipv6 and IPv6Address(host) == IPv6Address("::") and socket.has_dualstack_ipv6()
    bound = socket.create_server(
        (host, port),
        family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
        backlog=BACKLOG,
        dualstack_ipv6=is_both,
    )
    bound.setblocking(False)
    return bound


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
