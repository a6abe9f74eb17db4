"""Lines that are gathered in memory and written in batches, whatever becomes of their file.

No caller ever waits or fails because of a line. What cannot be written waits in memory, up to a
bound; beyond it the newest lines are lost, and counted.
"""

import os
from collections.abc import Callable
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..starting import CannotStart
from .outlets import Outlet

BATCH = 64 * 1024
"""How many bytes are gathered before they are written at once."""
HELD = 1024 * 1024
"""How many bytes are held while they cannot be written; what comes on top of them is lost."""
FLUSH_TIME = 0.5
"""How long a line may wait for others, in seconds; a second is promised."""
RETRY_TIME = 0.05
"""When a reader that has fallen behind is tried again, in seconds: a pipe holds one batch."""
STOP_TIME = 1.0
"""How long a reader that has fallen behind is waited for at the end, in seconds."""
REPORT_TIME = 60.0
"""How far apart messages about lost lines are at least, in seconds."""

_CLOSED = -1  # any size is above it


class LineSink(Protocol):
    """What takes lines: they end with a line feed."""

    lost: int

    def open(self) -> None:
        """Open what is written to, before a start that must not fail; raises `OSError`."""

    def write(self, line: bytes) -> None:
        """Take a line; never waits and never fails."""

    def flush(self) -> None:
        """Write what has been gathered, as far as it goes."""

    def reopen(self) -> None:
        """Go on in the file that now has the name: the old one has been moved away."""


class NoLines(Service):
    """Where no lines are kept."""

    lost = 0

    def open(self) -> None: ...
    def write(self, line: bytes) -> None: ...
    def flush(self) -> None: ...
    def reopen(self) -> None: ...


def _unheard(lines: int) -> None:
    """Where nobody counts lost lines."""


