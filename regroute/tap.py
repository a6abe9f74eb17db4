"""The ``twistd`` plugin: everything the daemon consists of is wired together here."""

import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast

from twisted.application.service import IService
from twisted.internet.error import ReactorNotRunning
from twisted.python import usage

from .config.faults import Faulty
from .load import load
from .reactor import Reactor
from .reload import Current, Reload
from .service import InOrder, Serving
from .signals import OnSignal
from .web.tree import Front, Site


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
    try:
        current = Current(load(path, shown))
    except Faulty as faulty:
        raise SystemExit(str(faulty)) from None
    reload = Reload(current, path, shown)
    site = Site(Front(current.rules, reactor), reactor)
    return InOrder(
        [
            OnSignal(signal.SIGHUP, reload.reload, reactor),
            # Twisted's own handler ends the process by the signal; a stop on demand is a success.
            OnSignal(signal.SIGTERM, partial(_stop, reactor), reactor),
            Serving(current.checked.config.listen, site, reactor),
        ]
    )


def _stop(reactor: Reactor) -> None:
    # An impatient one asks twice, while what is in flight is still being finished.
    with suppress(ReactorNotRunning):
        reactor.stop()
