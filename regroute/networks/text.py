"""Address lists in text files: one address, CIDR or range a line, ``#`` begins a comment."""

from collections.abc import Iterator

from .spans import Span, parse_span


def parse_lines(text: str) -> Iterator[tuple[int, int, Span | ValueError]]:
    """Each entry of a list as (line, column, what it is); the numbers count from 1."""
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        column = line.index(entry[0]) + 1
        try:
            yield number, column, parse_span(entry)
        except ValueError as error:
            yield number, column, error
