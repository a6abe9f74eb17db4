"""The conditions of a rule, compiled: whether they hold, and whether they cover other ones.

`covers` is for finding rules that nothing can reach. It never says yes wrongly; it may say no about
two conditions of which one does cover the other in a roundabout way.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from .networks.ranges import EVERYWHERE, Ranges
from .oci import Kind
from .query import Query

# The symbols that stand for "anything but a slash" and "anything" where one pattern is matched
# against another; no request holds them.
ANY_SEGMENT, ANYTHING = "\U0010fffe", "\U0010ffff"


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


@dataclass(frozen=True)
class Pattern:
    """A text with wildcards: ``*`` is anything but a slash and ``**`` anything.

    Where `crosses`, ``*`` is anything too; where `prefix`, only a ``*`` at the end is a wildcard.
    """

    text: str
    crosses: bool = False
    prefix: bool = False

    @cached_property
    def symbols(self) -> str:
        """Its text with a symbol for each wildcard, `ANY_SEGMENT` or `ANYTHING`."""
        if self.prefix:
            star = self.text.endswith("*")
            return self.text[:-1] + ANYTHING if star else self.text
        single = ANYTHING if self.crosses else ANY_SEGMENT
        return re.sub(r"\*\*+", ANYTHING, self.text).replace("*", single)

    @cached_property
    def stem(self) -> str:
        """Its text up to the first wildcard."""
        return re.split(f"[{ANY_SEGMENT}{ANYTHING}]", self.symbols, maxsplit=1)[0]

    @cached_property
    def is_literal(self) -> bool:
        """Whether it matches one text alone."""
        return self.symbols == self.text

    @cached_property
    def _pieces(self) -> list[str]:
        """The parts between what crosses anything."""
        return self.symbols.split(ANYTHING)

    def matches(self, text: str) -> bool:
        """Whether the whole of `text` is of this form; linear in time, whoever wrote the text."""
        if not text.startswith(self.stem):
            return False
        if self.is_literal:
            return text == self.text
        if ANY_SEGMENT in self.symbols:
            return _matches_segments(self.symbols, text)
        return _matches_pieces(self._pieces, text)

    def covers(self, other: "Pattern") -> bool:
        """Whether everything that `other` matches matches too: wildcards only take wildcards."""
        return self.matches(other.symbols)


def _matches_pieces(pieces: list[str], text: str) -> bool:
    """Whether `text` has all the pieces one after another, with anything in between.

    The first place where a piece fits is as good as any later one.
    """
    first, *middle, last = pieces
    place = len(first)
    for piece in middle:
        place = text.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return text.startswith(first) and len(text) - len(last) >= place and text.endswith(last)


def _matches_segments(symbols: str, text: str) -> bool:
    """The same where some wildcards do not cross a slash: all places are kept in mind at once."""
    places = {0}
    for token in re.split(f"([{ANY_SEGMENT}{ANYTHING}])", symbols):
        if token == ANYTHING:
            places = set(range(min(places), len(text) + 1))
        elif token == ANY_SEGMENT:
            places = {end for place in places for end in _within_segment(text, place)}
        else:
            places = {place + len(token) for place in places if text.startswith(token, place)}
        if not places:
            return False
    return len(text) in places


def _within_segment(text: str, place: int) -> range:
    ends = [text.find(stop, place) for stop in ("/", ANYTHING)]
    return range(place, min([end for end in ends if end >= 0], default=len(text)) + 1)


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
