"""The conditions of a rule, compiled: whether they hold, and whether they cover other ones.

`covers` is for finding rules that nothing can reach. It never says yes wrongly; it may say no about
two conditions of which one does cover the other in a roundabout way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from .networks.ranges import EVERYWHERE, Ranges
from .oci import Kind
from .pattern import Pattern
from .query import Query


class Condition(Protocol):
    """One condition under one key of a rule."""

    def holds(self, query: Query, networks: frozenset[str]) -> bool:
        """Whether it holds for `query`, whose client is in the sets named by `networks`."""

    def covers(self, other: "Condition") -> bool:
        """Whether it holds wherever `other`, under the same key, does."""

    @property
    def is_universal(self) -> bool:
        """Whether it holds for every request."""


@dataclass(frozen=True)
class ClientIn:
    """The client's address is in one of the sets of addresses with these names."""

    names: frozenset[str]
    ranges: Ranges

    def holds(self, query: Query, networks: frozenset[str]) -> bool:
        return not self.names.isdisjoint(networks)

    def covers(self, other: Condition) -> bool:
        # An empty set is covered by nothing: it is a list that is still to be filled.
        return (
            isinstance(other, ClientIn)
            and bool(other.ranges.spans)
            and self.ranges.contains(other.ranges)
        )

    @property
    def is_universal(self) -> bool:
        return self.ranges.contains(EVERYWHERE)


@dataclass(frozen=True)
class OneOf:
    """A part of the request, named as in `Query`, is one of these values."""

    part: str
    values: frozenset[str]

    def holds(self, query: Query, networks: frozenset[str]) -> bool:
        return getattr(query, self.part) in self.values

    def covers(self, other: Condition) -> bool:
        return isinstance(other, OneOf) and self.values >= other.values

    @property
    def is_universal(self) -> bool:
        return self.part == "kind" and self.values >= set(Kind)


# What every text of a part that no request is without is like.
_EVERY = {"path": Pattern("/*", prefix=True), "user_agent": Pattern("*", crosses=True)}


@dataclass(frozen=True)
class Like:
    """A part of the request is there, and one of these patterns matches it."""

    part: str
    patterns: tuple[Pattern, ...]

    @cached_property
    def _literals(self) -> frozenset[str]:
        return frozenset(pattern.text for pattern in self.patterns if pattern.is_literal)

    @cached_property
    def _globs(self) -> tuple[Pattern, ...]:
        return tuple(pattern for pattern in self.patterns if not pattern.is_literal)

    def holds(self, query: Query, networks: frozenset[str]) -> bool:
        text = getattr(query, self.part)
        return text is not None and self._matches(text)

    def _matches(self, text: str) -> bool:
        return text in self._literals or any(glob.matches(text) for glob in self._globs)

    def covers(self, other: Condition) -> bool:
        return (
            isinstance(other, Like)
            and all(map(self._matches, other._literals))
            and all(any(ours.covers(theirs) for ours in self._globs) for theirs in other._globs)
        )

    @property
    def is_universal(self) -> bool:
        every = _EVERY.get(self.part)
        return every is not None and any(pattern.covers(every) for pattern in self.patterns)


@dataclass(frozen=True)
class Conditions:
    """Conditions by their keys, all of which must hold."""

    by_key: Mapping[str, Condition]

    def hold(self, query: Query, networks: frozenset[str]) -> bool:
        """Whether all hold."""
        return all(condition.holds(query, networks) for condition in self.by_key.values())

    @cached_property
    def telling(self) -> tuple[tuple[str, Condition], ...]:
        """The conditions that not every request meets, those first that differ most from rule to
        rule: hundreds of rules are compared pair by pair.
        """
        return tuple(
            (key, condition)
            for key, condition in reversed(list(self.by_key.items()))
            if not condition.is_universal
        )

    def covers(self, other: "Conditions") -> bool:
        """Whether all hold wherever all of `other` do."""
        for key, condition in self.telling:
            if key not in other.by_key or not condition.covers(other.by_key[key]):
                return False
        return True


@dataclass(frozen=True)
class Not:
    """Not all of the inner conditions hold."""

    inner: Conditions

    def holds(self, query: Query, networks: frozenset[str]) -> bool:
        return not self.inner.hold(query, networks)

    def covers(self, other: Condition) -> bool:
        return isinstance(other, Not) and other.inner.covers(self.inner)

    @property
    def is_universal(self) -> bool:
        return False
