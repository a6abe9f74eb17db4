"""All that one process needs to serve by a configuration, and how another one takes force."""

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed

from .check import Checked
from .config.faults import Faulty
from .config.schema import Limits
from .descriptors import raise_descriptors
from .listeners import Listeners, Opened
from .load import Origin
from .logs.recorder import Recorder, Sink
from .metrics.counters import Counters
from .metrics.tally import Tally
from .reactor import Reactor
from .rules import RuleSet
from .service import InOrder, Serving
from .starting import CannotStart
from .web.listening import Place, Sockets
from .web.tree import Site


@dataclass(frozen=True)
class Process:
    """A process that serves, since `started` (seconds since the epoch) if it does already."""

    number: int
    pid: int | None
    started: float
    is_serving: bool
    restarts: int


class Servers(Protocol):
    """Who serves, and follows the configuration in two steps: all of them, or none."""

    @property
    def blocks(self) -> Sequence[Counters]:
        """What all of them have counted."""

    @property
    def known_open(self) -> frozenset[str]:
        """The origins of registries that are known to ask nobody for credentials."""

    def processes(self) -> Sequence[Process]:
        """The processes that serve."""

    def prepare(self, checked: Checked, origin: Origin, opened: Opened) -> Deferred[None]:
        """Get ready for a configuration; fails with `Faulty`."""

    def commit(self) -> None:
        """Serve by what has been prepared. Cannot fail."""

    def abandon(self) -> None:
        """Go on by the old one: the new one will not take force."""

    def reopen(self) -> None:
        """Go on in the files that have the logs' names now."""


@dataclass(frozen=True)
class _Next:
    """What is to take force."""

    checked: Checked
    sockets: Mapping[Place, Sockets]
    sink: Sink | None


def _unheard(origins: frozenset[str]) -> None:
    """Nobody else has to know."""


class Server(InOrder):
    """Serves in this process, as one of so many `servers`, and counts what it does.

    `base` is where relative paths begin. `learned` is told the origins of registries that are known
    to ask nobody for credentials, when they change.
    """

    def __init__(
        self,
        checked: Checked,
        base: Path,
        servers: int,
        counters: Counters,
        reactor: Reactor,
        learned: Callable[[frozenset[str]], object] = _unheard,
    ) -> None:
        self.counters = counters
        tally = Tally(counters)
        self._servers = servers
        self._learned = learned
        self._open: frozenset[str] = frozenset()
        self._recorder = Recorder(checked, base, reactor, tally)
        self._use(checked)
        self.site = Site(
            self.rules,
            self.limits,
            self._recorder.record,
            lambda: self._recorder.is_recording,
            raise_descriptors(),
            reactor,
            tally.count,
        )
        self.site.remember = self._recorder.remember
        self._serving = Serving(self.site, base, reactor, self._use_open)
        self._next: _Next | None = None
        InOrder.__init__(self, [self._recorder, self._serving])

    def _use(self, checked: Checked) -> None:
        limits = checked.config.limits
        if limits.connections is not None:
            share = ceil(limits.connections / self._servers)
            limits = limits.model_copy(update={"connections": share})
        self._checked = checked
        # What has been learned of registries holds, whatever the rules are.
        self._rules = replace(checked.rules, open=self._open)
        self._limits = limits
        # Nobody else could ask for the counts.
        self._recorder.is_counting = checked.config.admin is not None

    def rules(self) -> RuleSet:
        """The rules in force now."""
        return self._rules

    def _use_open(self, origins: frozenset[str]) -> None:
        """Go by what is known of registries that ask nobody for credentials."""
        self._open = origins
        self._rules = replace(self._rules, open=origins)
        self._learned(origins)

    def limits(self) -> Limits:
        """The limits in force now, as far as they are this server's."""
        return self._limits

    def serve(self, checked: Checked, sockets: Mapping[Place, Sockets]) -> None:
        """Begin to serve at these sockets, once the service has been started."""
        self._serving.apply(checked, sockets)
        settle()

    def prepare(self, checked: Checked, sockets: Mapping[Place, Sockets]) -> None:
        """Get ready to serve by `checked`, at these sockets beside the old ones.

        Raises `Faulty`.
        """
        self._serving.prepare(checked)
        self._next = _Next(checked, sockets, self._recorder.open(checked))

    def commit(self) -> None:
        """Serve by what has been prepared."""
        assert self._next is not None
        after, self._next = self._next, None
        self._use(after.checked)
        self._serving.apply(after.checked, after.sockets)
        self._recorder.apply(after.checked, after.sink)
        settle()

    def abandon(self) -> None:
        """Forget what has been prepared; its sockets are for others to close."""
        if self._next is not None and self._next.sink is not None:
            maybeDeferred(self._next.sink.stopService)
        self._next = None

    def reopen(self) -> None:
        """Go on in the file that has the access log's name now."""
        self._recorder.reopen()

    def leave_sockets(self) -> None:
        """Leave who waits at the sockets to those who go on with them, when it stops."""
        self._serving.is_replaced = True


class Alone(Service):
    """The one server is this process."""

    def __init__(
        self, checked: Checked, server: Server, listeners: Listeners, began: float
    ) -> None:
        self.blocks = [server.counters]
        self._checked = checked
        self._server = server
        self._listeners = listeners
        self._began = began

    @property
    def known_open(self) -> frozenset[str]:
        return self._server.rules().open

    def processes(self) -> Sequence[Process]:
        return [Process(1, os.getpid(), self._began, is_serving=bool(self.running), restarts=0)]

    def privilegedStartService(self) -> None:
        """Bind, while low ports are still allowed; exits with a message where that fails."""
        Service.privilegedStartService(self)
        bind(self._listeners, self._checked)

    def startService(self) -> None:
        """Begin to serve."""
        Service.startService(self)
        self._server.startService()
        self._server.serve(self._checked, self._listeners.of(0))

    def prepare(self, checked: Checked, origin: Origin, opened: Opened) -> Deferred[None]:
        try:
            self._server.prepare(checked, opened.of(0))
        except Faulty as faulty:
            return fail(faulty)
        return succeed(None)

    def commit(self) -> None:
        self._server.commit()

    def abandon(self) -> None:
        self._server.abandon()

    def reopen(self) -> None:
        self._server.reopen()

    def stopService(self) -> Deferred[None]:
        """Finish what is in flight."""
        Service.stopService(self)
        stopped = maybeDeferred(self._server.stopService)
        return stopped.addCallback(lambda _: self._listeners.close())


def bind(listeners: Listeners, checked: Checked) -> None:
    """Open the first sockets; exits with a message where that fails."""
    try:
        listeners.apply(checked, listeners.open(checked))
    except Faulty as faulty:
        raise CannotStart(str(faulty)) from None


def settle() -> None:
    """Leave what lives as long as the rules out of garbage collections: they would stop everyone.

    Old rules are in cycles, and what is frozen is never freed; so all is looked through first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
