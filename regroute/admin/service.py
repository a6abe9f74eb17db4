"""The admin listener's lifetime: it is there before clients are served, and until they are not."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from socket import socket

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..check import Checked
from ..config.faults import Faulty
from ..config.schema import AdminFields
from ..reactor import Reactor
from ..starting import CannotStart
from ..web.accept import Acceptor, adopt_by
from ..web.listening import TcpPlace, UnixPlace, open_sockets
from .site import MOST, Site
from .subject import Subject

DRAIN_TIME = 1.0
"""How long an answer may still take when the daemon ends, in seconds."""

_PRIVATE = 0o600

_log = Logger()


@dataclass(frozen=True)
class Opened:
    """Where a configuration wants the admin listener, and its socket if it was not open yet."""

    place: TcpPlace | UnixPlace | None
    socket: socket | None = None

    def close(self) -> None:
        """Give it up."""
        if self.socket is not None:
            self.socket.close()
            _remove(self.place)


@dataclass(frozen=True)
class _Listening:
    place: TcpPlace | UnixPlace
    acceptor: Acceptor
    site: Site

    def end(self) -> Deferred[None]:
        """Accept no more; fires when every connection has ended."""
        self.acceptor.stop()
        _remove(self.place)
        return self.site.drain()


class Admin(Service):
    """Answers for `subject` where the configuration in force says; `base` is where paths begin."""

    def __init__(self, checked: Checked, subject: Subject, base: Path, reactor: Reactor) -> None:
        self._checked = checked
        self._subject = subject
        self._base = base
        self._reactor = reactor
        self._opened = Opened(None)
        self._listening: _Listening | None = None
        self._is_over = False

    def privilegedStartService(self) -> None:
        """Bind, while low ports are still allowed; exits with a message where that fails."""
        Service.privilegedStartService(self)
        try:
            self._opened = self.open(self._checked)
        except Faulty as faulty:
            raise CannotStart(str(faulty)) from None

    def startService(self) -> None:
        """Begin to answer."""
        Service.startService(self)
        self.apply(self._checked, self._opened)

    def open(self, checked: Checked) -> Opened:
        """Open the socket that `checked` wants, if it is not open; raises `Faulty`."""
        admin = checked.config.admin
        if admin is None:
            return Opened(None)
        place = _place_of(admin, self._base)
        before = self._listening
        if self._is_over or (before is not None and before.place == place):
            return Opened(place)
        beside = []
        if (
            before is not None
            and isinstance(place, TcpPlace)
            and isinstance(before.place, TcpPlace)
        ):
            beside = [before.acceptor.socket] if before.place.port == place.port else []
        try:
            ((opened,),) = open_sockets(place, {}, beside)
        except (OSError, ValueError) as error:
            why = (isinstance(error, OSError) and error.strerror) or error
            key = "unix" if isinstance(place, UnixPlace) else "port"
            fault = checked.source.fault(("admin", key), f"cannot listen: {why}")
            raise Faulty([fault]) from None
        return Opened(place, opened)

    def apply(self, checked: Checked, opened: Opened) -> None:
        """Listen where `checked` says, with what `open` has opened for it. Cannot fail."""
        before = self._listening
        if self._is_over:
            opened.close()
            return
        if opened.socket is not None and opened.place is not None:
            site = Site(self._subject, isinstance(opened.place, UnixPlace), self._reactor)
            adopt = adopt_by(site, self._reactor)
            acceptor = Acceptor(opened.socket, adopt, lambda: MOST, lambda: None, self._reactor)
            self._listening = _Listening(opened.place, acceptor, site)
            if isinstance(opened.place, TcpPlace):
                acceptor.defer()
            acceptor.start()
            _log.info("admin listens on {place}", place=opened.place)
        elif opened.place is None:
            self._listening = None
        if before is not None and before is not self._listening:
            before.end()

    def stopService(self) -> Deferred[None]:
        """Accept no more, and end."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._is_over = True
        listening, self._listening = self._listening, None
        if listening is None:
            return
        late = self._reactor.callLater(DRAIN_TIME, listening.site.abort)
        await listening.end()
        if late.active():
            late.cancel()


def _place_of(admin: AdminFields, base: Path) -> TcpPlace | UnixPlace:
    if admin.port is not None:
        return TcpPlace(admin.port, admin.host)
    assert admin.unix is not None
    return UnixPlace(str(base / admin.unix), _PRIVATE)


def _remove(place: TcpPlace | UnixPlace | None) -> None:
    if isinstance(place, UnixPlace):
        with suppress(OSError):
            Path(place.path).unlink()
