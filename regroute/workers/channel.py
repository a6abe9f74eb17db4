"""What the daemon and a worker say to each other, over a socket (twisted.protocols.amp).

Descriptors travel over it: listening sockets, and files in memory. A worker is told everything that
it needs, and reads nothing by itself: so all of them serve by the same configuration, to the byte,
and a new one by that which is in force, whatever has become of its files.
"""

import json
import os
import pickle
import socket
from collections.abc import Iterable
from dataclasses import astuple, replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorSocket, ITransport
from twisted.internet.protocol import ServerFactory
from twisted.protocols.amp import (
    AMP,
    BinaryBoxProtocol,
    Boolean,
    Command,
    Descriptor,
    Integer,
    Unicode,
)
from twisted.python.failure import Failure

from ..config.faults import Fault
from ..load import Origin

DESCRIPTOR = 3
"""The worker's end of the socket, right after the standard streams."""
COUNTERS = 4
"""The worker's block of counters."""

_MOST_FAULTS = 32
"""What fits into one answer, which has 64 KiB at the most."""


class Lend(Command):
    """A listening socket, for a listener of the configuration that comes next."""

    arguments = [(b"position", Integer()), (b"socket", Descriptor())]  # noqa: RUF012  # as amp declares it


class Prepare(Command):
    """Get ready for a configuration; the answer has what is wrong with it."""

    arguments = [(b"origin", Descriptor())]  # noqa: RUF012  # as amp declares it
    response = [(b"faults", Unicode())]  # noqa: RUF012  # as amp declares it


class Commit(Command):
    """Serve by what has been prepared."""


class Abandon(Command):
    """Forget what has been prepared, and what has been lent for it."""


class Reopen(Command):
    """Go on in the files that have the logs' names now."""


class Stop(Command):
    """Finish what is in flight, and end."""


class Ping(Command):
    """Show that the reactor turns."""


class Learned(Command):
    """From a worker: whether it knows that the registry of this origin asks nobody for credentials.

    One origin each, for a command has no room for any number of them.
    """

    arguments = [(b"origin", Unicode()), (b"is_open", Boolean())]  # noqa: RUF012  # as amp declares it


class Channel(AMP):
    """One end of the channel. It does not log, as `AMP` does, that it begins and ends."""

    def __init__(self) -> None:
        AMP.__init__(self)

    def ask(self, command: type[Command], **arguments: object) -> Deferred[Any]:
        """The other end's answer to a command; fails where it ends before it has answered."""
        answer: Deferred[Any] = AMP.callRemote(self, command, **arguments)
        return answer

    def makeConnection(self, transport: ITransport) -> None:
        """Begin."""
        BinaryBoxProtocol.makeConnection(self, transport)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The other end has gone: what was asked of it fails."""
        BinaryBoxProtocol.connectionLost(self, reason)
        self.transport = None


class _OneProtocol(ServerFactory):
    """The one connection that there is."""

    noisy = False

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def buildProtocol(self, addr: IAddress | None) -> Channel:
        return self._channel


def speak(descriptor: int, channel: Channel, reactor: IReactorSocket) -> None:
    """Let a protocol speak at an end of a channel, which remains the caller's to close."""
    os.set_blocking(descriptor, False)
    reactor.adoptStreamConnection(descriptor, socket.AF_UNIX, _OneProtocol(channel))


def write_origin(origin: Origin) -> int:
    """A descriptor of a file in memory that holds a configuration and its files."""
    descriptor = os.memfd_create("regroute-configuration")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        pickle.dump(replace(origin, is_complete=True), file)
    return descriptor


def read_origin(descriptor: int) -> Origin:
    """The configuration in such a file. It comes from our own parent process and nobody else."""
    size = os.fstat(descriptor).st_size
    # The offset is shared with everyone who has the file.
    with memoryview(os.pread(descriptor, size, 0)) as content:
        origin: Origin = pickle.loads(content)
    return origin


def faults_as_text(faults: Iterable[Fault]) -> str:
    """Faults as they are sent."""
    return json.dumps([astuple(fault) for fault in faults][:_MOST_FAULTS])


def faults_of_text(text: str) -> list[Fault]:
    """Faults as they have been sent."""
    return [Fault(*each) for each in json.loads(text)]
