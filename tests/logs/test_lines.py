"""Lines on their way to a file: in batches, in order, whole, and never in anybody's way."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.application.service import IService
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from regroute.logs.lines import (
    BATCH,
    FLUSH_TIME,
    HELD,
    RETRY_TIME,
    STOP_TIME,
    Lines,
    LineSink,
    NoLines,
)
from regroute.logs.outlets import open_file

from .press import UNLIMITED, Press, Sheet, line, on, said, start

# When.


def test_a_line_is_written_within_a_second() -> None:
    """Together with those that came after it in the meantime."""
    sheet = Sheet()
    press = on(sheet)
    press.lines.write(b"one\n")
    press.clock.advance(FLUSH_TIME / 2)
    press.lines.write(b"two\n")
    assert sheet.writes == []
    press.clock.advance(1 - FLUSH_TIME / 2)
    assert sheet.writes == [b"one\ntwo\n"]
    press.lines.write(b"three\n")
    press.clock.advance(1)
    assert sheet.writes == [b"one\ntwo\n", b"three\n"]


def test_without_lines_nothing_is_due() -> None:
    """An idle daemon is not woken up."""
    press = on(Sheet())
    assert press.clock.getDelayedCalls() == []
    press.lines.write(b"one\n")
    assert len(press.clock.getDelayedCalls()) == 1
    press.clock.advance(1)
    assert press.clock.getDelayedCalls() == []


def test_a_full_batch_is_written_at_once() -> None:
    sheet = Sheet()
    press = on(sheet)
    written = b""
    while not sheet.writes:
        assert len(written) <= BATCH
        written += line(0, 1000)
        press.lines.write(line(0, 1000))
    assert sheet.writes == [written]
    press.lines.write(b"the next\n")
    assert sheet.writes == [written], "and the next one is begun"


def test_a_stop_writes_what_is_left_and_closes() -> None:
    sheet = Sheet()
    press = on(sheet)
    press.lines.write(b"one\n")
    press.lines.stopService()
    assert (sheet.writes, sheet.is_closed, press.lines.lost) == ([b"one\n"], True, 0)
    assert press.clock.getDelayedCalls() == []


def test_lines_out_of_time_are_lost_and_counted() -> None:
    """Before the start and after the stop nobody would ever write them."""
    sheet = Sheet()
    clock = Clock()
    lines = Lines(lambda: sheet, "the access log", clock)
    lines.write(b"too early\n")
    lines.startService()
    lines.write(b"one\n")
    Press(lines, clock).stop()
    lines.write(b"too late\n")
    assert (sheet.text, lines.lost, clock.getDelayedCalls()) == (b"one\n", 2, [])


def test_it_can_run_again() -> None:
    sheets: list[Sheet] = []

    def open_next() -> Sheet:
        sheets.append(Sheet())
        return sheets[-1]

    press = start(open_next)
    press.lines.write(b"one\n")
    press.stop()
    press.lines.startService()
    press.lines.write(b"two\n")
    press.stop()
    assert [sheet.text for sheet in sheets] == [b"one\n", b"two\n"]


def test_what_has_been_opened_before_the_start_is_not_opened_again() -> None:
    """A reload opens first and swaps then, so that a fault changes nothing."""
    opened: list[Sheet] = []

    def open_next() -> Sheet:
        opened.append(Sheet())
        return opened[-1]

    lines = Lines(open_next, "the access log", Clock())
    lines.open()
    lines.startService()
    assert len(opened) == 1


def test_a_file_that_cannot_be_opened_ends_the_start(tmp_path: Path) -> None:
    lines = Lines(lambda: open_file(str(tmp_path / "no" / "log")), "the access log", Clock())
    with pytest.raises(OSError, match="No such file"):
        lines.open()
    with capturedLogs() as logged, pytest.raises(SystemExit) as ending:
        lines.startService()
    message = "regroute: cannot open the access log: No such file or directory"
    assert (str(ending.value), said(logged)) == (message, [message])


def test_where_none_are_kept_none_are_lost() -> None:
    nothing = NoLines()
    sinks: list[LineSink] = [nothing, on(Sheet()).lines]
    for sink in sinks:
        sink.open()
        sink.write(b"one\n")
        sink.flush()
        sink.reopen()
        assert sink.lost == 0
    assert IService.providedBy(nothing)


# Readers that are behind.


def test_a_reader_that_is_behind_gets_every_line() -> None:
    """It is tried again soon, and nothing is said about it."""
    sheet = Sheet(at_once=64)
    press = on(sheet)
    sent = [line(number) for number in range(100)]
    with capturedLogs() as logged:
        for one in sent:
            press.lines.write(one)
        sheet.room = 40
        press.clock.advance(FLUSH_TIME)
        assert len(sheet.text) == 40
        sheet.room = 1000
        press.clock.advance(RETRY_TIME)
        assert len(sheet.text) == 1040
        sheet.room = UNLIMITED
        press.clock.advance(RETRY_TIME)
    assert sheet.text == b"".join(sent)
    assert (press.lines.lost, said(logged)) == (0, [])


def test_a_batch_that_finds_no_room_is_tried_again_soon() -> None:
    """It is a fast daemon that fills a pipe before its reader's turn comes."""
    sheet = Sheet(room=0)
    press = on(sheet)
    press.lines.write(line(1))
    press.lines.write(line(2, BATCH))
    sheet.room = UNLIMITED
    press.clock.advance(RETRY_TIME)
    assert sheet.writes == [line(1) + line(2, BATCH)]


