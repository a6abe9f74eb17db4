"""What a reload moves, as it is told in the log."""

import pytest
from twisted.internet.task import Clock

from regroute.moves import PAUSE_TIME, WORK_TIME, Moves

from .making import checked

BEFORE = checked(
    "rules: [{client: 10.0.0.0/8, to: 'https://a.example'}, {to: 'https://b.example'}]"
)
AFTER = checked("rules: [{client: 10.0.0.0/9, to: 'https://a.example'}, {to: 'https://b.example'}]")
RENAMED = checked("""
access_log: none
rules: [{client: 10.0.0.0/8, to: 'https://a.example'}, {to: 'https://b.example'}]
""")


class Bed:
    """A clock of the reactor's, and one of the work, which each look at it moves on."""

    def __init__(self, *, look: float = 0.0) -> None:
        self.clock = Clock()
        self._elapsed = 0.0
        self._look = look
        self.moves = Moves(self.clock, self._time)

    def _time(self) -> float:
        self._elapsed += self._look
        return self._elapsed

    def settle(self) -> None:
        """Let it come to its end."""
        while self.clock.getDelayedCalls():
            self.clock.advance(PAUSE_TIME)


def test_who_is_sent_elsewhere_is_told(logged: list[str]) -> None:
    bed = Bed()
    bed.moves.tell(BEFORE, AFTER)
    assert logged == []
    bed.settle()
    assert any("shape" in line for line in logged)
    assert any("10.128.0.0/9" in line and "b.example" in line for line in logged)


@pytest.mark.parametrize("look", [0.0, WORK_TIME / 4, WORK_TIME])
def test_work_that_takes_longer_is_done_in_parts_so_that_others_are_served(
    look: float, logged: list[str]
) -> None:
    bed = Bed(look=look)
    bed.moves.tell(BEFORE, AFTER)
    parts = 0
    while bed.clock.getDelayedCalls():
        (call,) = bed.clock.getDelayedCalls()
        assert call.getTime() - bed.clock.seconds() == pytest.approx(PAUSE_TIME)
        bed.clock.advance(PAUSE_TIME)
        parts += 1
    assert (parts > 1) == (look > 0)


def test_where_the_rules_are_the_same_nothing_is_compared(logged: list[str]) -> None:
    bed = Bed()
    bed.moves.tell(BEFORE, RENAMED)
    bed.settle()
    assert logged == []


def test_the_next_reload_takes_the_place_of_what_is_not_told_yet(logged: list[str]) -> None:
    bed = Bed(look=WORK_TIME)
    bed.moves.tell(BEFORE, AFTER)
    bed.clock.advance(PAUSE_TIME)
    bed.moves.tell(AFTER, BEFORE)
    bed.settle()
    assert any("10.128.0.0/9" in line for line in logged)
    assert sum("moves" in line for line in logged) <= 2


def test_a_stop_leaves_nothing_behind(logged: list[str]) -> None:
    bed = Bed()
    bed.moves.tell(BEFORE, AFTER)
    bed.moves.stopService()
    bed.settle()
    assert logged == []
