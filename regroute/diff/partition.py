"""The address space, cut where the conditions of two rule sets on clients begin or end to hold.

There may be a million cuts, but addresses for which the same conditions hold, whatever their
networks, are of one class, and there are few classes.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from typing import Literal, NamedTuple

from ..conditions import ClientIn, Conditions, Not
from ..networks.spans import Span
from ..rules import RuleSet
from .steps import Steps

_BITS: Mapping[Literal[4, 6], int] = {4: 32, 6: 128}
_A_STEP = 1000  # cuts


class Networks(NamedTuple):
    """The sets of addresses that hold a client, under the old rules and under the new ones."""

    old: frozenset[str]
    new: frozenset[str]


@dataclass(frozen=True)
class Partition:
    """For each family, interval starts (the first is 0) and the class from each on.

    `classes` has an example of each class: networks for which the same conditions hold.
    """

    starts: Mapping[Literal[4, 6], list[int]]
    kinds: Mapping[Literal[4, 6], list[int]]
    classes: tuple[Networks, ...]

    def spans(self, kinds: Collection[int]) -> Iterator[Span]:
        """The addresses of some classes in order, neighbours as one."""
        for version, bits in _BITS.items():
            first = None
            for start, kind in zip(self.starts[version], self.kinds[version], strict=True):
                if kind in kinds:
                    first = start if first is None else first
                elif first is not None:
                    yield Span(version, first, start - 1)
                    first = None
            if first is not None:
                yield Span(version, first, 2**bits - 1)


def cuts(old: RuleSet, new: RuleSet) -> int:
    """How many cuts there are at the most, before any work is done."""
    return sum(len(starts) for rules in (old, new) for starts in rules.networks.starts.values())


def partition(old: RuleSet, new: RuleSet) -> Steps[Partition]:
    """Cut the address space where either rule set does."""
    numbers: dict[tuple[int, int], int] = {}
    classes: list[Networks] = []
    starts: dict[Literal[4, 6], list[int]] = {}
    kinds: dict[Literal[4, 6], list[int]] = {}
    ours, theirs = _mark(old), _mark(new)
    for version, bits in _BITS.items():
        starts[version], kinds[version] = [], []
        for count, (start, networks) in enumerate(_intervals(old, new, version)):
            if start >> bits:
                # A set that has the last address ends beyond it.
                break
            marks = ours(networks.old), theirs(networks.new)
            kind = numbers.setdefault(marks, len(classes))
            if kind == len(classes):
                classes.append(networks)
            if not kinds[version] or kinds[version][-1] != kind:
                starts[version].append(start)
                kinds[version].append(kind)
            if count % _A_STEP == 0:
                yield
    return Partition(starts, kinds, tuple(classes))


def _intervals(
    old: RuleSet, new: RuleSet, version: Literal[4, 6]
) -> Iterator[tuple[int, Networks]]:
    """Each start in either table, with the networks from there on."""
    ours, theirs = old.networks.starts[version], new.networks.starts[version]
    names = old.networks.names[version], new.networks.names[version]
    left = right = 0
    for start in merge(ours, theirs):
        # Both tables begin at 0; a start that both have comes twice, at no harm.
        if left + 1 < len(ours) and ours[left + 1] <= start:
            left += 1
        if right + 1 < len(theirs) and theirs[right + 1] <= start:
            right += 1
        yield start, Networks(names[0][left], names[1][right])


def _mark(rules: RuleSet) -> Callable[[frozenset[str]], int]:
    """The function that tells, as bits, which conditions on clients hold within some networks."""
    conditions = dict.fromkeys(
        names for rule in rules.rules for names in _client_names(rule.conditions)
    )
    bits: dict[str, int] = {}
    for number, names in enumerate(conditions):
        for name in names:
            bits[name] = bits.get(name, 0) | 1 << number
    known: dict[frozenset[str], int] = {}

    def mark(networks: frozenset[str]) -> int:
        found = known.get(networks)
        if found is None:
            found = 0
            for name in networks:
                found |= bits.get(name, 0)
            known[networks] = found
        return found

    return mark


def _client_names(conditions: Conditions) -> Iterator[frozenset[str]]:
    for condition in conditions.by_key.values():
        if isinstance(condition, ClientIn):
            yield condition.names
        elif isinstance(condition, Not):
            yield from _client_names(condition.inner)
