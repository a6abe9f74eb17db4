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

from ..reactor import Reactor
from .listening import BACKLOG

BURST = 64
"""How many connections are accepted before others get their turn."""
RETRY_TIME = 1.0
"""How long accepting pauses when descriptors or memory have run out, in seconds: what took them may
not be a connection of ours, so that none of ours will tell when there are more."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Adopt: TypeAlias = Callable[[socket.socket, Any], None]
"""Takes a connection that has been accepted, with its peer's name."""

_log = Logger()


def adopt_by(factory: ServerFactory, reactor: Reactor) -> Adopt:
    """Hand connections to a factory, on the reactor's own transports."""

    def adopt(accepted: socket.socket, name: object) -> None:
        with accepted:
            accepted.setblocking(False)
            try:
                reactor.adoptStreamConnection(accepted.fileno(), accepted.family, factory)
            except OSError as error:
                # The client has gone already, or there is no descriptor to duplicate its to.
                _log.debug("a connection is lost before it begins: {why}", why=error.strerror)

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
    ) -> None:
        self.socket = listening
        self.adopt = adopt
        self._room = room
        self._begin = begin
        self._reactor = reactor
        self._is_waiting = False

    def start(self) -> None:
        """Begin to accept."""
        self._reactor.addReader(self)

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
        self.socket.close()

    def resume(self) -> None:
        """Go on, if there was no room and there is some now."""
        if self._is_waiting and self.socket.fileno() >= 0 and self._room() > 0:
            self._is_waiting = False
            self._reactor.addReader(self)

    def _wait(self) -> None:
        self._is_waiting = True
        self._reactor.removeReader(self)

    def doRead(self) -> None:
        """Accept what has come."""
        self._accept()

    def _accept(self) -> bool:
        """Accept a burst of what has come. Whether there may be more."""
        room = self._room()
        if room <= 0:
            self._wait()
            return False
        self._begin()
        for _ in range(min(BURST, room)):
            try:
                accepted, name = self.socket.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    _log.warn("accepting pauses: {why}", why=error.strerror)
                    self._wait()
                    self._reactor.callLater(RETRY_TIME, self.resume)
                    return False
                # That one connection has failed before it was accepted; see accept(2).
                continue
            self.adopt(accepted, name)
        return True

    def fileno(self) -> int:
        """The listening socket's descriptor."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """The name in Twisted's log."""
        return "regroute"

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008  # as in Twisted's own interface
        """The reactor has ended."""
        self.socket.close()
