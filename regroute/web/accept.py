"""Accepting connections, as long as there is room for them.

Twisted's own port goes on accepting at the descriptor limit and closes what it gets. This one
leaves what it has no room for to the kernel's queue, and goes on when a connection has ended.
"""

import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..metrics.events import Count, Event, uncounted
from ..reactor import Reactor
from .listening import BACKLOG

BURST = 64
"""How many connections are accepted before others get their turn."""
QUIET_TIME = 60.0
"""How long no more is logged of what a descriptor is missing for, in seconds."""
RETRY_TIME = 1.0
"""How long accepting pauses when descriptors or memory have run out, in seconds: what took them may
not be a connection of ours, so that none of ours will tell when there are more."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Adopt: TypeAlias = Callable[[socket.socket, Any], None]
"""Takes a connection that has been accepted, with its peer's name. Raises `OSError` where it
cannot; the connection is then as it was."""

_log = Logger()


def adopt_by(factory: ServerFactory[Any], reactor: Reactor) -> Adopt:
    """Hand connections to a factory, on the reactor's own transports."""

    def adopt(accepted: socket.socket, name: object) -> None:
        accepted.setblocking(False)
        # On a duplicate of its descriptor.
        reactor.adoptStreamConnection(accepted.fileno(), accepted.family, factory)
        accepted.close()

    return adopt


@implementer(IReadDescriptor)
class Acceptor:
    """Accepts from one listening socket, as many as `room` says; `begin` is called before."""

    def __init__(
        self,
        listening: socket.socket,
        adopt: Adopt,
        room: Callable[[], int],
        begin: Callable[[], None],
        reactor: Reactor,
        count: Count = uncounted,
    ) -> None:
        self.socket = listening
        self.adopt = adopt
        self._room = room
        self._begin = begin
        self._reactor = reactor
        self._count = count
        self._is_waiting = False
        self._held: tuple[socket.socket, object] | None = None
        self._quiet_until = 0.0

    def start(self) -> None:
        """Begin to accept."""
        self._reactor.addReader(self)

    def defer(self) -> None:
        """Let the kernel wait for a client's first bytes: HTTP, TLS and PROXY all begin with it.

        So a connection can be accepted, answered and closed without waiting for it in between.
        """
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)

    def let_in(self) -> None:
        """Let those in who have connected and sent nothing, as they are to be accepted before
        `stop`: from now on the kernel waits for nobody's first bytes.
        """
        with suppress(OSError):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)

    def stop(self) -> None:
        """Accept whom the kernel has let in, for closing would reset them; and nobody more."""
        for _ in range(BACKLOG // BURST):
            if not self._accept():
                break
        self._reactor.removeReader(self)
        self._close()

    def _close(self) -> None:
        self.socket.close()
        if self._held is not None:
            self._held[0].close()

    def resume(self) -> None:
        """Go on, if there was no room and there is some now."""
        if self._is_waiting and self.socket.fileno() >= 0 and self._room() > 0:
            self._is_waiting = False
            self._reactor.addReader(self)

    def _wait(self) -> None:
        self._is_waiting = True
        self._reactor.removeReader(self)

    def _pause(self, error: OSError) -> None:
        self._count(Event.NO_DESCRIPTORS)
        now = self._reactor.seconds()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_TIME
            _log.warn(
                "accepting pauses: {why} (silent about more for {seconds:g} s)",
                why=error.strerror,
                seconds=QUIET_TIME,
            )
        self._wait()
        self._reactor.callLater(RETRY_TIME, self.resume)

    def doRead(self) -> None:
        """Accept what has come."""
        if self._held is not None:
            held, self._held = self._held, None
            self._adopt(*held)
        self._accept()

    def _accept(self) -> bool:
        """Accept a burst of what has come. Whether there may be more."""
        room = self._room()
        if room <= 0:
            if not self._is_waiting:
                self._count(Event.NO_ROOM)
            self._wait()
            return False
        self._begin()
        for _ in range(min(BURST, room)):
            if self._held is not None:
                return False
            try:
                accepted, name = self.socket.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(error)
                    return False
                # That one connection has failed before it was accepted; see accept(2).
                continue
            self._adopt(accepted, name)
        return True

    def _adopt(self, accepted: socket.socket, name: object) -> None:
        try:
            self.adopt(accepted, name)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                # It waits for the descriptor that it is missing.
                self._held = accepted, name
                self._pause(error)
                return
            # The client has gone already.
            _log.debug("a connection is lost before it begins: {why}", why=error.strerror)
            accepted.close()

    def fileno(self) -> int:
        """The listening socket's descriptor."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """The name in Twisted's log."""
        return "regroute"

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008  # as in Twisted's own interface
        """The reactor has ended."""
        self._close()
