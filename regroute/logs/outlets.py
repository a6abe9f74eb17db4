"""Where lines go: descriptors that are written to without ever waiting for their reader.

A pipe, a terminal or a socket whose reader has stopped would block whoever writes to it. The usual
remedy, O_NONBLOCK, belongs to the open file and not to the descriptor: whoever shares the pipe with
us (a shell, our own standard error, another worker) would fail with EAGAIN where they never expect
it. So, for what is there before us:

- a regular file is written as it is. It never asks anyone to wait, and only the shared open file
  has the right offset;
- of a pipe or a terminal, an open file of our own is opened by way of ``/proc``, with O_NONBLOCK;
- where that cannot be (for a socket, as journald's, or a pipe of another user) the descriptor is
  asked before each write. A pipe that is ready takes PIPE_BUF bytes at once (pipe(7)), a socket far
  more. Only if another writer takes the room in between, and the reader then stops, would the write
  still wait.

Streams get whole lines in pieces of up to PIPE_BUF bytes: those never mix with another writer's.
"""

import os
import select
import stat
from contextlib import suppress
from typing import Protocol

AT_ONCE = 1024 * 1024
"""The most that a regular file is given in one write, in bytes."""
MODE = 0o640
"""The mode of a new file, as far as the umask lets it."""

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Outlet(Protocol):
    """What lines are written to. It takes up to `at_once` bytes in one write."""

    @property
    def at_once(self) -> int: ...
    def fileno(self) -> int: ...
    def write(self, data: bytes) -> int:
        """Write the beginning of `data` and say how much it was; raises `OSError`."""

    def close(self) -> None: ...


def open_file(path: str) -> Outlet:
    """Open a file to append to, and make it where there is none; raises `OSError`.

    A FIFO that nobody reads is refused (ENXIO), where it would else be waited for.
    """
    return _Descriptor(os.open(path, _FLAGS | os.O_CREAT, MODE))


def open_stdout(descriptor: int = 1) -> Outlet:
    """Standard output, or another descriptor that others may share; raises `OSError`."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return _Descriptor(os.dup(descriptor))
    try:
        return _Descriptor(os.open(f"/proc/self/fd/{descriptor}", _FLAGS))
    except OSError:
        return _Polled(os.dup(descriptor))


class _Descriptor:
    """A regular file, or an open file that nobody shares and that does not block."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self.at_once = AT_ONCE if is_regular else select.PIPE_BUF

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: bytes) -> int:
        return os.write(self._descriptor, data)

    def close(self) -> None:
        os.close(self._descriptor)


class _Polled(_Descriptor):
    """A stream that blocks: asked first, and given no more than it then has room for."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, data: bytes) -> int:
        if not self._poll.poll(0):
            raise BlockingIOError
        return super().write(data[: select.PIPE_BUF])


class PatientText:
    """A text file over an outlet, for a log: what the outlet does not take at once is lost.

    A log that is not read must not make the daemon wait, or its reader could stop all answers.
    """

    encoding = "utf-8"

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    def write(self, text: str) -> int:
        """Write as far as it goes; never waits and never fails."""
        data = text.encode(self.encoding, "backslashreplace")
        with suppress(OSError):
            while data:
                data = data[self._outlet.write(data[: self._outlet.at_once]) :]
        return len(text)

    def flush(self) -> None:
        """Nothing: what has been taken is written."""
