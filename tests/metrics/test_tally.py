"""What is counted of requests: each once, by all that is told of it, and by how long it took."""

from bisect import bisect_left
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.answers import Reason
from regroute.logs.access_log import Entry
from regroute.metrics.counters import Counters
from regroute.metrics.events import Event
from regroute.metrics.tally import BOUNDS, BUCKETS, MICROSECONDS, REQUESTS, Tally
from regroute.oci import Kind

from ..logs.test_access_log import PULL
from ..making import Books

DURATIONS = st.one_of(
    st.integers(0, 2_000),
    st.integers(0, 2 * max(BOUNDS)),
    st.sampled_from([bound + more for bound in BOUNDS for more in (-1, 0, 1)]),
)
ENTRIES = st.builds(
    PULL._replace,
    status=st.sampled_from([200, 302, 404]),
    rule=st.sampled_from([None, "office", "rule-2"]),
    registry=st.sampled_from([None, "hub", "https://a.example"]),
    kind=st.sampled_from(Kind),
    reason=st.sampled_from([None, *Reason]),
    microseconds=DURATIONS,
)


@given(st.lists(st.tuples(ENTRIES, st.lists(DURATIONS, max_size=3)), max_size=20))
def test_it_counts_what_is_recorded(requests: list[tuple[Entry, list[int]]]) -> None:
    """At once or again, as a naive count of the entries says."""
    books = Books()
    for entry, durations in requests:
        books.record(entry)
        again = books.remember(entry)
        for microseconds in durations:
            again(2.0, None, microseconds)
    assert books.counts() == Counter(
        (
            REQUESTS,
            each.rule or "",
            each.registry or "",
            str(each.status),
            each.kind,
            each.reason or "",
        )
        for each in books.entries
    )
    durations = [each.microseconds for each in books.entries]
    told = {(cell.name, *cell.labels): cell.value for cell in books.counters.items()}
    assert told[MICROSECONDS,] == sum(durations)
    for lower, bound in zip((-1, *BOUNDS), (*BOUNDS, None), strict=True):
        held = [each for each in durations if lower < each and (bound is None or each <= bound)]
        assert told[BUCKETS, "" if bound is None else str(bound)] == len(held)


def test_bounds_rise() -> None:
    assert [bisect_left(BOUNDS, bound) for bound in BOUNDS] == list(range(len(BOUNDS)))


@pytest.mark.parametrize("event", Event)
def test_every_event_is_counted_by_itself(event: Event) -> None:
    books = Books()
    books.tally.count(event)
    books.tally.count(event, 2)
    assert books.events() == {event: 3}


def test_all_events_are_there_before_they_happen() -> None:
    """Who looks for a rise must see where it begins."""
    counters = Counters.private()
    Tally(counters)
    names = {(cell.name, *cell.labels) for cell in counters.items()}
    assert names >= {event.value for event in Event}


def test_the_next_one_who_counts_goes_on_where_the_last_one_was_and_has_no_connections() -> None:
    counters = Counters.private()
    first = Tally(counters)
    first.record(PULL)
    first.count(Event.CONNECTION, 5)
    first.count(Event.IDLE)
    second = Tally(counters)
    second.record(PULL)
    second.count(Event.CONNECTION)
    second.count(Event.IDLE)
    told = {(cell.name, *cell.labels): cell.value for cell in counters.items()}
    assert told[Event.CONNECTION.value] == 1
    assert told[Event.IDLE.value] == 2
    assert told[REQUESTS, "office", "hub", "302", "other", ""] == 2
