"""Unix signals as calls in the reactor's thread."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import Service

from .reactor import Reactor


class OnSignal(Service):
    """While it runs, a signal leads to a call. Signals in a row, before that call, are one."""

    def __init__(
        self, number: signal.Signals, call: Callable[[], object], reactor: Reactor
    ) -> None:
        self._number = number
        self._call = call
        self._reactor = reactor
        self._is_pending = False
        self._before: Any = signal.SIG_DFL

    def startService(self) -> None:
        """Claim the signal; once more when the reactor runs, for it claims SIGTERM as it starts."""
        Service.startService(self)
        self._before = signal.signal(self._number, self._hear)
        self._reactor.callWhenRunning(self._claim)

    def _claim(self) -> None:
        if self.running:
            signal.signal(self._number, self._hear)

    def stopService(self) -> None:
        """Give the signal back."""
        signal.signal(self._number, self._before)
        Service.stopService(self)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        # Nothing but this is safe in the middle of whatever the signal interrupted.
        if not self._is_pending:
            self._is_pending = True
            self._reactor.callFromThread(self._answer)

    def _answer(self) -> None:
        self._is_pending = False
        self._call()
