"""Texts with wildcards: what they match, and which of them cover others. Linear in time."""

import re
from dataclasses import dataclass
from functools import cached_property

# The symbols that stand for "anything but a slash" and "anything" where one pattern is matched
# against another; no request holds them.
ANY_SEGMENT, ANYTHING = "\U0010fffe", "\U0010ffff"


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
