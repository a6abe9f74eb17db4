"""Faults in a configuration: what is wrong, where, and what to write instead."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, order=True)
class Fault:
    """One fault. `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {one_line(self.message)}"


_LONGEST = 400


def one_line(text: str) -> str:
    """A message as it may stand in a terminal or a log, whatever the file had in it."""
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text[: _LONGEST + 1]
    )
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


class Faulty(Exception):
    """A configuration that must not take force, with every fault that was found in it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(set(faults)))
        super().__init__("\n".join(map(str, self.faults)))


def suggest(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the one that was meant, or all there are."""
    words = sorted(known)
    if near := get_close_matches(word, words, n=1, cutoff=0.6):
        return f": did you mean '{near[0]}'?"
    if not words:
        return ""
    return ": known here " + ("are " if len(words) > 1 else "is ") + ", ".join(words)