def test_an_outlet_that_takes_nothing_is_full() -> None:
    """Asking again and again would never end."""

    class Idle(Sheet):
        def write(self, data: bytes) -> int:
            return 0

    press = on(Idle())
    press.lines.write(b"one\n")
    press.clock.advance(1)
    press.stop()
    assert press.lines.lost == 1


def test_streams_get_whole_lines_in_pieces() -> None:
    """No piece is longer than the outlet takes at once, but where a single line is."""
    sheet = Sheet(at_once=32)
    press = on(sheet)
    for one in (line(1), line(2), line(3), line(4, 100), line(5), line(6, 40), line(7)):
        press.lines.write(one)
    press.lines.flush()
    assert sheet.writes == [
        line(1) + line(2),
        line(3),
        line(4, 100),
        line(5),
        line(6, 40),
        line(7),
    ]


@given(st.lists(st.integers(10_000, 300_000), min_size=1, max_size=30))
def test_what_is_held_is_bounded(sizes: list[int]) -> None:
    """While nothing can be written, exactly the lines that have no room are lost."""
    sheet = Sheet(room=0)
    press = on(sheet)
    kept: list[bytes] = []
    for number, size in enumerate(sizes):
        press.lines.write(line(number, size))
        if sum(map(len, kept)) + size <= HELD:
            kept.append(line(number, size))
        press.clock.advance(0.01)
    assert press.lines.lost == len(sizes) - len(kept)
    sheet.room = UNLIMITED
    press.clock.advance(1)
    assert sheet.text == b"".join(kept)


def test_a_stuck_reader_costs_a_call_for_a_batch_and_not_for_a_line() -> None:
    tries = 0

    class Stuck(Sheet):
        def write(self, data: bytes) -> int:
            nonlocal tries
            tries += 1
            raise BlockingIOError

    press = on(Stuck())
    for number in range(100_000):
        press.lines.write(line(number, 100))
    assert tries <= HELD / BATCH + 1
    assert press.lines.lost == 100_000 - HELD // 100


def test_at_the_end_a_reader_that_is_behind_gets_a_moment() -> None:
    sheet = Sheet(room=0)
    press = on(sheet)
    press.lines.write(b"one\n")
    stopped: list[object] = []
    press.lines.stopService().addBoth(stopped.append)
    press.clock.advance(STOP_TIME / 2)
    assert stopped == []
    sheet.room = UNLIMITED
    press.clock.advance(RETRY_TIME)
    assert (stopped, sheet.text, press.lines.lost) == ([None], b"one\n", 0)


def test_at_the_end_a_stuck_reader_is_given_up() -> None:
    press = on(Sheet(room=10))
    press.lines.write(line(1))
    press.lines.write(line(2))
    with capturedLogs() as logged:
        press.stop()
    assert press.lines.lost == 2
    assert said(logged) == [
        "the access log cannot be written: nobody reads it (lines lost so far: 2, waiting: 0)"
    ]


# Whatever happens.

_Step = tuple[str, int]
_STEPS: st.SearchStrategy[list[_Step]] = st.lists(
    st.tuples(st.just("line"), st.integers(16, 100_000))
    | st.tuples(st.just("room"), st.sampled_from([0, 1, 20, 5_000, 70_000, UNLIMITED]))
    | st.tuples(st.just("error"), st.sampled_from([errno.EAGAIN, errno.ENOSPC]))
    | st.tuples(st.just("wait"), st.sampled_from([0, 1, 10, 20, 1200]))
    | st.tuples(st.just("reopen"), st.just(0)),
    max_size=60,
)


@given(_STEPS, st.sampled_from([4096, UNLIMITED]))
def test_lines_are_whole_in_order_and_all_accounted_for(steps: list[_Step], at_once: int) -> None:
    """Each is in one file, or counted as lost; a file may end, but not go on, within a line."""
    sheets: list[Sheet] = []

    def open_next() -> Sheet:
        sheets.append(Sheet(at_once))
        return sheets[-1]

    press = start(open_next)
    sent: list[bytes] = []
    for step, number in steps:
        match step:
            case "line":
                sent.append(line(len(sent), number))
                press.lines.write(sent[-1])
            case "room":
                sheets[-1].room = number
            case "error":
                sheets[-1].error = OSError(number, os.strerror(number))
            case "wait":
                press.clock.advance(number * RETRY_TIME)
            case "reopen":
                press.lines.reopen()
    press.stop()
    found = [one for sheet in sheets for one in sheet.text.splitlines(keepends=True)]
    whole = [one for one in found if one.endswith(b"\n")]
    assert [one for one in sent if one in set(whole)] == whole
    assert len(whole) + press.lines.lost == len(sent)
    assert all(sheet.is_closed for sheet in sheets)
