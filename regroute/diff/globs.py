"""Texts that patterns match: witnesses, by which rules can be asked about all that they tell apart.

Patterns are given as their symbols (`Pattern.symbols`).
"""

from collections import deque
from collections.abc import Iterable, Iterator

from ..pattern import ANY_SEGMENT, ANYTHING

_WILDCARDS = {ord(ANY_SEGMENT): ANY_SEGMENT, ord(ANYTHING): ANYTHING}


def fresh_word(texts: Iterable[str]) -> str:
    """A word that is no part of any of these texts, so that no pattern matches it by accident."""
    everything = "\n".join(texts).lower()
    number, word = 0, "any"
    while word in everything:
        number += 1
        word = f"any{number}"
    return word


def witnesses(symbols: str, word: str) -> tuple[str, str]:
    """Texts that a pattern matches, with a word where its wildcards are, or two where a slash may
    be: what is like ``library/**`` may be like ``library/*`` or not.
    """
    one = symbols.translate(dict.fromkeys(_WILDCARDS, word))
    deep = {ord(ANY_SEGMENT): word, ord(ANYTHING): f"{word}/{word}"}
    return one, symbols.translate(deep)


def common_witnesses(one: str, other: str, word: str) -> Iterator[str]:
    """Texts that both patterns match, if there are any: those with most of `word` first.

    A text with nothing where the wildcards are is often no name at all.
    """
    for left, right in ((True, True), (True, False), (False, True), (False, False)):
        text = common(_filled(one, word) if left else one, _filled(other, word) if right else other)
        if text is not None:
            yield text


def _filled(symbols: str, word: str) -> str:
    """The pattern whose wildcards begin with a word."""
    return symbols.translate({place: word + symbol for place, symbol in _WILDCARDS.items()})


def common(one: str, other: str) -> str | None:
    """A text that both patterns match, or None if there is none.

    Both are automata whose states are places in their symbols; this walks through the pairs of
    places that some text leads to.
    """
    waiting = deque([(0, 0, "")])
    seen = {(0, 0)}
    while waiting:
        left, right, text = waiting.popleft()
        if left == len(one) and right == len(other):
            return text
        for step in _steps(one[left : left + 1], other[right : right + 1]):
            place = left + step[0], right + step[1]
            if place not in seen:
                seen.add(place)
                waiting.append((*place, text + step[2]))
    return None


def _steps(one: str, other: str) -> Iterator[tuple[int, int, str]]:
    """How far two patterns can go on from these symbols, and the text of it."""
    if _is_wild(one):
        yield 1, 0, ""
    if _is_wild(other):
        yield 0, 1, ""
    if one and one == other and not _is_wild(one):
        yield 1, 1, one
    elif one and not _is_wild(one) and _takes(other, one):
        yield 1, 0, one
    elif other and not _is_wild(other) and _takes(one, other):
        yield 0, 1, other


def _is_wild(symbol: str) -> bool:
    return symbol in (ANY_SEGMENT, ANYTHING)


def _takes(wildcard: str, letter: str) -> bool:
    return wildcard == ANYTHING or (wildcard == ANY_SEGMENT and letter != "/")
