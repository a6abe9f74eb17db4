"""Which rules can never decide, because an earlier rule holds wherever they do.

Comparing every rule with every earlier one takes seconds for some thousand rules, and a reload
waits for it. So each rule is filed under texts of one of its conditions, such that every rule that
it covers leads to one of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from .conditions import ClientIn, Condition, Like, OneOf
from .networks.table import AddressTable
from .rules import Rule


def unreachable(rules: Iterable[Rule], networks: AddressTable) -> Iterator[tuple[Rule, Rule]]:
    """Each rule that nothing can reach, with the first rule that covers it.

    `networks` has all sets of addresses that the rules name.
    """
    filed: dict[tuple[str, str], list[Rule]] = defaultdict(list)
    for rule in rules:
        near = {
            earlier.position: earlier
            for place in _leads(rule, networks)
            for earlier in filed.get(place, ())
        }
        for _, earlier in sorted(near.items()):
            if earlier.conditions.covers(rule.conditions):
                yield rule, earlier
                break
        for place in _places(rule):
            filed[place].append(rule)


_ANYWHERE = ("", "")


def _places(rule: Rule) -> Iterator[tuple[str, str]]:
    """Where a rule is filed: under its most telling condition, if that has texts."""
    for key, condition in rule.conditions.telling:
        match condition:
            case ClientIn(names=texts) | OneOf(values=texts):
                yield from ((key, text) for text in texts)
                return
            case Like(patterns=patterns):
                yield from {(key, pattern.stem) for pattern in patterns}
                return
    yield _ANYWHERE


def _leads(rule: Rule, networks: AddressTable) -> Iterator[tuple[str, str]]:
    """Where every rule is filed that may cover this one."""
    yield _ANYWHERE
    for key, condition in rule.conditions.by_key.items():
        for text in _texts(condition, networks):
            yield key, text


def _texts(condition: Condition, networks: AddressTable) -> Iterable[str]:
    match condition:
        case ClientIn(ranges=ranges) if ranges.spans:
            # Whoever covers all of it has its first address.
            first = ranges.spans[0]
            kind = IPv4Address if first.version == 4 else IPv6Address
            return networks.lookup(kind(first.first))
        case OneOf(values=values):
            return [min(values)]
        case Like(patterns=patterns):
            # A pattern covers another only if it begins as the other does, up to a wildcard.
            stem = patterns[0].stem
            return [stem[:length] for length in range(len(stem) + 1)]
    return ()
