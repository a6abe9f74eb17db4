"""The addresses of registries' names: one question for all who have it at the same time.

Twisted's own resolver asks in the reactor's few threads. There the questions about a name whose
servers are silent would hold up all others, more would queue than are ever answered, and a stop
would wait for every one of them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorFromThreads,
    IResolutionReceiver,
)
from zope.interface import implementer

LookUp: TypeAlias = Callable[[str], Sequence[str]]
"""Finds the addresses of a name, in the order in which to try them; it may take its time."""


def system(name: str) -> Sequence[str]:
    """The addresses that the system knows; none where it knows none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        # What is no name in the DNS cannot even be asked for.
        return ()
    return tuple(dict.fromkeys(str(place[0]) for _, _, _, _, place in found))


@implementer(IHostResolution)
class _Waiting:
    """Who waits for the addresses of a name."""

    def __init__(self, name: str, port: int, receiver: IResolutionReceiver) -> None:
        self.name = name
        self.port = port
        self.receiver: IResolutionReceiver | None = receiver

    def cancel(self) -> None:
        """Wait no more; the question goes on, for others may have it too."""
        self.receiver = None

    def tell(self, addresses: Sequence[str]) -> None:
        """These are all."""
        for address in addresses:
            if self.receiver is not None:
                kind = IPv6Address if ":" in address else IPv4Address
                self.receiver.addressResolved(kind("TCP", address, self.port))
        if self.receiver is not None:
            self.receiver.resolutionComplete()


@implementer(IHostnameResolver)
class Lookups:
    """Asks in threads of its own, one for each name, which end by themselves or with the process.

    So there are as many as there are names of registries and realms.
    """

    def __init__(self, reactor: IReactorFromThreads, look_up: LookUp = system) -> None:
        self._reactor = reactor
        self._look_up = look_up
        self._waiting: dict[str, list[_Waiting]] = {}

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803  # the interface's name
        hostName: str,  # noqa: N803  # the interface's name
        portNumber: int = 0,  # noqa: N803  # the interface's name
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803  # the interface's name
        transportSemantics: str = "TCP",  # noqa: N803  # the interface's name
    ) -> IHostResolution:
        """Tell a receiver the addresses of a name, when they are known."""
        waiting = _Waiting(hostName, portNumber, resolutionReceiver)
        resolutionReceiver.resolutionBegan(waiting)
        is_under_way = hostName in self._waiting
        self._waiting.setdefault(hostName, []).append(waiting)
        if not is_under_way:
            Thread(target=self._ask, args=(hostName,), daemon=True).start()
        return waiting

    def _ask(self, name: str) -> None:
        """Ask, in a thread."""
        addresses = self._look_up(name)
        # The process may have come to its end meanwhile.
        with suppress(OSError):
            self._reactor.callFromThread(partial(self._tell, name, addresses))

    def _tell(self, name: str, addresses: Sequence[str]) -> None:
        for waiting in self._waiting.pop(name):
            waiting.tell(addresses)
