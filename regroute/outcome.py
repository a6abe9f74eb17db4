"""What comes of a reload, and that reloads go one after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .config.faults import Fault

_log = Logger()


@dataclass(frozen=True)
class Outcome:
    """What has come of a reload.

    `state` is one line about it; `changes` says what is new, None where the old rules stay in
    force. There may be no faults then either: the daemon itself has failed, and its log says why.
    """

    state: str
    changes: str | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def result(self) -> str:
        """The one word for it."""
        return "failed" if self.changes is None else "reloaded"


@dataclass(frozen=True)
class Past:
    """An outcome, and when it came about, in seconds since the epoch."""

    outcome: Outcome
    time: float


@dataclass(frozen=True)
class History:
    """How reloads have gone. `last_success`, in seconds since the epoch, begins as the start's."""

    last_success: float
    succeeded: int = 0
    failed: int = 0
    last: Past | None = None

    def after(self, past: Past) -> History:
        """With one more."""
        if past.outcome.changes is None:
            return replace(self, failed=self.failed + 1, last=past)
        return replace(self, succeeded=self.succeeded + 1, last_success=past.time, last=past)


class Reloads:
    """Reloads one at a time: all who ask while one goes on share the next.

    So everyone gets the outcome of a reload that began after he had asked, and sees his own change
    in it.
    """

    def __init__(self, run: Callable[[], Deferred[Outcome]], clock: IReactorTime) -> None:
        self.history = History(clock.seconds())
        self._run = run
        self._clock = clock
        self._waiting: list[Deferred[Outcome]] = []
        self._is_running = False

    def ask(self) -> Deferred[Outcome]:
        """Reload, at once or after the reload that goes on. Never fails."""
        waiting: Deferred[Outcome] = Deferred()
        self._waiting.append(waiting)
        if not self._is_running:
            self._start()
        return waiting

    def _start(self) -> None:
        self._is_running = True
        served, self._waiting = self._waiting, []
        self._run().addErrback(_failed).addCallback(self._finish, served)

    def _finish(self, outcome: Outcome, served: list[Deferred[Outcome]]) -> None:
        self.history = self.history.after(Past(outcome, self._clock.seconds()))
        for waiting in served:
            waiting.callback(outcome)
        self._is_running = False
        if self._waiting:
            self._start()


def _failed(failure: Failure) -> Outcome:
    _log.failure("the reload has failed", failure)
    return Outcome("the reload has failed: the old rules stay in force")
