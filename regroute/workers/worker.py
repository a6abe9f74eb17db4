"""A worker: a process that serves as its parent says, and ends with it.

``python -m regroute.workers.worker SERVERS`` is how the daemon starts one; nobody else needs it.
"""

import os
import signal
import socket
import sys
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TextIO, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ReactorNotRunning
from twisted.logger import Logger, globalLogBeginner

from ..check import Checked
from ..config.faults import Fault, Faulty
from ..load import load_from
from ..logs.journal import journal_observer
from ..logs.outlets import PatientText, open_stdout
from ..metrics.counters import Counters
from ..reactor import Reactor
from ..server import Server
from ..signals import OnSignal
from ..starting import CannotStart
from ..web.lane_tls import without_server_names
from ..web.listening import Place, Sockets, place_of
from . import channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

_log = Logger()


class Worker:
    """One of so many `servers`: what it has been lent and told, and the server that it runs.

    `counters` are those that the worker before it has counted in.
    """

    def __init__(self, servers: int, counters: Counters, reactor: Reactor) -> None:
        self._servers = servers
        self._counters = counters
        self._reactor = reactor
        self._server: Server | None = None
        self._lent: defaultdict[int, list[socket.socket]] = defaultdict(list)
        self._first: tuple[Checked, dict[Place, Sockets]] | None = None
        self._stopped: Deferred[None] | None = None
        self._open: frozenset[str] = frozenset()
        self.tell_learned: Callable[[str, bool], object] = _nobody
        """Told what the parent has to know of registries that ask nobody for credentials."""

    def lend(self, position: int, descriptor: int) -> None:
        """Keep a socket for the listener at this position in the next configuration."""
        lent = socket.socket(fileno=descriptor)
        lent.setblocking(False)
        self._lent[position].append(lent)

    def prepare(self, descriptor: int) -> list[Fault]:
        """Get ready for the configuration in a file in memory."""
        try:
            origin = channel.read_origin(descriptor)
        finally:
            os.close(descriptor)
        base = origin.path.parent
        try:
            checked = load_from(origin)
            listeners = checked.config.listen
            sockets = {
                place_of(listeners[position], base): tuple(lent)
                for position, lent in self._lent.items()
            }
            if self._server is None:
                # The first one: the access log is opened here, and a fault in it told.
                server = Server(
                    checked, base, self._servers, self._counters, self._reactor, self._learn
                )
                server.startService()
                self._server, self._first = server, (checked, sockets)
            else:
                self._server.prepare(checked, sockets)
        except Faulty as faulty:
            return list(faulty.faults)
        except CannotStart as failed:
            return [Fault(origin.shown, 1, 1, str(failed))]
        return []

    def commit(self) -> None:
        """Serve by what has been prepared."""
        assert self._server is not None
        self._lent.clear()
        if self._first is not None:
            first, self._first = self._first, None
            self._server.serve(*first)
        else:
            self._server.commit()

    def _learn(self, origins: frozenset[str]) -> None:
        """These are the origins that are known to ask nobody."""
        before, self._open = self._open, origins
        for origin in before ^ origins:
            self.tell_learned(origin, origin in origins)

    def abandon(self) -> None:
        """Go on as before."""
        if self._server is not None:
            self._server.abandon()
        for lent in self._lent.values():
            for each in lent:
                each.close()
        self._lent.clear()

    def reopen(self) -> None:
        """Go on in the file that has the access log's name now."""
        if self._server is not None:
            self._server.reopen()

    def retire(self) -> None:
        """Stop, for another worker takes this one's place."""
        if self._server is not None:
            self._server.leave_sockets()
        self.stop()

    def stop(self) -> None:
        """Finish what is in flight, and end the process."""
        if self._stopped is None:
            self._stopped = (
                maybeDeferred(self._server.stopService) if self._server else maybeDeferred(_nothing)
            )
            self._stopped.addErrback(partial(_log.failure, "a worker does not stop as it should"))
            self._stopped.addCallback(self._end)

    def _end(self, _: object) -> None:
        with suppress(ReactorNotRunning):
            self._reactor.stop()


def _nothing() -> None:
    """Nothing at all."""


def _nobody(origin: str, is_open: bool) -> None:
    """Nobody to tell."""


class WorkersEnd(channel.Channel):
    """The worker's end of the channel."""

    def __init__(self, worker: Worker) -> None:
        channel.Channel.__init__(self)
        self._worker = worker
        worker.tell_learned = self._tell_learned

    def _tell_learned(self, origin: str, is_open: bool) -> None:
        asked = self.ask(channel.Learned, origin=origin, is_open=is_open)
        asked.addErrback(_end_with_parent)

    @channel.Lend.responder
    def lend(self, position: int, socket: int) -> dict[str, object]:
        self._worker.lend(position, socket)
        return {}

    @channel.Prepare.responder
    def prepare(self, origin: int) -> dict[str, object]:
        return {"faults": channel.faults_as_text(self._worker.prepare(origin))}

    @channel.Commit.responder
    def commit(self) -> dict[str, object]:
        self._worker.commit()
        return {}

    @channel.Abandon.responder
    def abandon(self) -> dict[str, object]:
        self._worker.abandon()
        return {}

    @channel.Reopen.responder
    def reopen(self) -> dict[str, object]:
        self._worker.reopen()
        return {}

    @channel.Stop.responder
    def stop(self) -> dict[str, object]:
        self._worker.stop()
        return {}

    @channel.Ping.responder
    def ping(self) -> dict[str, object]:
        return {}

    def connectionLost(self, reason: "Failure") -> None:  # type: ignore[override]
        """The parent has ended, and nobody would ever stop this process."""
        channel.Channel.connectionLost(self, reason)
        self._worker.stop()


def _end_with_parent(failure: "Failure") -> None:
    """The parent has ended, and so will this process."""
    failure.trap(ConnectionDone, ConnectionLost)


def main() -> None:
    """Serve until told otherwise."""
    from twisted.internet import reactor as installed

    reactor = cast("Reactor", installed)
    file = cast("TextIO", PatientText(open_stdout(2)))
    globalLogBeginner.beginLoggingTo([journal_observer(file)], redirectStandardIO=False)
    sys.unraisablehook = without_server_names(sys.unraisablehook)
    worker = Worker(int(sys.argv[1]), Counters.shared(channel.COUNTERS), reactor)
    os.close(channel.COUNTERS)
    OnSignal(signal.SIGTERM, worker.retire, reactor).startService()
    # A terminal sends these to the whole group; they are the parent's to answer.
    OnSignal(signal.SIGINT, _nothing, reactor).startService()
    OnSignal(signal.SIGHUP, _nothing, reactor).startService()
    channel.speak(channel.DESCRIPTOR, WorkersEnd(worker), reactor)
    os.close(channel.DESCRIPTOR)
    reactor.run()


if __name__ == "__main__":
    main()
