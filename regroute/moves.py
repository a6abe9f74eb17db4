"""What a reload moves, told in the log: by the way, a little between requests."""

import time
from collections.abc import Callable, Iterator

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import CooperativeTask, Cooperator, TaskStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from .check import Checked
from .diff.summary import summarise_moves

WORK_TIME = 0.005
"""How long nobody is served for it, in seconds; a step may take some milliseconds more."""
PAUSE_TIME = 0.05
"""How long the others have then, in seconds."""

_log = Logger()


class Moves(Service):
    """Compares the rules before and after a reload, if they differ, and logs who moves."""

    def __init__(
        self, clock: IReactorTime, elapsed: Callable[[], float] = time.perf_counter
    ) -> None:
        def work() -> Callable[[], bool]:
            end = elapsed() + WORK_TIME
            return lambda: elapsed() >= end

        self._steps = Cooperator(
            terminationPredicateFactory=work,
            scheduler=lambda step: clock.callLater(PAUSE_TIME, step),
        )
        self._telling: CooperativeTask[Iterator[None]] | None = None

    def tell(self, before: Checked, after: Checked) -> None:
        """Begin to compare; what is still being told of an earlier reload is told no further."""
        self._end()
        if _decides(before) == _decides(after):
            return
        self._telling = self._steps.cooperate(_logged(before, after))
        self._telling.whenDone().addCallbacks(self._forget, self._fail)

    def stopService(self) -> None:
        """Compare no more."""
        Service.stopService(self)
        self._end()
        self._steps.stop()

    def _end(self) -> None:
        if self._telling is not None:
            telling, self._telling = self._telling, None
            telling.stop()

    def _forget(self, _: object) -> None:
        self._telling = None

    def _fail(self, failure: Failure) -> None:
        if failure.check(TaskStopped) is None:
            self._telling = None
            _log.failure("what the reload moves cannot be told", failure)


def _decides(checked: Checked) -> tuple[object, ...]:
    """All that a decision depends on."""
    config = checked.config
    return config.rules, config.registries, checked.networks


def _logged(before: Checked, after: Checked) -> Iterator[None]:
    for line in summarise_moves(before, after):
        if line is not None:
            _log.info("the reload: {line}", line=line)
        yield
