"""Accepting connections, as long as there is room for them.

Twisted's own port goes on accepting at the descriptor limit and closes what it gets. This one
leaves what it has no room for to the kernel's queue, and goes on when a connection has ended.
"""

import errno
import socket
from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..reactor import Reactor

BURST = 64
"""How many connections are accepted before others get their turn."""
QUIET_TIME = 60.0
"""How long no more is logged of what a descriptor is missing for, in seconds."""
RETRY_TIME = 1.0
"""How long accepting pauses when descriptors or memory have run out, in seconds: what took them may
not be a connection of ours, so that none of ours will tell when there are more."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = Logger()


@implementer(IReadDescriptor)
class Acceptor:
    """Accepts from one listening socket, while `has_room` says yes."""

    def __init__(
        self,
        listening: socket.socket,
        factory: ServerFactory,
        has_room: Callable[[], bool],
        reactor: Reactor,
    ) -> None:
        self.socket = listening
        self.factory = factory
        self._has_room = has_room
        self._reactor = reactor
        self._is_waiting = False
        self._held: socket.socket | None = None
        self._quiet_until = 0.0

    def start(self) -> None:
        """Begin to accept."""
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Accept no more, and close the socket."""
        self._reactor.removeReader(self)
        self._close()

    def _close(self) -> None:
        self.socket.close()
        if self._held is not None:
            self._held.close()

    def resume(self) -> None:
        """Go on, if there was no room and there is some now."""
        if self._is_waiting and self.socket.fileno() >= 0 and self._has_room():
            self._is_waiting = False
            self._reactor.addReader(self)

    def _wait(self) -> None:
        self._is_waiting = True
        self._reactor.removeReader(self)

    def _pause(self, error: OSError) -> None:
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
            self._adopt(held)
        for _ in range(BURST):
            if self._held is not None:
                return
            if not self._has_room():
                self._wait()
                return
            try:
                accepted, _address = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(error)
                    return
                # That one connection has failed before it was accepted; see accept(2).
                continue
            self._adopt(accepted)

    def _adopt(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        try:
            self._reactor.adoptStreamConnection(accepted.fileno(), accepted.family, self.factory)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                # It is adopted as a duplicate, which has to wait for its descriptor.
                self._held = accepted
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
