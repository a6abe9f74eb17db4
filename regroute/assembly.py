"""All services of the daemon, and how they hang together."""

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from twisted.application.service import IService
from twisted.internet.error import ReactorNotRunning

from .admin.service import Admin
from .admin.subject import Subject
from .life import Life
from .listeners import Listeners
from .metrics.counters import Counters
from .metrics.exposition import Facts, Metrics, connections
from .moves import Moves
from .outcome import Reloads
from .reactor import Reactor
from .reload import Current, Reload
from .server import Alone, Server
from .signals import OnSignal
from .systemd import Notifier, Supervised, passed_sockets, watchdog_interval
from .watch.service import Watch
from .workers.launch import Launcher
from .workers.service import Workers, cores


def assemble(current: Current, environ: Mapping[str, str], reactor: Reactor) -> list[IService]:
    """The services in the order of their starts; they stop the other way round."""
    life = Life(reactor.seconds())
    supervised = Supervised(Notifier(environ), watchdog_interval(environ, os.getpid()), reactor)

    def serve() -> None:
        life.serve()
        supervised.ready("serving")

    # In another turn: when the reactor begins to run, signals are still being claimed.
    ready = partial(reactor.callWhenRunning, reactor.callLater, 0, serve)
    passed = passed_sockets(environ, os.getpid())
    count = current.checked.config.workers or cores()
    listeners = Listeners(passed, current.origin.path.parent, None if count == 1 else count)
    servers = _servers(count, current, listeners, ready, reactor)
    reloads = Reloads(lambda: reload.reload(), reactor)

    def facts() -> Facts:
        processes = servers.processes()
        restarts = sum(process.restarts for process in processes)
        return Facts.of(current.checked, reloads.history, len(processes), restarts)

    subject = Subject(
        file=current.origin.shown,
        life=life,
        checked=lambda: current.checked,
        known_open=lambda: servers.known_open,
        exposition=Metrics(lambda: servers.blocks, facts).exposition,
        reload=reloads.ask,
        last_reload=lambda: reloads.history.last,
        connections=lambda: connections(servers.blocks),
        workers=servers.processes,
    )
    admin = Admin(current.checked, subject, current.origin.path.parent, reactor)
    watch = Watch(
        lambda: current.checked.config.watch,
        lambda: current.tried.contents,
        reloads.ask,
        reactor,
    )
    moves = Moves(reactor)
    reload = Reload(current, listeners, servers, supervised, admin, watch, moves)
    reactor.addSystemEventTrigger("before", "shutdown", life.stop)
    reactor.addSystemEventTrigger("before", "shutdown", supervised.stopping)
    return [
        supervised,
        OnSignal(signal.SIGHUP, reloads.ask, reactor),
        # Twisted's own handler ends the process by the signal; a stop on demand is a success.
        OnSignal(signal.SIGTERM, partial(_stop, reactor), reactor),
        # It is asked how the daemon is until everyone has been served.
        admin,
        servers,
        watch,
        moves,
    ]


def _servers(
    count: int,
    current: Current,
    listeners: Listeners,
    ready: Callable[[], object],
    reactor: Reactor,
) -> Alone | Workers:
    checked, origin = current.checked, current.origin
    if count > 1:
        launch = Launcher(count, reactor)
        return Workers(checked, origin, count, listeners, launch, ready, reactor)
    server = Server(checked, origin.path.parent, 1, Counters.private(), reactor)
    ready()
    return Alone(checked, server, listeners, reactor.seconds())


def _stop(reactor: Reactor) -> None:
    # An impatient one asks twice, while what is in flight is still being finished.
    with suppress(ReactorNotRunning):
        reactor.stop()
