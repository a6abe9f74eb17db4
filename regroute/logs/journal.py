"""The daemon's own log as journald takes it: every line begins with its priority, ``<N>``.

The protocol is sd-daemon(3)'s. journald notes the time by itself, so that no line has one. It takes
each line for a message of its own, hence the prefix on every line of a longer one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TextIO

from twisted.logger import FileLogObserver, LogEvent, LogLevel, eventAsText

if TYPE_CHECKING:
    # What Twisted's levels are.
    from constantly import NamedConstant  # type: ignore[import-untyped]  # it has no annotations

LONGEST = 10_000
"""In characters. journald cuts a line of more than 48 KiB (LineMax= in journald.conf(5)), and what
it cuts off is a line without its priority."""

_PRIORITIES = {
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}
# syslog knows three more: `notice` is some information, `alert` and `emerg` are as bad as it gets.
_LEVELS = {priority: level for level, priority in _PRIORITIES.items()} | {
    5: LogLevel.info,
    1: LogLevel.critical,
    0: LogLevel.critical,
}
_LINE = re.compile(r"<([0-7])>(.*)", re.DOTALL)
_BREAK = re.compile(r"\r?\n")
# journalctl shows a message with any of these as "[12B blob data]"; a tab is all right.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def is_journal(environ: Mapping[str, str], descriptor: int = 2) -> bool:
    """Whether a descriptor is the stream that systemd has connected to journald.

    JOURNAL_STREAM names its device and inode (systemd.exec(5)): who has inherited the variable may
    have redirected the descriptor since.
    """
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def journal_observer(file: TextIO) -> FileLogObserver:
    """A log observer that writes lines with priorities to a text file."""
    return FileLogObserver(file, lines_of)


def lines_of(event: LogEvent) -> str:
    """An event as lines, each with its line end; empty where it says nothing.

    What is not printable is escaped, so that no part of a message passes for another one.
    """
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    if not text:
        return ""
    system = event.get("log_system") or event.get("log_namespace")
    return with_priority(event.get("log_level"), f"[{system}] {text}" if system else text)


def with_priority(level: NamedConstant | None, text: str) -> str:
    """A text as lines of this level; ``info``, as for journald, where there is none."""
    priority = _PRIORITIES.get(level, _PRIORITIES[LogLevel.info])
    return "".join(f"<{priority}>{line}\n" for line in _lines(text))


def parse_line(line: str) -> tuple[NamedConstant, str]:
    """The level and the text of a line, with or without its line end.

    A line without a priority does not come from a log, but is what the interpreter itself says, as
    when it crashes: a warning.
    """
    line = line.removesuffix("\n")
    found = _LINE.fullmatch(line)
    return (_LEVELS[int(found[1])], found[2]) if found else (LogLevel.warn, line)


def _lines(text: str) -> Iterable[str]:
    for line in _BREAK.split(text.rstrip("\r\n")):
        shown = _CONTROL.sub(lambda control: f"\\x{ord(control[0]):02x}", line.rstrip())
        for start in range(0, max(len(shown), 1), LONGEST):
            yield shown[start : start + LONGEST]
