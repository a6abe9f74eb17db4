"""Lines and the files and pipes they go to: full ones, moved ones, and stuck ones."""

import errno
import os
import resource
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from regroute.logs.lines import BATCH, HELD, Lines
from regroute.logs.outlets import open_file, open_stdout

from .press import UNLIMITED, Sheet, line, on, said, start

# Disks that are full.


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """While it lasts, files end at `size`: writes are short, then they fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    """When there is room again: the file has every line, whole and once."""
    path = tmp_path / "access.log"
    press = start(lambda: open_file(str(path)))
    sent = [line(number) for number in range(100)]
    for one in sent[:50]:
        press.lines.write(one)
    with disk_of(40):
        press.clock.advance(1)
        assert path.read_bytes() == b"".join(sent)[:40]
        press.lines.reopen()
        press.lines.write(sent[50])
        press.clock.advance(1)
    assert path.read_bytes() == b"".join(sent)[:40]
    for one in sent[51:]:
        press.lines.write(one)
    press.clock.advance(1)
    assert (path.read_bytes(), press.lines.lost) == (b"".join(sent), 0)
    press.stop()


def test_a_full_disk_loses_lines_counts_them_and_says_so_once_a_minute() -> None:
    press = start(lambda: open_file("/dev/full"))
    with capturedLogs() as logged:
        for number in range(12 * 300):
            press.lines.write(line(number, 1024))
            press.clock.advance(0.05)
    held = HELD // 1024
    assert press.lines.lost == 12 * 300 - held
    assert len(logged) == 3
    assert all("cannot be written: No space left on device" in text for text in said(logged))
    with capturedLogs() as logged:
        press.stop()
    assert said(logged) == [
        "the access log cannot be written: No space left on device "
        "(lines lost so far: 3600, waiting: 0)"
    ]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EPIPE, errno.EDQUOT])
def test_an_error_is_outlived(number: int) -> None:
    """Lines wait for its end, and the next message, when it is due, tells what was lost."""
    sheet = Sheet(room=0, error=OSError(number, os.strerror(number)))
    press = on(sheet)
    with capturedLogs() as logged:
        for count in range(3):
            press.lines.write(line(count, HELD // 2))
        assert press.lines.lost == 1
        sheet.room = UNLIMITED
        press.clock.advance(61)
        press.lines.write(line(3))
        press.clock.advance(1)
        press.clock.advance(61)
        press.lines.write(line(4))
        press.clock.advance(1)
    assert sheet.text == line(0, HELD // 2) + line(1, HELD // 2) + line(3) + line(4)
    assert said(logged) == [
        f"the access log cannot be written: {os.strerror(number)} "
        "(lines lost so far: 0, waiting: 1)",
        "the access log is written again (lines lost so far: 1, waiting: 0)",
    ]


# Files that move.


def test_a_moved_file_and_its_successor_have_every_line_once(tmp_path: Path) -> None:
    path, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    press = start(lambda: open_file(str(path)))
    sent = [line(number) for number in range(3000)]
    for one in sent[:1000]:
        press.lines.write(one)
    path.rename(moved)
    for one in sent[1000:2000]:
        press.lines.write(one)
    press.lines.reopen()
    for one in sent[2000:]:
        press.lines.write(one)
    press.stop()
    assert moved.read_bytes() == b"".join(sent[:2000])
    assert path.read_bytes() == b"".join(sent[2000:])


def test_a_reopening_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    path, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    press = start(lambda: open_file(str(path)))
    path.rename(moved)
    path.mkdir()
    with capturedLogs() as logged:
        press.lines.reopen()
    assert said(logged) == [
        "cannot reopen the access log: Is a directory; the old file stays in use"
    ]
    press.lines.write(b"one\n")
    press.stop()
    assert moved.read_bytes() == b"one\n"


def test_half_a_line_does_not_go_into_the_next_file(tmp_path: Path) -> None:
    """Its beginning is in the old one: it is lost, and the lines behind it are not."""
    path, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    press = start(lambda: open_file(str(path)))
    for number in range(4):
        press.lines.write(line(number))
    with disk_of(40):
        press.clock.advance(1)
        path.rename(moved)
        press.lines.reopen()
    assert moved.read_bytes() == (line(0) + line(1) + line(2))[:40]
    assert (path.read_bytes(), press.lines.lost) == (line(3), 1)
    press.stop()


@pytest.mark.parametrize("size", [32, 40])
def test_whole_lines_go_into_the_next_file(tmp_path: Path, size: int) -> None:
    """Whether the disk was full just between two lines, or half a line has been finished since."""
    path, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    press = start(lambda: open_file(str(path)))
    sent = [line(number) for number in range(6)]
    for one in sent[:3]:
        press.lines.write(one)
    with disk_of(size):
        press.clock.advance(1)
    with disk_of(48 if size == 40 else 32):
        press.clock.advance(1)
        for one in sent[3:]:
            press.lines.write(one)
        press.clock.advance(1)
        path.rename(moved)
        press.lines.reopen()
    press.stop()
    assert moved.read_bytes() + path.read_bytes() == b"".join(sent)
    assert press.lines.lost == 0


def test_reopening_is_harmless_when_it_does_not_run(tmp_path: Path) -> None:
    lines = Lines(lambda: open_file(str(tmp_path / "log")), "the access log", Clock())
    lines.reopen()
    assert list(tmp_path.iterdir()) == []


# A reader of ours that shares its pipe with the daemon's own log.


def test_a_stuck_pipe_is_not_complained_about_into_itself() -> None:
    """With ``2>&1`` the message would wait for the reader, and the daemon for the message."""
    reader, writer = os.pipe()
    press = start(lambda: open_stdout(writer))
    stderr = os.dup(2)
    os.dup2(writer, 2)
    try:
        with capturedLogs() as logged:
            for number in range(20):
                press.lines.write(line(number, BATCH + 1))
                press.clock.advance(1)
            assert press.lines.lost > 0
            assert said(logged) == []
            while select.select([reader], [], [], 0)[0]:
                os.read(reader, BATCH)
                press.clock.advance(1)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    assert said(logged) == [
        f"the access log is written again (lines lost so far: {press.lines.lost}, waiting: 0)"
    ]
    press.stop()
    os.close(reader)
    os.close(writer)


def test_a_stuck_pipe_is_told_of_elsewhere() -> None:
    reader, writer = os.pipe()
    press = start(lambda: open_stdout(writer))
    with capturedLogs() as logged:
        for number in range(40):
            press.lines.write(line(number, BATCH + 1))
            press.clock.advance(1)
    assert [text.partition(" (")[0] for text in said(logged)] == [
        "the access log cannot be written: nobody reads it"
    ]
    os.close(reader)
    os.close(writer)
    press.stop()
