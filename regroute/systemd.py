"""What systemd and the daemon tell each other: the sockets that it passes, and how the daemon is.

Both are small public protocols (sd_listen_fds(3), sd_notify(3)). Outside of systemd the variables
that they live by are not set: then there are no sockets, and nothing is said to anyone.
"""

import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

FIRST_SOCKET = 3
"""Passed sockets come right after the standard streams (SD_LISTEN_FDS_START)."""
_NO_NAME = "unknown"
"""What sd_listen_fds_with_names(3) calls a socket without a name."""
_LONGEST_STATUS = 1000
"""In characters. systemd ignores a message of more than 4,096 bytes, all that is in it."""
_PATIENCE = 0.1
"""How long to wait, in seconds, until systemd may have read what it has been told before."""


def passed_sockets(
    environ: Mapping[str, str], pid: int, first: int = FIRST_SOCKET
) -> dict[str, tuple[int, ...]]:
    """The descriptors of the sockets that systemd opened for the process `pid`, by their names.

    A name holds for a whole .socket unit (FileDescriptorName=), which can have several sockets.
    Their order changes between starts, so that the name is all there is to tell them by. They are
    made non-blocking, and closed in programs that the daemon starts.
    """
    # A child of the process that they are meant for has the variables too, but not the sockets.
    if _number(environ.get("LISTEN_PID")) != pid:
        return {}
    count = _number(environ.get("LISTEN_FDS")) or 0
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    if len(names) != count or not all(names):
        names = [_NO_NAME] * count
    passed: dict[str, tuple[int, ...]] = {}
    for descriptor, name in enumerate(names, first):
        os.set_inheritable(descriptor, False)
        # Unless its unit says NonBlocking=yes, systemd clears what its own sockets have set.
        os.set_blocking(descriptor, False)
        passed[name] = (*passed.get(name, ()), descriptor)
    return passed


def listening_socket(descriptor: int) -> socket.socket:
    """A passed socket to accept connections at: a duplicate, so that closing it ends nothing.

    Raises `OSError` whose `strerror` says what to change where it is none.
    """
    duplicate = os.dup(descriptor)
    try:
        passed = socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise OSError(errno.ENOTSOCK, f"descriptor {descriptor} is no socket") from None
    if not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        passed.close()
        raise OSError(
            errno.EINVAL,
            f"descriptor {descriptor} is no listening socket:"
            " write ListenStream= and Accept=no into its .socket unit",
        )
    passed.setblocking(False)
    return passed


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """How often, in seconds, systemd wants a sign of life from `pid`: half its patience."""
    limit = _number(environ.get("WATCHDOG_USEC"))
    meant_for = environ.get("WATCHDOG_PID")
    if not limit or (meant_for is not None and _number(meant_for) != pid):
        return None
    return limit / 1_000_000 / 2


def _number(text: str | None) -> int | None:
    """A decimal number as systemd writes one; None for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None


class Notifier:
    """Sends messages to systemd. It never waits and never raises."""

    _log = Logger()

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _notify_address(environ.get("NOTIFY_SOCKET", ""))
        # One for good: the daemon must be able to say that it is alive when it is out of
        # descriptors. It is not connected, so that systemd may open its own end anew.
        self._socket = _datagram_socket() if self._address else None
        self._has_failed = False

    def send(self, message: str) -> bool:
        """False if systemd has yet to read what it was sent before: then try again later."""
        if self._socket is None:
            return True
        try:
            self._socket.sendto(message.encode("utf-8", "replace"), self._address)
        except BlockingIOError:
            return False
        except OSError as error:
            if not self._has_failed:
                self._log.warn("systemd cannot be told: {error}", error=error)
            self._has_failed = True
        else:
            self._has_failed = False
        return True

    def close(self) -> None:
        """Say nothing from now on."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _notify_address(name: str) -> bytes:
    """A socket's path, or an abstract name, which is written with an @; empty for all else."""
    match name[:1]:
        case "/":
            return os.fsencode(name)
        case "@":
            return b"\0" + os.fsencode(name[1:])
    return b""


def _datagram_socket() -> socket.socket:
    unconnected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    unconnected.setblocking(False)
    return unconnected


class Supervised(Service):
    """Tells systemd how the daemon is, and while it runs, that the reactor turns.

    A reactor that hangs says nothing any more, and systemd ends the process and starts it again.
    So this is to be the last service that stops: the daemon is alive while it drains.
    """

    def __init__(
        self,
        notifier: Notifier,
        interval: float | None,
        clock: IReactorTime,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._notifier = notifier
        self._interval = interval
        self._clock = clock
        self._monotonic_ns = monotonic_ns
        self._unsent: deque[str] = deque()
        self._retry: IDelayedCall | None = None
        self._signs = LoopingCall(self._show_life)
        self._signs.clock = clock

    def startService(self) -> None:
        """Begin with the signs of life, if systemd waits for any."""
        Service.startService(self)
        if self._interval is not None:
            self._signs.start(self._interval)

    def ready(self, status: str = "") -> None:
        """The daemon answers: after its start, and after each reload, whatever came of it."""
        self._tell("READY=1", *_status(status))

    def reloading(self) -> None:
        """A reload begins. Its end is `ready`."""
        # systemd tells by the time which of several reloads this is.
        began = self._monotonic_ns() // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={began}", *_status("reloading"))

    def stopping(self) -> None:
        """The daemon takes no more connections, and ends what is in flight."""
        self._tell("STOPPING=1", *_status("stopping"))

    def status(self, status: str) -> None:
        """One line for people, which ``systemctl status`` shows."""
        self._tell(*_status(status))

    def stopService(self) -> None:
        """Say nothing more."""
        Service.stopService(self)
        if self._signs.running:
            self._signs.stop()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._notifier.close()

    def _tell(self, *assignments: str) -> None:
        self._unsent.append("\n".join(assignments))
        if self._retry is None:
            self._send()

    def _send(self) -> None:
        """Send what there is in its order; what systemd has no room for now, a little later."""
        self._retry = None
        while self._unsent and self._notifier.send(self._unsent[0]):
            self._unsent.popleft()
        if self._unsent:
            self._retry = self._clock.callLater(_PATIENCE, self._send)

    def _show_life(self) -> None:
        # One that is lost does no harm: the next comes before systemd's patience ends.
        self._notifier.send("WATCHDOG=1")


def _status(text: str) -> tuple[str, ...]:
    """The assignment of a status; a line break in it would begin another assignment."""
    line = " ".join(text.split())[:_LONGEST_STATUS]
    return (f"STATUS={line}",) if line else ()
