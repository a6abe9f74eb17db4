"""What a reload changes, in a few lines of the daemon's own log."""

from collections.abc import Iterator
from itertools import islice

from ..check import Checked
from ..config.faults import one_line
from .partition import cuts
from .report import shape_text
from .space import Compared, SpaceMove, compare

# So that all of it takes some seconds at the most, a few milliseconds at a time.
_MOST_CUTS = 500_000
_MOST_DECISIONS = 100_000
MOST_STEPS = 50_000
_MOVES_TOLD = 5
_RANGES_TOLD = 3
_TOO_MUCH = "too much to compare at a reload: regroute diff tells which requests move"


def summarise_moves(
    old: Checked, new: Checked, most_steps: int = MOST_STEPS
) -> Iterator[str | None]:
    """Compare two configurations in small steps: None after each, and a few lines at the end.

    `twisted.internet.task.cooperate` can run it between requests. What is too much work is given
    up, with a line that says so.
    """
    if cuts(old.rules, new.rules) > _MOST_CUTS:
        yield _TOO_MUCH
        return
    work = compare(old.rules, new.rules, _MOST_DECISIONS)
    for _ in range(most_steps):
        try:
            next(work)
        except StopIteration as stop:
            yield from _told(stop.value)
            return
        yield None
    yield _TOO_MUCH


def _told(compared: Compared) -> Iterator[str]:
    """The moves of most shapes, a line each."""
    of = "" if not compared.left_out else " of those that were compared"
    if not compared.moves:
        yield f"no path shape moves{of}"
        return
    verb = "shape moves" if compared.moving == 1 else "shapes move"
    yield f"{compared.moving:,} path {verb}{of}"
    for move in compared.moves[:_MOVES_TOLD]:
        yield _line(compared, move)
    if len(compared.moves) > _MOVES_TOLD:
        yield f"and {len(compared.moves) - _MOVES_TOLD:,} more moves: regroute diff tells them all"


def _line(compared: Compared, move: SpaceMove) -> str:
    spans = list(islice(compared.partition.spans(move.kinds), _RANGES_TOLD + 1))
    ranges = ", ".join(span.shortest for span in spans[:_RANGES_TOLD])
    more = " and more" if len(spans) > _RANGES_TOLD else ""
    shapes = shape_text(move.shapes[0])
    if len(move.shapes) > 1:
        shapes += f" (and {len(move.shapes) - 1:,} more)"
    return one_line(f"{ranges}{more} for {shapes}: from {move.before} to {move.after}")
