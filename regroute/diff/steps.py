"""Work in small steps, so that a daemon can do it between its requests.

Between two steps a generator gives control back; what it returns is the result.
"""

from collections.abc import Generator
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")

Steps: TypeAlias = Generator[None, None, _T]


def finish(work: Steps[_T]) -> _T:
    """Do all of some work at once."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: _T = stop.value
            return result
