"""What is counted of requests and events, in a block of counters.

A request is one cell, by all that is told of it, and one bucket of how long it took.
"""

from bisect import bisect_left

from ..logs.access_log import Again, Entry
from ..networks.spans import Address
from .counters import Counters
from .events import Event

BOUNDS = (
    *(10, 25, 50, 100, 250, 500),
    *(1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000),
    *(1_000_000, 2_500_000, 5_000_000, 10_000_000),
)
"""Up to how many microseconds the buckets of requests go; there is one more for the rest."""

REQUESTS = "requests"
"""Counted by rule, registry, code, kind and reason; what there is none of is empty."""
BUCKETS = "request_buckets"
"""Counted by bound; the last one's is empty."""
MICROSECONDS = "request_microseconds"

# Nearly all requests take less microseconds than that: a look-up in a table is faster.
_SHORT = 1_000

_GAUGES = (Event.CONNECTION, Event.UPSTREAM)


class Tally:
    """Counts in a block, which nobody else counts in now."""

    def __init__(self, counters: Counters) -> None:
        counters.reset_gauges()
        self._counters = counters
        self._values = counters.values
        self._cells = {
            event: (counters.gauge if event in _GAUGES else counters.cell)(*event.value)
            for event in Event
        }
        self._buckets = [counters.cell(BUCKETS, bound) for bound in (*map(str, BOUNDS), "")]
        self._short = [self._bucket(microseconds) for microseconds in range(_SHORT)]
        self._microseconds = counters.cell(MICROSECONDS)

    def count(self, event: Event, times: int = 1, /) -> None:
        """Count an event."""
        self._values[self._cells[event]] += times

    def _bucket(self, microseconds: int) -> int:
        """The cell of the first bucket that goes so far."""
        return self._buckets[bisect_left(BOUNDS, microseconds)]

    def record(self, entry: Entry) -> None:
        """Count a request."""
        self.remember(entry)(entry.time, entry.client, entry.microseconds)

    def remember(self, entry: Entry) -> Again:
        """How to count requests that are equal to `entry` in all but time, client and duration."""
        cell = self._counters.cell(
            REQUESTS,
            entry.rule or "",
            entry.registry or "",
            str(entry.status),
            entry.kind,
            entry.reason or "",
        )
        values, short, bucket, total = self._values, self._short, self._bucket, self._microseconds

        def again(time: float, client: Address | str | None, microseconds: int) -> None:
            values[cell] += 1
            values[short[microseconds] if microseconds < _SHORT else bucket(microseconds)] += 1
            values[total] += microseconds

        return again
