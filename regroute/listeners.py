"""The sockets that the configuration in force listens at: who opens them, and for whom.

They are opened by the process that was started, and used by what serves: that process itself, or
its workers. It owns what it lends to workers for as long as it runs, so that the end of one resets
nobody who waits to be accepted.
"""

import errno
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

from twisted.logger import Logger

from .check import Checked
from .config.faults import Fault, Faulty
from .web.listening import (
    PassedPlace,
    Place,
    Sockets,
    TcpPlace,
    UnixPlace,
    open_sockets,
    place_of,
)

_log = Logger()


@dataclass
class Opened:
    """Sockets that a configuration needs and that were not open yet: for each server its own."""

    sockets: dict[Place, list[Sockets]] = field(default_factory=dict)

    def of(self, server: int) -> dict[Place, Sockets]:
        """Those of one server."""
        return {place: each[server] for place, each in self.sockets.items()}

    def close(self) -> None:
        """Give them up."""
        for place, each in self.sockets.items():
            _close(each)
            if isinstance(place, UnixPlace):
                Path(place.path).unlink(missing_ok=True)


class Listeners:
    """The listening sockets of all servers.

    `passed` are the descriptors of the sockets that systemd opened, by their names; `base` is where
    relative paths begin. `servers` counts the workers; None where this process serves by itself,
    and closes its sockets when it has let in who waits there.
    """

    def __init__(
        self, passed: Mapping[str, Sequence[int]], base: Path, servers: int | None = None
    ) -> None:
        self._passed = passed
        self._base = base
        self._servers = servers
        self._open: dict[Place, list[Sockets]] = {}
        self._leaving: list[tuple[TcpPlace, socket]] = []
        self._left: set[int] = set()  # ports that workers may still be closing
        self._is_closed = False  # for good

    def of(self, server: int) -> dict[Place, Sockets]:
        """All sockets of one server."""
        return Opened(self._open).of(server)

    def open(self, checked: Checked) -> Opened:
        """Open the sockets that `checked` needs and that are not open; raises `Faulty`."""
        opened = Opened()
        faults: list[Fault] = []
        wanted = [place_of(listener, self._base) for listener in checked.config.listen]
        with ExitStack() as undo:
            undo.callback(opened.close)
            for position, place in enumerate(wanted):
                if place in self._open or self._is_closed:
                    continue
                try:
                    opened.sockets[place] = self._open_place(place, wanted)
                except OSError as error:
                    why = error.strerror or error
                    at = checked.source.fault(("listen", position), f"cannot listen: {why}")
                    faults.append(at)
            if faults:
                raise Faulty(faults)
            undo.pop_all()
        return opened

    def _open_place(self, place: Place, wanted: Sequence[Place]) -> list[Sockets]:
        servers = self._servers or 1
        beside = self._beside(place, wanted)
        try:
            return open_sockets(place, self._passed, beside, servers)
        except OSError as error:
            was_ours = isinstance(place, TcpPlace) and place.port in self._left
            if error.errno != errno.EADDRINUSE or not was_ours:
                raise
            # A worker has not closed it yet; what workers have is shared.
            return open_sockets(place, self._passed, beside, servers, shared=True)

    def _beside(self, place: Place, wanted: Sequence[Place]) -> list[socket]:
        """Our sockets on the same port that will not be wanted any more, or are not already."""
        if not isinstance(place, TcpPlace):
            return []
        unwanted = [
            (other, each)
            for other, servers in self._open.items()
            if isinstance(other, TcpPlace) and other not in wanted
            for sockets in servers
            for each in sockets
        ]
        leaving = [*unwanted, *self._leaving]
        return [each for other, each in leaving if other.port == place.port and each.fileno() >= 0]

    def apply(self, checked: Checked, opened: Opened) -> None:
        """Keep what `checked` listens at, with what `open` has opened for it. Cannot fail."""
        wanted = {place_of(listener, self._base) for listener in checked.config.listen}
        self._leaving = [each for each in self._leaving if each[1].fileno() >= 0]
        for place in [place for place in self._open if place not in wanted]:
            self._leave(place)
            if isinstance(place, PassedPlace):
                _log.warn(
                    "nobody answers any more on the socket '{name}', which systemd still holds",
                    name=place.name,
                )
        self._open.update(opened.sockets)

    def _leave(self, place: Place) -> None:
        servers = self._open.pop(place)
        if isinstance(place, UnixPlace):
            Path(place.path).unlink(missing_ok=True)
        if self._servers is not None:
            _close(servers)
            if isinstance(place, TcpPlace):
                self._left.add(place.port)
        elif isinstance(place, TcpPlace):
            self._leaving += [(place, each) for sockets in servers for each in sockets]

    def close(self) -> None:
        """Open nothing any more, and close what is open, once the servers have closed it too."""
        self._is_closed = True
        for place in list(self._open):
            self._leave(place)


def _close(servers: Sequence[Sockets]) -> None:
    for sockets in servers:
        for each in sockets:
            each.close()
