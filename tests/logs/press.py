"""Lines in the making: an outlet in memory, and a clock that runs when it is told to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent

from regroute.logs.lines import RETRY_TIME, STOP_TIME, Lines
from regroute.logs.outlets import Outlet

UNLIMITED = 1 << 40


@dataclass
class Sheet:
    """An outlet in memory that has room for so many bytes, and then fails."""

    at_once: int = UNLIMITED
    room: int = UNLIMITED
    error: OSError = field(default_factory=BlockingIOError)
    writes: list[bytes] = field(default_factory=list)
    is_closed: bool = False

    def fileno(self) -> int:
        return -1

    def write(self, data: bytes) -> int:
        assert not self.is_closed
        if not self.room:
            raise self.error
        self.writes.append(data[: self.room])
        written = min(len(data), self.room)
        self.room -= written
        return written

    def close(self) -> None:
        self.is_closed = True

    @property
    def text(self) -> bytes:
        return b"".join(self.writes)


@dataclass
class Press:
    """Lines that run, and what they are written to."""

    lines: Lines
    clock: Clock

    def stop(self) -> None:
        """Stop, and wait for it as long as it may take."""
        stopped: list[object] = []
        self.lines.stopService().addBoth(stopped.append)
        for _ in range(round(STOP_TIME / RETRY_TIME) + 1):
            self.clock.advance(RETRY_TIME)
        assert stopped == [None]
        assert self.clock.getDelayedCalls() == []


def start(open_outlet: Callable[[], Outlet]) -> Press:
    clock = Clock()
    lines = Lines(open_outlet, "the access log", clock)
    lines.startService()
    return Press(lines, clock)


def on(sheet: Sheet) -> Press:
    return start(lambda: sheet)


def line(number: int, size: int = 16) -> bytes:
    return f"{number} ".encode().ljust(size - 1, b".") + b"\n"


def said(events: Sequence[LogEvent]) -> list[str]:
    return [formatEvent(event) for event in events]
