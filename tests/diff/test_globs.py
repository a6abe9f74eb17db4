"""Witnesses of patterns, against the patterns themselves and all short texts."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.diff.globs import common, common_witnesses, fresh_word, witnesses
from regroute.pattern import Pattern

texts = st.text("ab/*", max_size=6)
SHORT = ["".join(letters) for length in range(7) for letters in product("ab/", repeat=length)]


def pattern(text: str) -> Pattern:
    return Pattern(text)


@given(texts)
def test_a_pattern_matches_its_witnesses(text: str) -> None:
    one = pattern(text)
    assert all(map(one.matches, witnesses(one.symbols, "any")))


@given(texts, texts)
def test_a_common_text_is_found_exactly_where_there_is_one(text: str, other_text: str) -> None:
    one, other = pattern(text), pattern(other_text)
    found = common(one.symbols, other.symbols)
    if found is None:
        assert not [text for text in SHORT if one.matches(text) and other.matches(text)]
    else:
        assert one.matches(found)
        assert other.matches(found)


@given(texts, texts)
def test_all_common_witnesses_are_matched_by_both(text: str, other_text: str) -> None:
    one, other = pattern(text), pattern(other_text)
    for found in common_witnesses(one.symbols, other.symbols, "any"):
        assert one.matches(found)
        assert other.matches(found)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("library/*", "**/postgres", "library/postgres"),
        ("l*/p*", "library/*", "library/p"),
        ("*", "**", "any"),
        ("a/*", "*/b/*", None),
        ("a*", "*b", "anyb"),
    ],
)
def test_common_witnesses_have_something_where_they_can(
    one: str, other: str, expected: str | None
) -> None:
    found = list(common_witnesses(pattern(one).symbols, pattern(other).symbols, "any"))
    assert (expected in found) if expected else found == []


@pytest.mark.parametrize(
    ("texts", "word"), [([], "any"), (["Many", "a"], "any1"), (["any", "any1"], "any2")]
)
def test_a_fresh_word_is_part_of_no_text(texts: list[str], word: str) -> None:
    assert fresh_word(texts) == word
