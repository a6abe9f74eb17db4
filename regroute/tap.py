"""The ``twistd`` plugin: its options, the daemon as one service, and where the daemon logs to."""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from twisted.application.service import IService, IServiceCollection, Service
from twisted.logger import ILogObserver, LogLevel, textFileLogObserver
from twisted.python import usage
from twisted.python.components import Componentized

from .assembly import assemble
from .config.faults import Faulty
from .load import Origin, load_from
from .logs.journal import is_journal, journal_observer, with_priority
from .logs.outlets import PatientText, open_stdout
from .reactor import Reactor
from .reload import Current, log_warnings
from .service import InOrder
from .web.lane_tls import without_server_names


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
    origin = Origin.on_disk(Path(os.path.abspath(shown)), shown)
    try:
        current = Current(load_from(origin), origin)
    except Faulty as faulty:
        raise SystemExit(_printed(str(faulty))) from None
    sys.unraisablehook = without_server_names(sys.unraisablehook)
    log_warnings(current.checked)
    twistd = getattr(options, "parent", None) or {}
    return Daemon(assemble(current, os.environ, reactor), _log_observer(twistd))


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
        file = cast("TextIO", PatientText(open_stdout(2)))
    except OSError:
        # There is no such descriptor.
        file = sys.stderr
    return journal_observer(file) if is_journal(os.environ) else textFileLogObserver(file)


def _printed(fault: str) -> str:
    """What is written to standard error while there is no log yet."""
    if not is_journal(os.environ):
        return fault
    return with_priority(LogLevel.error, fault).removesuffix("\n")
