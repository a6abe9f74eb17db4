"""Two rule sets compared over the whole address space, for each shape of request.

Exact over addresses: for each shape, an address is in a move's ranges if and only if its clients
get another answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..networks.spans import Span
from ..query import Query
from ..rules import Decision, RuleSet
from .partition import Networks, Partition, partition
from .shapes import Shape, find_shapes
from .steps import Steps
from .verdicts import Sources, Verdict, is_same_answer, outcome_of, source_of

MOST_DECISIONS = 1_000_000
"""How many pairs of decisions are worth half a minute."""

_LEAST_SHAPES = 100  # are looked at, however many classes of addresses there are
_A_STEP = 8  # pairs of decisions


@dataclass(frozen=True)
class SpaceMove:
    """Shapes whose answers change for the same addresses, from one verdict to another.

    `locations` are those of the first shape, before and after.
    """

    before: Verdict
    after: Verdict
    shapes: tuple[Shape, ...]
    kinds: frozenset[int]
    locations: tuple[str | None, str | None]


@dataclass(frozen=True)
class Compared:
    """What came of a comparison. `left_out` combinations of conditions have no shape in it."""

    shapes: int
    left_out: int
    moving: int
    moves: tuple[SpaceMove, ...]
    partition: Partition

    def ranges(self, move: SpaceMove) -> list[Span]:
        """The addresses that a move concerns, in order, neighbours as one."""
        return list(self.partition.spans(move.kinds))


def compare(old: RuleSet, new: RuleSet, most: int = MOST_DECISIONS) -> Steps[Compared]:
    """Compare two rule sets, by some `most` pairs of decisions."""
    cut = yield from partition(old, new)
    affordable = max(most // len(cut.classes), _LEAST_SHAPES)
    found = yield from find_shapes((*old.rules, *new.rules), affordable)
    changes = _Changes(old, new)
    for place, shape in enumerate(found.shapes):
        changes.queries.append(shape.query())
        if place % _A_STEP == 0:
            yield
    # Rule sets remember for some networks which rules may concern them.
    for kind, networks in enumerate(cut.classes):
        for place in range(len(found.shapes)):
            changes.look(place, kind, networks)
            if place % _A_STEP == 0:
                yield
    moves = tuple(changes.moves(found.shapes, cut.classes))
    moving = len({shape for move in moves for shape in move.shapes})
    return Compared(len(found.shapes), found.left_out, moving, moves, cut)


class _Changes:
    """What has been found to change: by where the answers come from, shape and class."""

    def __init__(self, old: RuleSet, new: RuleSet) -> None:
        self.queries: list[Query] = []
        self._old = old
        self._new = new
        self._found: dict[Sources, dict[int, list[int]]] = {}

    def look(self, place: int, kind: int, networks: Networks) -> None:
        """Compare the answers to one shape, for the clients of one class."""
        old, new = self._decide(place, networks)
        if not is_same_answer(old, new):
            places = self._found.setdefault((source_of(old), source_of(new)), {})
            places.setdefault(place, []).append(kind)

    def _decide(self, place: int, networks: Networks) -> tuple[Decision, Decision]:
        query = self.queries[place]
        return self._old.decide_in(query, networks.old), self._new.decide_in(query, networks.new)

    def moves(self, shapes: Sequence[Shape], classes: Sequence[Networks]) -> Iterator[SpaceMove]:
        """The moves, those of most shapes first."""
        alike: dict[tuple[Sources, tuple[int, ...]], list[int]] = {}
        for sources, places in self._found.items():
            for place, kinds in places.items():
                alike.setdefault((sources, tuple(kinds)), []).append(place)
        for (_, same), chosen in sorted(alike.items(), key=lambda entry: -len(entry[1])):
            old, new = map(outcome_of, self._decide(chosen[0], classes[same[0]]))
            yield SpaceMove(
                before=old.verdict,
                after=new.verdict,
                shapes=tuple(shapes[place] for place in chosen),
                kinds=frozenset(same),
                locations=(old.location, new.location),
            )
