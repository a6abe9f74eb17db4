"""Sets of addresses: unions, and whether one set holds all of another."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.networks.ranges import EVERYWHERE, Ranges
from regroute.networks.spans import Span, parse_span

# A tiny universe, in which sets of addresses can be counted out one by one.
UNIVERSE = 24


@st.composite
def small_spans(draw: st.DrawFn) -> Span:
    first = draw(st.integers(0, UNIVERSE - 1))
    last = draw(st.integers(first, UNIVERSE - 1))
    return Span(draw(st.sampled_from([4, 6])), first, last)


small_lists = st.lists(small_spans(), max_size=6)


def counted(spans: list[Span] | tuple[Span, ...]) -> set[tuple[int, int]]:
    """The naive twin: every address of a set, one by one."""
    return {(span.version, number) for span in spans for number in range(span.first, span.last + 1)}


def ranges(*texts: str) -> Ranges:
    return Ranges.of(map(parse_span, texts))


@given(small_lists)
def test_a_union_holds_the_addresses_of_its_spans_and_no_other(spans: list[Span]) -> None:
    assert counted(Ranges.of(spans).spans) == counted(spans)


@given(small_lists)
def test_a_union_is_sorted_disjoint_and_as_short_as_can_be(spans: list[Span]) -> None:
    merged = Ranges.of(spans).spans
    for before, after in pairwise(merged):
        assert before.version < after.version or before.last + 1 < after.first


@given(small_lists, st.randoms(use_true_random=False))
def test_a_union_does_not_depend_on_the_order_of_its_spans(
    spans: list[Span], random: Random
) -> None:
    shuffled = [*spans]
    random.shuffle(shuffled)
    assert Ranges.of(shuffled) == Ranges.of(spans) == Ranges.of([*spans, *shuffled])


@given(small_lists, small_lists)
def test_one_set_contains_another_as_counted_out(ours: list[Span], theirs: list[Span]) -> None:
    assert Ranges.of(ours).contains(Ranges.of(theirs)) == (counted(ours) >= counted(theirs))


@given(small_lists, small_lists)
def test_a_union_contains_each_part_of_it(ours: list[Span], theirs: list[Span]) -> None:
    union = Ranges.of([*ours, *theirs])
    assert union.contains(Ranges.of(ours))
    assert union.contains(Ranges.of(theirs))


@pytest.mark.parametrize(
    ("ours", "theirs", "contained"),
    [
        pytest.param(["10.0.0.0/8"], ["10.0.0.0/8"], True, id="the same"),
        pytest.param(["10.0.0.0/8"], ["10.255.255.255"], True, id="its last address"),
        pytest.param(["10.0.0.0/8"], ["11.0.0.0"], False, id="one past its last address"),
        pytest.param(["10.0.0.0/8"], ["9.255.255.255"], False, id="one before its first"),
        pytest.param(["10.0.0.0/9", "10.128.0.0/9"], ["10.0.0.0/8"], True, id="two halves"),
        pytest.param(["10.0.0.0/9", "10.128.0.1/32"], ["10.0.0.0/8"], False, id="with a hole"),
        pytest.param(["0.0.0.0/0"], ["::/128"], False, id="another family"),
        pytest.param(["::/0"], ["0.0.0.1"], False, id="the other family"),
        pytest.param(["::ffff:0:0/96"], ["0.0.0.0/0"], True, id="mapped IPv6 is IPv4"),
        pytest.param(["10.0.0.0/8"], [], True, id="the empty set is in every set"),
        pytest.param([], ["10.0.0.1"], False, id="nothing is in the empty set"),
    ],
)
def test_whether_a_set_contains_another(
    ours: list[str], theirs: list[str], contained: bool
) -> None:
    assert ranges(*ours).contains(ranges(*theirs)) is contained


def test_everywhere_is_both_families_whole() -> None:
    assert ranges("0.0.0.0/0", "::/0") == EVERYWHERE
    assert not ranges("::/0").contains(EVERYWHERE)
    assert not ranges("0.0.0.0/0", "::/1").contains(EVERYWHERE)
    assert ranges("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1").contains(EVERYWHERE)
