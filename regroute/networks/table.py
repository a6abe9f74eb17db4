"""From an address to the names of all sets that hold it, in one binary search.

Overlapping sets flatten into one sorted array of interval starts a family; each interval carries
the frozen set of names that hold there. Equal sets are one object, so that millions of prefixes
under a few names cost two words an interval.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from .ranges import Ranges
from .spans import Address

_NOWHERE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class AddressTable:
    """For each family, interval starts (the first is 0) and the names that hold from each on."""

    starts: Mapping[int, tuple[int, ...]]
    names: Mapping[int, tuple[frozenset[str], ...]]

    @classmethod
    def of(cls, sets: Mapping[str, Ranges]) -> "AddressTable":
        """Flatten named sets of addresses."""
        starts: dict[int, tuple[int, ...]] = {}
        names: dict[int, tuple[frozenset[str], ...]] = {}
        for version in (4, 6):
            starts[version], names[version] = _flatten(sets, version)
        return cls(starts, names)

    def lookup(self, address: Address) -> frozenset[str]:
        """The names of the sets that hold `address`, which is not an IPv4-mapped one."""
        version = address.version
        return self.names[version][bisect_right(self.starts[version], int(address)) - 1]


def _flatten(
    sets: Mapping[str, Ranges], version: int
) -> tuple[tuple[int, ...], tuple[frozenset[str], ...]]:
    edges: dict[int, tuple[set[str], set[str]]] = {}
    for name, ranges in sets.items():
        for span in ranges.spans:
            if span.version == version:
                edges.setdefault(span.first, (set(), set()))[0].add(name)
                edges.setdefault(span.last + 1, (set(), set()))[1].add(name)
    starts = [0]
    holding: set[str] = set()
    interned = {_NOWHERE: _NOWHERE}
    names = [_NOWHERE]
    for start in sorted(edges):
        opened, closed = edges[start]
        holding = (holding - closed) | opened
        here = frozenset(holding)
        here = interned.setdefault(here, here)
        if start == starts[-1]:
            names[-1] = here
        elif here is not names[-1]:
            starts.append(start)
            names.append(here)
    return tuple(starts), tuple(names)