class Lines(Service):
    """Writes lines to what `open_outlet` opens; `shown` is its name in messages.

    `when_lost` is told how many lines are lost whenever some are.
    """

    _log = Logger()

    def __init__(
        self,
        open_outlet: Callable[[], Outlet],
        shown: str,
        reactor: IReactorTime,
        when_lost: Callable[[int], None] = _unheard,
    ) -> None:
        self.lost = 0
        self._when_lost = when_lost
        self._open_outlet = open_outlet
        self._shown = shown
        self._reactor = reactor
        self._outlet: Outlet | None = None
        self._lines: list[bytes] = []
        self._size = 0  # of all lines, in bytes
        self._limit = _CLOSED  # the size above which a line is more than an append
        self._is_torn = False  # the first of the lines is the rest of one that is partly written
        self._timer: IDelayedCall | None = None
        self._told = 0  # how many lost lines the last message spoke of
        self._next_report = float("-inf")

    # A lifetime.

    def open(self) -> None:
        """Open the outlet, if it is not open yet: before a start that must not fail.

        Raises `OSError`.
        """
        if self._outlet is None:
            self._outlet = self._open_outlet()

    def startService(self) -> None:
        """Take lines from now on; exits with a message if the outlet cannot be opened."""
        try:
            self.open()
        except OSError as error:
            message = f"regroute: cannot open {self._shown}: {error.strerror}"
            self._log.critical("{message}", message=message)
            raise CannotStart(message) from None
        Service.startService(self)
        self._limit = BATCH

    def stopService(self) -> Deferred[None]:
        """Write what is left and close; a reader that is behind gets a moment."""
        Service.stopService(self)
        self._limit = _CLOSED
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        deadline = self._reactor.seconds() + STOP_TIME
        while (error := self._push()) and _is_full(error) and self._reactor.seconds() < deadline:
            await deferLater(self._reactor, RETRY_TIME)
        self._lose_all()
        if self.lost != self._told:
            self._next_report = float("-inf")  # nobody could ask for the number later
            self._report(error)
        if self._outlet is not None:
            outlet, self._outlet = self._outlet, None
            self._close(outlet)

    # Lines in.

    def write(self, line: bytes) -> None:
        """Take a line, which ends with a line feed."""
        self._lines.append(line)
        self._size += len(line)
        if self._size > self._limit:
            self._overflow()
        elif self._timer is None:
            self._timer = self._reactor.callLater(FLUSH_TIME, self._tick)

    def _overflow(self) -> None:
        """Write a batch, or lose the newest line where there is no more room for it."""
        if self._limit == _CLOSED:
            self._lose_newest()
            return
        if self._limit < HELD:
            self.flush()
        if self._size > HELD and len(self._lines) > 1:
            self._lose_newest()

    def _lose_newest(self) -> None:
        self._size -= len(self._lines.pop())
        self._lose(1)

    def _lose_all(self) -> None:
        self._lose(len(self._lines))
        self._lines.clear()
        self._size = 0
        self._is_torn = False

    def _lose(self, lines: int) -> None:
        self.lost += lines
        self._when_lost(lines)

    # Lines out.

    def flush(self) -> None:
        """Write what has been gathered, and come back to what cannot be written now."""
        if not self.running:
            return
        error = self._push()
        # Each try takes a system call: one for a batch of lines is enough, not one for each.
        self._limit = min(self._size + BATCH, HELD) if self._lines else BATCH
        if self._lines:
            self._wake_in(RETRY_TIME if error and _is_full(error) else FLUSH_TIME)
        self._report(error)

    def _wake_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._reactor.callLater(seconds, self._tick)
        elif self._timer.getTime() > self._reactor.seconds() + seconds:
            self._timer.reset(seconds)

    def _tick(self) -> None:
        self._timer = None
        self.flush()

    def _push(self) -> OSError | None:
        """Write lines until there are none, or until an error, which it returns."""
        if self._outlet is None:
            return None
        done = 0
        try:
            while done < len(self._lines):
                last = _end_of(self._lines, done, self._outlet.at_once)
                data = b"".join(self._lines[done:last])
                written = self._outlet.write(data)
                if not written:
                    raise BlockingIOError
                self._size -= written
                self._is_torn = False
                done = last if written == len(data) else self._tear(done, written)
        except OSError as error:
            return error
        finally:
            del self._lines[:done]
        return None

    def _tear(self, first: int, written: int) -> int:
        """Find where a write stopped that was short; returns the line that is now the first.

        What is left of a line comes first the next time, so that in the file it is whole.
        """
        while written >= len(self._lines[first]):
            written -= len(self._lines[first])
            first += 1
        self._lines[first] = self._lines[first][written:]
        self._is_torn = written > 0
        return first

    # Files that move.

    def reopen(self) -> None:
        """Finish the old file and go on in the one that now has its name.

        If that cannot be opened, the old one stays in use.
        """
        if self._outlet is None:
            return
        self.flush()
        try:
            fresh = self._open_outlet()
        except OSError as error:
            self._log.error(
                "cannot reopen {shown}: {reason}; the old file stays in use",
                shown=self._shown,
                reason=error.strerror,
            )
            return
        old, self._outlet = self._outlet, fresh
        if self._is_torn and not _is_same(old.fileno(), fresh.fileno()):
            # Its beginning is in the old file; the rest would spoil the new one.
            self._size -= len(self._lines.pop(0))
            self._is_torn = False
            self._lose(1)
        self._close(old)
        self.flush()

    def _close(self, outlet: Outlet) -> None:
        try:
            outlet.close()
        except OSError as error:  # a network file system may only now tell that it is full
            self._log.error("closing {shown}: {reason}", shown=self._shown, reason=error.strerror)

    # Messages.

    def _report(self, error: OSError | None) -> None:
        """Tell of what is lost and of what cannot be written, at most once a minute.

        A reader that is behind is nothing to tell of before it costs a line.
        """
        if self.lost == self._told and (error is None or _is_full(error)):
            return
        now = self._reactor.seconds()
        if now < self._next_report or (error and self._would_hang(error)):
            return
        self._next_report = now + REPORT_TIME
        self._told = self.lost
        if error is None:
            state = "is written again"
        elif _is_full(error):
            state = "cannot be written: nobody reads it"
        else:
            state = f"cannot be written: {error.strerror}"
        self._log.warn(
            "{shown} {state} (lines lost so far: {lost}, waiting: {waiting})",
            shown=self._shown,
            state=state,
            lost=self.lost,
            waiting=len(self._lines),
        )

    def _would_hang(self, error: OSError) -> bool:
        """Whether the daemon's own log goes into the same full pipe (``2>&1``)."""
        return self._outlet is not None and _is_full(error) and _is_same(self._outlet.fileno(), 2)


def _is_same(descriptor: int, other: int) -> bool:
    """Whether two descriptors are of one file, as far as can be told."""
    try:
        return os.path.sameopenfile(descriptor, other)
    except OSError:
        return False


def _is_full(error: OSError) -> bool:
    """Whether a stream's reader is behind, rather than that something is wrong."""
    return isinstance(error, BlockingIOError)


def _end_of(lines: list[bytes], first: int, size: int) -> int:
    """Where the lines from `first` on end that fit into `size` bytes together; one at least."""
    last = first
    while last < len(lines) and (size := size - len(lines[last])) >= 0:
        last += 1
    return max(last, first + 1)
