"""Counts in memory that processes share: one writes, others read, and nobody waits for anybody.

A block has a row of 64-bit cells and a directory of what each of them counts. It outlives whoever
counts in it: a process that is killed leaves it whole, and the next one finds its cells there and
goes on. So what is counted never goes backwards, and is read without a word to the writer.

One writer at a time is a promise of the caller's: the next one maps a block when the last is gone.
"""

import json
import mmap
import os
from collections.abc import Iterator
from typing import NamedTuple

from twisted.logger import Logger

CELLS = 65_536
"""How many cells a block has."""
DIRECTORY = 8 * 2**20
"""How long its directory may become, in bytes. What is not written to takes no memory."""

OVERFLOW = "overflow"
"""The name of the cell that counts what there are no cells for."""

_WORD = 8  # bytes of a cell
# The words before the cells.
_LAYOUT, _SIZE, _USED = range(3)
_HEADER = 8
_VERSION = 0x7265_6772_6F75_7401

_log = Logger()


class Cell(NamedTuple):
    """One cell: what it counts, and how much it has counted."""

    name: str
    labels: tuple[str, ...]
    value: int


def new_block(cells: int = CELLS, directory: int = DIRECTORY) -> int:
    """A block for processes to share, by its descriptor; it is empty."""
    descriptor = os.memfd_create("regroute-counters")
    os.ftruncate(descriptor, _bytes_of(cells, directory))
    with mmap.mmap(descriptor, 0) as memory:
        _lay_out(memory, cells)
    return descriptor


def _bytes_of(cells: int, directory: int) -> int:
    return (_HEADER + cells) * _WORD + directory


def _lay_out(memory: mmap.mmap, cells: int) -> None:
    with memoryview(memory).cast("Q") as words:
        words[_SIZE] = cells
        words[_LAYOUT] = _VERSION


class Counters:
    """One block. `values` are its cells, for the one who counts: ``values[cell] += 1``.

    Each store is one aligned word, so that a reader sees the count before it or after it.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        """Take a block that is laid out; raises `ValueError` where it is none."""
        self._words = memoryview(memory).cast("Q")
        if self._words[_LAYOUT] != _VERSION:
            raise ValueError("this is no block of counters, or of another version of regroute")
        end = _HEADER + self._words[_SIZE]
        self.values = self._words[_HEADER:end]
        self._directory = memoryview(memory)[end * _WORD :]
        self._cells: dict[tuple[str, ...], int] = {}
        self._gauges: list[int] = []
        self._read = 0  # how much of the directory is in `_cells`, in bytes
        self._is_full = False

    @classmethod
    def private(cls, cells: int = CELLS, directory: int = DIRECTORY) -> "Counters":
        """A block of this process alone."""
        memory = mmap.mmap(-1, _bytes_of(cells, directory))
        _lay_out(memory, cells)
        return cls(memory)

    @classmethod
    def shared(cls, descriptor: int) -> "Counters":
        """A block that `new_block` has made, here or in another process; raises `ValueError`.

        The descriptor may be closed afterwards.
        """
        return cls(mmap.mmap(descriptor, 0))

    # For the one who counts.

    def cell(self, name: str, *labels: str) -> int:
        """The cell of a count; where there is no room for another one, that of the overflow."""
        return self._find(name, labels, is_gauge=False)

    def gauge(self, name: str, *labels: str) -> int:
        """The cell of something that may fall again, and that ends with the one who counts it."""
        return self._find(name, labels, is_gauge=True)

    def reset_gauges(self) -> None:
        """Set back what a writer before us has left: none of it is there any more."""
        self._catch_up()
        for cell in self._gauges:
            self.values[cell] = 0

    def _find(self, name: str, labels: tuple[str, ...], *, is_gauge: bool) -> int:
        cell = self._cells.get((name, *labels))
        if cell is not None:
            return cell
        self._catch_up()
        if not self._cells:
            self._append(OVERFLOW, (), is_gauge=False)
        if (name, *labels) not in self._cells:
            self._append(name, labels, is_gauge=is_gauge)
        return self._cells.get((name, *labels), 0)

    def _append(self, name: str, labels: tuple[str, ...], *, is_gauge: bool) -> None:
        entry = json.dumps([is_gauge, name, *labels]).encode("ascii") + b"\n"
        start = self._words[_USED]
        end = start + len(entry)
        if end > len(self._directory) or len(self._cells) == len(self.values):
            if not self._is_full:
                self._is_full = True
                _log.warn("no more room for counters: what is new counts as overflow")
            return
        self._directory[start:end] = entry
        # Now it is there. Whoever is killed before leaves bytes that the next one writes over.
        self._words[_USED] = end
        self._catch_up()

    # For everyone.

    def items(self) -> Iterator[Cell]:
        """All counts, as they are now."""
        self._catch_up()
        for (name, *labels), cell in self._cells.items():
            yield Cell(name, tuple(labels), self.values[cell])

    def _catch_up(self) -> None:
        """Read what has been added to the directory: the cells are in its order."""
        end = self._words[_USED]
        for line in bytes(self._directory[self._read : end]).splitlines(keepends=True):
            is_gauge, *key = json.loads(line)
            if is_gauge:
                self._gauges.append(len(self._cells))
            self._cells[tuple(key)] = len(self._cells)
            self._read += len(line)
