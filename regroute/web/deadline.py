"""A deadline that is put off much more often than it passes: its timer finds out when it rings."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadline:
    """Calls `passed` when the time is up that was set last."""

    def __init__(self, passed: Callable[[], None], clock: IReactorTime) -> None:
        self._passed = passed
        self._clock = clock
        self._at: float | None = None
        self._timer: IDelayedCall | None = None

    def set(self, seconds: float | None) -> None:
        """Set it so far from now, or not at all."""
        if seconds is None:
            self._at = None
            return
        self._at = self._clock.seconds() + seconds
        if self._timer is not None:
            if self._timer.getTime() <= self._at:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self._ring)

    def cancel(self) -> None:
        """Nothing is to pass any more."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if self._at is None:
            return
        left = self._at - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._ring)
        else:
            self._at = None
            self._passed()
