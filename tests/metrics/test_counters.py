"""Blocks of counters: what one process counts and others read, whoever is killed in between."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs

from regroute.metrics.counters import CELLS, DIRECTORY, OVERFLOW, Cell, Counters, new_block

from ..logs.press import said

HEADER = 64
"""The bytes of a block that say how much of it counts: they are written last."""
PATIENCE = 30.0
"""How long another process may take to count a little, in seconds."""


@contextmanager
def block(cells: int = 64, directory: int = 4096) -> Iterator[int]:
    """A block to share, by its descriptor."""
    descriptor = new_block(cells, directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def values(counters: Counters) -> dict[tuple[str, ...], int]:
    """All counts but the overflow, which is there from the first one on."""
    return {
        (count.name, *count.labels): count.value
        for count in counters.items()
        if count.name != OVERFLOW
    }


def add(counters: Counters, times: int, name: str, *labels: str) -> None:
    """Count something."""
    counters.values[counters.cell(name, *labels)] += times


def test_a_new_block_counts_nothing() -> None:
    assert list(Counters.private().items()) == []


def test_a_count_is_told_by_its_name_and_labels() -> None:
    counters = Counters.private()
    add(counters, 2, "requests", "office", "302")
    add(counters, 1, "requests", "office", "404")
    add(counters, 3, "requests", "office", "302")
    add(counters, 1, "lines")
    assert list(counters.items()) == [
        Cell(OVERFLOW, (), 0),
        Cell("requests", ("office", "302"), 5),
        Cell("requests", ("office", "404"), 1),
        Cell("lines", (), 1),
    ]


def test_a_cell_is_found_again_wherever_it_is_asked_for() -> None:
    with block() as descriptor:
        one = Counters.shared(descriptor)
        cells = [one.cell("a"), one.cell("a", ""), one.cell("a", "b"), one.gauge("a", "b", "c")]
        assert len(set(cells)) == 4
        for counters in (one, Counters.shared(descriptor)):
            assert cells == [counters.cell("a", *labels) for labels in ([], [""], "b", "bc")]


def test_a_block_outlives_its_descriptor() -> None:
    with block() as descriptor:
        reader, writer = Counters.shared(descriptor), Counters.shared(descriptor)
    add(writer, 7, "a")
    assert values(reader) == {("a",): 7}


def test_the_largest_count_is_one_of_64_bits() -> None:
    counters = Counters.private()
    add(counters, 2**64 - 1, "a")
    assert values(counters) == {("a",): 2**64 - 1}


@pytest.mark.parametrize("content", [b"x" * 4096, bytes(4096)], ids=["garbage", "zeros"])
def test_what_is_no_block_is_refused(content: bytes) -> None:
    descriptor = os.memfd_create("none")
    try:
        os.write(descriptor, content)
        with pytest.raises(ValueError, match="no block of counters"):
            Counters.shared(descriptor)
    finally:
        os.close(descriptor)


def test_a_block_takes_the_memory_that_it_uses_and_no_more() -> None:
    descriptor = new_block()
    try:
        add(Counters.shared(descriptor), 1, "a")
        status = os.fstat(descriptor)
        assert status.st_size > 8 * CELLS + DIRECTORY
        assert status.st_blocks * 512 < 64 * 1024
    finally:
        os.close(descriptor)


# Fullness.


@pytest.mark.parametrize(("cells", "directory"), [(4, 4096), (64, 72)], ids=["cells", "directory"])
def test_what_there_is_no_room_for_counts_as_overflow(cells: int, directory: int) -> None:
    counters = Counters.private(cells, directory)
    with capturedLogs() as logged:
        for number in range(10):
            add(counters, number, f"n{number}")
        add(counters, 1, "n0")
        add(counters, 1, "n9")
    assert values(counters) == {("n0",): 1, ("n1",): 1, ("n2",): 2}
    assert next(counters.items()) == Cell(OVERFLOW, (), sum(range(3, 10)) + 1)
    assert said(logged) == ["no more room for counters: what is new counts as overflow"]


# The twin: a dictionary.

NAMES = st.sampled_from(["a", "b", "c"])
LABELS = st.lists(st.sampled_from(["", "x", "\u20ac\n", '"\\', "y" * 30]), max_size=2)
STEPS = st.one_of(
    st.tuples(st.just("count"), NAMES, LABELS, st.integers(1, 5)),
    st.tuples(st.just("set"), st.just("gauge"), LABELS, st.integers(0, 5)),
    st.tuples(st.just("die"), NAMES, LABELS, st.integers(0, 200)),
)


def cut_append(descriptor: int, counters: Counters, cut: int, name: str, *labels: str) -> None:
    """Leave a block as a writer does that is killed while it adds a cell, `cut` bytes into it."""
    before = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    counters.cell(name, *labels)
    after = os.pread(descriptor, len(before), 0)
    entry = [at for at in range(HEADER, len(before)) if before[at] != after[at]]
    if cut >= len(entry):
        return
    for at in range(len(before)):
        if before[at] != after[at] and at not in entry[:cut]:
            os.pwrite(descriptor, before[at : at + 1], at)


@given(st.lists(STEPS, max_size=20))
def test_it_is_a_dictionary_whoever_dies(steps: list[tuple[str, str, list[str], int]]) -> None:
    with block() as descriptor:
        twin: dict[tuple[str, ...], int] = {}
        reader, writer = Counters.shared(descriptor), Counters.shared(descriptor)
        for step, name, labels, number in steps:
            match step:
                case "count":
                    add(writer, number, name, *labels)
                    twin[name, *labels] = twin.get((name, *labels), 0) + number
                case "set":
                    writer.values[writer.gauge(name, *labels)] = number
                    twin[name, *labels] = number
                case _:
                    cut_append(descriptor, writer, number, name, *labels)
                    writer = Counters.shared(descriptor)
                    writer.reset_gauges()
                    twin = {key: 0 if key[0] == "gauge" else value for key, value in twin.items()}
            seen = values(reader)
            assert {key: value for key, value in seen.items() if value} == {
                key: value for key, value in twin.items() if value
            }
            assert seen == values(writer) == values(Counters.shared(descriptor))


# Real processes.

COUNTING = """
import sys
from regroute.metrics.counters import Counters
counters = Counters.shared(int(sys.argv[1]))
counters.reset_gauges()
counters.values[counters.gauge("open")] = 1
begun = sum(count.name == "n" for count in counters.items())
for number in range(begun, 1_000_000):
    counters.values[counters.cell("n", str(number))] += 1
    counters.values[counters.cell("total")] += 1
"""


def test_a_writer_that_is_killed_leaves_all_it_has_counted_to_the_next_one() -> None:
    with block(1_100_000, 32 * 2**20) as descriptor:
        reader = Counters.shared(descriptor)
        before: dict[tuple[str, ...], int] = {}
        for life in range(1, 4):
            command = [sys.executable, "-c", COUNTING, str(descriptor)]
            writer = subprocess.Popen(command, pass_fds=[descriptor])
            try:
                deadline = time.monotonic() + PATIENCE
                while len(seen := values(reader)) < len(before) + 100:
                    assert all(seen[key] >= before[key] for key in before)
                    assert time.monotonic() < deadline
            finally:
                writer.send_signal(signal.SIGKILL)
                writer.wait()
            after = values(reader)
            numbers = [int(key[1]) for key in after if key[0] == "n"]
            assert numbers == list(range(len(numbers)))
            # Each was killed between two counts, at the most.
            counted = sum(value for (name, *_), value in after.items() if name == "n")
            assert len(numbers) - life <= counted <= len(numbers)
            assert counted - life <= after["total",] <= counted
            assert after["open",] == 1
            before = {key: value for key, value in after.items() if key != ("open",)}
