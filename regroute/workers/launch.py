"""Worker processes: how one is started, what it says, and what it is told."""

import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.protocols.amp import Command
from twisted.python.failure import Failure

from ..config.faults import Fault
from ..logs.journal import LONGEST, parse_line
from ..reactor import Reactor
from . import channel

_log = Logger()

# What systemd has meant for its own child, which is not the worker.
_NOT_INHERITED = ("LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_")


class Link(Protocol):
    """A worker, as far as its parent knows it. Whatever it is told fails once it has ended."""

    @property
    def pid(self) -> int: ...
    def lend(self, position: int, each: socket.socket) -> Deferred[Any]:
        """Give it a socket for this place in the next configuration's list of listeners."""

    def prepare(self, origin: int) -> Deferred[Sequence[Fault]]:
        """Let it get ready for the configuration in this file in memory."""

    def tell(self, command: type[Command]) -> Deferred[Any]:
        """Tell it to do what needs no more words."""

    def kill(self) -> None:
        """End it at once."""


Learned = Callable[[str, bool], None]
"""Told of an origin, and whether a worker knows that its registry asks nobody for credentials."""

Launch = Callable[[int, int, Callable[[str], None], Learned], Link]
"""Starts the worker with this number, that counts in the block with this descriptor; it calls back
with a reason when that has ended, and when it has learned something."""


class _Process(ProcessProtocol):
    """One worker's process: its standard error is a log, and its end is told."""

    def __init__(self, number: int, ended: Callable[[str], None]) -> None:
        self._number = number
        self._ended = ended
        self._unread = b""

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803  # as Twisted names it
        *lines, rest = (self._unread + data).split(b"\n")
        for line in lines:
            self._say(line)
        self._unread = rest[: 4 * LONGEST]

    def _say(self, line: bytes) -> None:
        level, text = parse_line(line.decode("utf-8", "backslashreplace"))
        _log.emit(level, "worker {number}: {text}", number=self._number, text=text)

    def processEnded(self, reason: Failure) -> None:
        if self._unread:
            self._say(self._unread)
        status = reason.value
        number, code = getattr(status, "signal", None), getattr(status, "exitCode", None)
        self._ended(f"by signal {number}" if number else f"with status {code}")


class _ParentsEnd(channel.Channel):
    """The parent's end of the channel."""

    def __init__(self, learned: Learned) -> None:
        channel.Channel.__init__(self)
        self._learned = learned

    @channel.Learned.responder
    def learned(self, origin: str, is_open: bool) -> dict[str, object]:
        self._learned(origin, is_open)
        return {}


class _Linked:
    """A `Link` to a process."""

    def __init__(self, process: IProcessTransport, end: channel.Channel) -> None:
        assert process.pid is not None
        self.pid: int = process.pid
        self._process = process
        self._end = end

    def lend(self, position: int, each: socket.socket) -> Deferred[Any]:
        return self._end.ask(channel.Lend, position=position, socket=each.fileno())

    def prepare(self, origin: int) -> Deferred[Sequence[Fault]]:
        asked = self._end.ask(channel.Prepare, origin=origin)
        return asked.addCallback(lambda answer: channel.faults_of_text(answer["faults"]))

    def tell(self, command: type[Command]) -> Deferred[Any]:
        return self._end.ask(command)

    def kill(self) -> None:
        with suppress(ProcessExitedAlready):
            self._process.signalProcess("KILL")


class Launcher:
    """Starts workers, each as one of so many `servers`."""

    def __init__(self, servers: int, reactor: Reactor) -> None:
        self._servers = servers
        self._reactor = reactor

    def __call__(
        self, number: int, block: int, ended: Callable[[str], None], learned: Learned
    ) -> Link:
        """Start one. Raises `OSError` where there is no more room for it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        with ours, theirs, open(os.devnull, "rb+", buffering=0) as nothing:
            process = self._reactor.spawnProcess(
                _Process(number, ended),
                sys.executable,
                [sys.executable, "-P", "-m", "regroute.workers.worker", str(self._servers)],
                env=_environment(),
                childFDs={
                    0: nothing.fileno(),
                    1: 1 if _is_open(1) else nothing.fileno(),
                    2: "r",
                    channel.DESCRIPTOR: theirs.fileno(),
                    channel.COUNTERS: block,
                },
            )
            end = _ParentsEnd(learned)
            channel.speak(ours.fileno(), end, self._reactor)
            return _Linked(process, end)


def _environment() -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)
    }
    # It is to run this very code, wherever this process has found it.
    return {**inherited, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
