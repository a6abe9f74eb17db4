"""What drives the connections to registries, by the test's hand: an epoll, a clock, and names."""

import fcntl
import select
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from zope.interface import implementer

from regroute.web.transport import Handler

from ...web.lanes import DELIVERY, UNSENT
from ...web.memory import Turns

PATIENCE = 10.0
"""How long the kernel may take to move what it has, in seconds."""


class Loop:
    """Tells handlers of their descriptors, and lets timed calls happen, when it is told to."""

    def __init__(self) -> None:
        self.clock = Turns()
        self.handlers: dict[int, Handler] = {}
        self._epoll = select.epoll()

    def enter(self, handler: Handler) -> None:
        """Tell a handler of the events in its mask, in the place of who had its descriptor."""
        is_known = handler.fd in self.handlers
        (self._epoll.modify if is_known else self._epoll.register)(handler.fd, handler.mask)
        self.handlers[handler.fd] = handler

    def watch(self, handler: Handler, mask: int) -> None:
        """Tell of these events from now on."""
        self._epoll.modify(handler.fd, mask)

    def forget(self, handler: Handler) -> None:
        """Tell of nothing more."""
        del self.handlers[handler.fd]

    def turn(self, seconds: float = 0.0) -> bool:
        """What is due, and what is ready or becomes so in real `seconds`; whether anything was."""
        was_due = self.clock.turn()
        events = self._epoll.poll(0 if was_due else seconds)
        for descriptor, event in events:
            if (handler := self.handlers.get(descriptor)) is not None:
                handler.ready(event)
        return was_due or bool(events)

    def settle(self) -> None:
        """Go on until nothing moves any more."""
        while self.turn():
            pass

    def until(self, holds: Callable[[], bool]) -> None:
        """Go on until something holds; an error if it never does."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, "it never comes to hold"
            self.turn(0.01)

    def close(self) -> None:
        """End it; nobody may be left behind."""
        assert self.handlers == {}
        self._epoll.close()


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Nothing: as Twisted's own, which has a thread at it."""


@implementer(IHostnameResolver)
class Resolver:
    """Knows the addresses of some names; those in `held` are not told before `release`."""

    def __init__(self, **known: Sequence[str]) -> None:
        self.known = known
        self.asked: list[str] = []
        self.is_held = False
        self._held: list[Callable[[], None]] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803  # the interface's name
        hostName: str,  # noqa: N803  # the interface's name
        portNumber: int = 0,  # noqa: N803  # the interface's name
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803  # the interface's name
        transportSemantics: str = "TCP",  # noqa: N803  # the interface's name
    ) -> IHostResolution:
        """Tell the addresses of a name."""
        self.asked.append(hostName)
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)

        def tell() -> None:
            for address in self.known.get(hostName, ()):
                kind = IPv6Address if ":" in address else IPv4Address
                resolutionReceiver.addressResolved(kind("TCP", address, portNumber))
            resolutionReceiver.resolutionComplete()

        if self.is_held:
            self._held.append(tell)
        else:
            tell()
        return resolution

    def release(self) -> None:
        """Tell who waits."""
        self.is_held = False
        for tell in self._held:
            tell()


def deliver(near: socket.socket) -> None:
    """Wait until what has been sent from one end is at the other end of a connection."""
    for _ in range(DELIVERY):
        if fcntl.ioctl(near, UNSENT, bytes(4)) == bytes(4):
            return
    raise AssertionError("it is never delivered")


class BlackHole:
    """An address at which nobody answers, not even with a refusal."""

    def __init__(self, host: str, port: int) -> None:
        self._listening = socket.create_server((host, port), backlog=0)
        self._waiting: list[socket.socket] = []
        # The kernel drops who connects while the queue is full.
        while True:
            waiting = socket.socket()
            self._waiting.append(waiting)
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect((host, port))
            if not select.select([], [waiting], [], 0.05)[1]:
                return

    def close(self) -> None:
        """Let it be."""
        for each in (*self._waiting, self._listening):
            each.close()
