"""What the log and the metrics are told of registries without answers."""

import pytest
from twisted.internet.task import Clock

from regroute.metrics.events import Event
from regroute.registry import Registry
from regroute.relay.troubles import PAUSE, Troubles
from regroute.relay.upstream.ask import Unreachable

A, B = Registry("a", "https://a.example"), Registry("b", "https://b.example")


class Told:
    """Troubles, and what has been counted of them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.counted: list[Event] = []
        self.troubles = Troubles(self.count, self.clock)

    def count(self, event: Event, times: int = 1, /) -> None:
        self.counted += [event] * times

    def tell(self, registry: Registry = A, status: int = 502) -> None:
        self.troubles.tell(registry, Unreachable(status, "it is gone"))


@pytest.mark.parametrize(
    ("status", "event"),
    [
        (502, Event.UPSTREAM_FAILED),
        (503, Event.UPSTREAM_FULL),
        (504, Event.UPSTREAM_LATE),
    ],
)
def test_each_is_counted_by_its_kind(logged: list[str], status: int, event: Event) -> None:
    told = Told()
    told.tell(status=status)
    told.tell(status=status)
    assert told.counted == [event, event]


def test_the_first_one_with_a_registry_is_a_line_at_once(logged: list[str]) -> None:
    told = Told()
    told.tell(A)
    told.tell(B)
    assert logged == [
        "warn: no answer from a (https://a.example): it is gone",
        "warn: no answer from b (https://b.example): it is gone",
    ]


def test_a_registry_that_is_down_does_not_fill_the_log(logged: list[str]) -> None:
    told = Told()
    for _ in range(1000):
        told.tell()
    assert len(logged) == 1
    told.clock.advance(PAUSE)
    told.tell()
    told.tell()
    assert logged[1:] == [
        "warn: no answer from a (https://a.example): it is gone; "
        "999 more like it since the last line"
    ]


def test_after_a_reload_all_are_told_anew(logged: list[str]) -> None:
    told = Told()
    told.tell()
    told.troubles.forget()
    told.tell()
    assert len(logged) == 2
