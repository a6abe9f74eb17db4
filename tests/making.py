"""Rule sets and sites for tests, without a file or a socket."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from twisted.internet.interfaces import IReactorTime

from regroute.answers import Answer, Relay
from regroute.check import Checked, check
from regroute.config.schema import Limits
from regroute.findings import Files
from regroute.logs.access_log import Again, Entry
from regroute.metrics.counters import Counters
from regroute.metrics.events import Count, Event, uncounted
from regroute.metrics.tally import BUCKETS, MICROSECONDS, Tally
from regroute.networks.spans import Address
from regroute.rules import RuleSet
from regroute.web.tree import Site

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def files_of(contents: Mapping[str, bytes]) -> Files:
    """Files in memory; every other is missing. Messages show them as in ``dir/``."""

    def read(name: str) -> bytes:
        if name not in contents:
            raise FileNotFoundError(2, "No such file or directory")
        return contents[name]

    return Files(read, lambda name: f"dir/{name}")


def checked(
    text: str, contents: Mapping[str, bytes] | None = None, *, file: str = "rules.yaml"
) -> Checked:
    """What a configuration comes to; raises `Faulty`."""
    return check(text, file, files_of(contents or {}), NOW)


def site_of(
    rules: Callable[[], RuleSet],
    clock: IReactorTime,
    record: Callable[[Entry], None] = lambda entry: None,
    limits: Limits | None = None,
    room: int = 1000,
    count: Count = uncounted,
) -> Site:
    """A site that answers by these rules."""
    return Site(rules, lambda: limits or Limits(), record, lambda: True, room, clock, count)


class Books:
    """What is recorded of requests, as it comes; and counted, as a recorder does it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.counters = Counters.private(cells=512, directory=65_536)
        self.tally = Tally(self.counters)

    def record(self, entry: Entry) -> None:
        """Write an entry down and count it."""
        self.entries.append(entry)
        self.tally.record(entry)

    def remember(self, entry: Entry) -> Again:
        """How to record it again."""
        count = self.tally.remember(entry)

        def again(time: float, client: Address | str | None, microseconds: int) -> None:
            self.entries.append(entry._replace(time=time, client=client, microseconds=microseconds))
            count(time, client, microseconds)

        return again

    def counts(self) -> dict[tuple[str, ...], int]:
        """All that is counted of requests and events, but how long they took."""
        return {
            (cell.name, *cell.labels): cell.value
            for cell in self.counters.items()
            if cell.value and cell.name not in (BUCKETS, MICROSECONDS)
        }

    def events(self) -> dict[Event, int]:
        """What has happened besides requests, and how often."""
        counts = self.counts()
        return {event: counts[event.value] for event in Event if event.value in counts}


# The default limits, as the tests speak of them.
HEAD_SIZE = int(Limits().head_size)
HEAD_TIME = Limits().head
IDLE_TIME = Limits().idle


def answered(answer: Answer | Relay) -> Answer:
    """An answer of ours, and no relay."""
    assert isinstance(answer, Answer)
    return answer
