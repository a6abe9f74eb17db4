"""What lines are written to: real files, pipes, sockets and terminals, whose readers may stop."""

import contextlib
import errno
import os
import pty
import select
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from regroute.logs.outlets import Outlet, PatientText, open_file, open_stdout

PIECE = b"." * (select.PIPE_BUF - 1) + b"\n"

Ends = tuple[int, int]


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A write that waits for its reader is a failure here, and not the end of all tests."""

    def fail(number: int, frame: FrameType | None) -> None:
        raise AssertionError("a write hung")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe() -> Ends:
    return os.pipe()


def socket_pair() -> Ends:
    reader, writer = socket.socketpair()
    return reader.detach(), writer.detach()


def terminal() -> Ends:
    return pty.openpty()


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Be a user to whom the modes of files apply."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def open_shared(descriptor: int) -> Outlet:
    """As standard output, and without the right to open it anew."""
    os.fchmod(descriptor, 0)
    with unprivileged():
        outlet = open_stdout(descriptor)
    with pytest.raises(PermissionError), unprivileged():
        os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY)
    return outlet


STREAMS = pytest.mark.parametrize(
    ("make", "open_writer"),
    [
        pytest.param(pipe, open_stdout, id="pipe"),
        pytest.param(pipe, open_shared, id="pipe of another user"),
        pytest.param(socket_pair, open_stdout, id="socket"),
        pytest.param(terminal, open_stdout, id="terminal"),
    ],
)
Make = Callable[[], Ends]
Open = Callable[[int], Outlet]


def fill(outlet: Outlet) -> int:
    """Write until it takes no more; returns the number of bytes."""
    total = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            total += outlet.write(PIECE)
    return total


def drain(reader: int) -> bytes:
    """Read what is there; a terminal gives it line by line."""
    received = b""
    while select.select([reader], [], [], 0.1)[0]:
        received += os.read(reader, 1 << 20)
    return received


@STREAMS
def test_a_reader_that_has_stopped_is_not_waited_for(make: Make, open_writer: Open) -> None:
    reader, writer = make()
    outlet = open_writer(writer)
    assert fill(outlet) > 0
    # A terminal moves what it has got on to a second buffer, in its own time.
    while select.select([], [outlet.fileno()], [], 0.1)[1]:
        fill(outlet)
    with pytest.raises(BlockingIOError):
        outlet.write(PIECE)
    drain(reader)
    select.select([], [outlet.fileno()], [], 5)
    assert fill(outlet) > 0
    outlet.close()
    os.close(reader)
    os.close(writer)


@STREAMS
def test_who_shares_the_descriptor_does_not_notice(make: Make, open_writer: Open) -> None:
    """Their writes still wait for the reader, and go on when the outlet is closed."""
    reader, writer = make()
    outlet = open_writer(writer)
    outlet.write(b"ours\n")
    assert os.get_blocking(writer)
    assert os.write(writer, b"theirs\n") == 7
    assert drain(reader).split() == [b"ours", b"theirs"]
    outlet.close()
    assert os.get_blocking(writer)
    os.close(writer)
    os.close(reader)


@pytest.mark.parametrize(
    ("make", "open_writer"),
    [(pipe, open_stdout), (pipe, open_shared), (socket_pair, open_stdout)],
    ids=["pipe", "pipe of another user", "socket"],
)
def test_a_reader_that_is_gone_is_an_error(make: Make, open_writer: Open) -> None:
    """And no signal that ends the process."""
    reader, writer = make()
    outlet = open_writer(writer)
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        outlet.write(b"line\n")
    outlet.close()
    os.close(writer)


@pytest.mark.parametrize("open_writer", [open_stdout, open_shared])
def test_pieces_in_a_pipe_are_whole(open_writer: Open) -> None:
    """What is written at once goes whole or not at all: other writers' lines stay apart."""
    reader, writer = pipe()
    outlet = open_writer(writer)
    assert outlet.at_once == select.PIPE_BUF
    os.write(writer, b"\n")
    assert fill(outlet) % len(PIECE) == 0
    outlet.close()
    os.close(reader)
    os.close(writer)


def test_a_shared_pipe_is_not_given_more_than_it_has_room_for() -> None:
    """A longer write would wait, though there is room for its beginning."""
    reader, writer = pipe()
    outlet = open_shared(writer)
    assert outlet.write(PIECE * 100) == select.PIPE_BUF
    outlet.close()
    os.close(reader)
    os.close(writer)


def test_a_redirected_standard_output_keeps_its_offset(tmp_path: Path) -> None:
    """With ``> FILE 2>&1`` both write to one open file: neither may overwrite the other."""
    path = tmp_path / "out"
    with path.open("wb", buffering=0) as shared:
        shared.write(b"1\n")
        outlet = open_stdout(shared.fileno())
        outlet.write(b"2\n")
        shared.write(b"3\n")
        outlet.write(b"4\n")
        outlet.close()
        shared.write(b"5\n")
    assert path.read_bytes() == b"1\n2\n3\n4\n5\n"


def test_a_standard_output_that_is_closed_is_an_error() -> None:
    reader, writer = pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        open_stdout(writer)


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o640), (0o027, 0o640), (0o077, 0o600)])
def test_a_new_file_is_not_for_everyone(tmp_path: Path, umask: int, mode: int) -> None:
    path = tmp_path / "access.log"
    before = os.umask(umask)
    try:
        open_file(str(path)).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    """Where its end is now, whoever else writes there or cuts it off (copytruncate)."""
    path = tmp_path / "access.log"
    path.write_bytes(b"before\n")
    outlet = open_file(str(path))
    outlet.write(b"one\n")
    with path.open("ab") as other:
        other.write(b"other\n")
    outlet.write(b"two\n")
    assert path.read_bytes() == b"before\none\nother\ntwo\n"
    os.truncate(path, 0)
    outlet.write(b"three\n")
    assert path.read_bytes() == b"three\n"
    outlet.close()


def test_a_fifo_without_a_reader_is_an_error(tmp_path: Path) -> None:
    """Who opens it in the usual way waits for ever."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
        open_file(str(path))


@pytest.mark.parametrize("kind", ["file", "pipe", "pipe of another user", "socket"])
def test_a_closed_outlet_leaves_no_descriptor(tmp_path: Path, kind: str) -> None:
    make = socket_pair if kind == "socket" else pipe
    reader, writer = make()
    before = len(os.listdir("/proc/self/fd"))
    if kind == "file":
        outlet = open_file(str(tmp_path / "access.log"))
    else:
        outlet = (open_shared if kind == "pipe of another user" else open_stdout)(writer)
    assert not os.get_inheritable(outlet.fileno())
    assert len(os.listdir("/proc/self/fd")) == before + 1
    outlet.close()
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(reader)
    os.close(writer)


@STREAMS
def test_a_log_that_nobody_reads_makes_nobody_wait(make: Make, open_writer: Open) -> None:
    reader, writer = make()
    outlet = open_writer(writer)
    log = PatientText(outlet)
    for _ in range(2000):
        assert log.write("a line that nobody reads, é\n" * 10) == 280
    log.flush()
    outlet.close()
    os.close(reader)
    os.close(writer)
