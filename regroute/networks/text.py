"""Address lists in text files: one address, CIDR or range a line, ``#`` begins a comment."""

import re
from collections.abc import Iterator

from .spans import Span, parse_span


def parse_lines(text: str) -> Iterator[tuple[int, int, Span | ValueError]]:
    """Each entry of a list as (line, column, what it is); the numbers count from 1."""
    # Not `splitlines`, which ends a line, and so a comment, at more characters than editors do.
    for number, line in enumerate(re.split("\r\n?|\n", text.removeprefix("\ufeff")), 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        column = line.index(entry[0]) + 1
        try:
            yield number, column, parse_span(entry)
        except ValueError as error:
            yield number, column, error
