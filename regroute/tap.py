"""The ``twistd`` plugin: everything the daemon consists of is wired together here."""

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO, cast

from twisted.application.service import IService, IServiceCollection, Service
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import ILogObserver, textFileLogObserver
from twisted.python import usage
from twisted.python.components import Componentized

from .admin.service import Admin
from .admin.subject import Subject
from .config.faults import Faulty
from .descriptors import raise_descriptors
from .life import Life
from .load import load
from .outcome import Reloads
from .outlets import PatientText, open_stdout
from .reactor import Reactor
from .recorder import Recorder
from .reload import Current, Reload, log_warnings, settle
from .service import InOrder, Serving
from .signals import OnSignal
from .systemd import Notifier, Supervised, passed_sockets, watchdog_interval
from .watch import Watch
from .web.lane_tls import without_server_names
from .web.tree import Site


class Options(usage.Options):
    """``twistd regroute``'s own options."""

    synopsis = "[--config FILE]"
    optParameters = [["config", "c", "rules.yaml", "The configuration, a YAML file."]]  # noqa: RUF012  # as Twisted declares it


def makeService(options: Options, reactor: Reactor | None = None) -> IService:
    """The daemon, not yet started; exits with every fault where the configuration has any."""
    if reactor is None:
        from twisted.internet import reactor as installed

        reactor = cast("Reactor", installed)
    shown = options["config"]
    # twistd may change its directory before the first reload.
    path = Path(os.path.abspath(shown))
    read: dict[Path, bytes | None] = {}
    try:
        current = Current(load(path, shown, read), read)
    except Faulty as faulty:
        raise SystemExit(str(faulty)) from None
    supervised = Supervised(
        Notifier(os.environ), watchdog_interval(os.environ, os.getpid()), reactor
    )
    recorder = Recorder(current.checked, path.parent, reactor)
    site = Site(
        current.rules,
        current.limits,
        recorder.record,
        lambda: recorder.is_recording,
        raise_descriptors(),
        reactor,
    )
    site.remember = recorder.remember
    serving = Serving(
        current.checked,
        site,
        passed_sockets(os.environ, os.getpid()),
        path.parent,
        reactor,
    )
    life = Life(reactor.seconds())
    reloads = Reloads(lambda: maybeDeferred(reload.reload), reactor)
    subject = Subject(
        file=shown,
        life=life,
        checked=lambda: current.checked,
        exposition=_exposition,
        reload=reloads.ask,
        last_reload=lambda: reloads.last,
        connections=lambda: len(site.connections),
        workers=lambda: (),
    )
    admin = Admin(current.checked, subject, path.parent, reactor)
    watch = Watch(lambda: current.checked.config.watch, lambda: current.files, reloads.ask, reactor)
    reload = Reload(current, path, shown, serving, recorder, supervised, admin, watch)

    def serve() -> None:
        life.serve()
        supervised.ready("serving")

    # In another turn: when the reactor begins to run, signals are still being claimed.
    reactor.callWhenRunning(reactor.callLater, 0, serve)
    reactor.callWhenRunning(settle)
    sys.unraisablehook = without_server_names(sys.unraisablehook)
    reactor.addSystemEventTrigger("before", "shutdown", life.stop)
    reactor.addSystemEventTrigger("before", "shutdown", supervised.stopping)
    log_warnings(current.checked)
    # In the order of their starts; they stop the other way round.
    services: list[IService] = [
        supervised,
        OnSignal(signal.SIGHUP, reloads.ask, reactor),
        # Twisted's own handler ends the process by the signal; a stop on demand is a success.
        OnSignal(signal.SIGTERM, partial(_stop, reactor), reactor),
        recorder,
        # It is asked how the daemon is until everyone has been served.
        admin,
        serving,
        watch,
    ]
    twistd = getattr(options, "parent", None) or {}
    return Daemon(services, _log_observer(twistd))


class Daemon(InOrder):
    """The whole, which brings its own log observer, if any, to the application."""

    def __init__(self, services: Iterable[IService], observer: ILogObserver | None) -> None:
        InOrder.__init__(self, services)
        self._observer = observer

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Become part of the application."""
        Service.setServiceParent(self, parent)
        if self._observer is not None and isinstance(parent, Componentized):
            Componentized.setComponent(parent, ILogObserver, self._observer)


def _log_observer(twistd: Mapping[str, Any]) -> ILogObserver | None:
    """Where twistd would log to standard output, which is the access log's, standard error."""
    if not twistd.get("nodaemon") or twistd.get("logfile") or twistd.get("syslog"):
        return None
    try:
        return textFileLogObserver(cast("TextIO", PatientText(open_stdout(2))))
    except OSError:
        # There is no such descriptor.
        return textFileLogObserver(sys.stderr)


def _exposition(accept: str) -> tuple[str, bytes]:
    """The one metric that needs nobody to count: which version this is."""
    line = f'regroute_build_info{{version="{version("regroute")}"}} 1\n'
    text = f"# TYPE regroute_build_info gauge\n{line}"
    return "text/plain; version=0.0.4; charset=utf-8", text.encode()


def _stop(reactor: Reactor) -> None:
    # An impatient one asks twice, while what is in flight is still being finished.
    with suppress(ReactorNotRunning):
        reactor.stop()
