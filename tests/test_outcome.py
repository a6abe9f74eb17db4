"""Reloads one after another: who gets whose outcome."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from regroute.config.faults import Fault
from regroute.outcome import Outcome, Past, Reloads


class Bed:
    """Reloads that are over when `end` says so; the n-th comes to the changes ``n``."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.begun = 0
        self.running: Deferred[Outcome] | None = None
        self.reloads = Reloads(self._run, self.clock)

    def _run(self) -> Deferred[Outcome]:
        assert self.running is None, "two at once"
        self.begun += 1
        self.running = Deferred()
        return self.running

    def ask(self) -> list[str | None]:
        """Ask; the outcome's changes come into what this gives."""
        got: list[str | None] = []
        self.reloads.ask().addCallback(lambda outcome: got.append(outcome.changes))
        return got

    def end(self) -> None:
        assert self.running is not None
        running, self.running = self.running, None
        running.callback(Outcome("reloaded", str(self.begun)))


def test_all_who_ask_while_one_goes_on_share_the_next() -> None:
    bed = Bed()
    first, *others = [bed.ask() for _ in range(4)]
    assert bed.begun == 1
    bed.end()
    assert (first, others, bed.begun) == (["1"], [[], [], []], 2)
    late = bed.ask()
    bed.end()
    assert (others, late, bed.begun) == ([["2"]] * 3, [], 3)
    bed.end()
    assert (late, bed.begun, bed.running) == (["3"], 3, None)


@given(st.lists(st.sampled_from(["ask", "end"])))
def test_everyone_gets_the_outcome_of_the_first_reload_that_began_after_he_asked(
    steps: list[str],
) -> None:
    bed = Bed()
    due: list[tuple[list[str | None], int]] = []
    for step in steps:
        if step == "ask":
            number = bed.begun + 1
            due.append((bed.ask(), number))
        elif bed.running is not None:
            bed.end()
    while bed.running is not None:
        bed.end()
    assert all(got == [str(number)] for got, number in due)


def test_who_asks_as_an_outcome_comes_gets_another_one() -> None:
    bed = Bed()
    got: list[list[str | None]] = []
    bed.reloads.ask().addCallback(lambda _: got.append(bed.ask()))
    bed.end()
    assert (got, bed.begun) == ([[]], 2)
    bed.end()
    assert got == [["2"]]


def test_the_last_outcome_is_kept_with_its_time() -> None:
    bed = Bed()
    assert bed.reloads.history.last is None
    bed.ask()
    bed.clock.advance(5)
    bed.end()
    assert bed.reloads.history.last == Past(Outcome("reloaded", "1"), 5.0)


def test_a_reload_that_breaks_is_an_outcome_too_and_is_logged(logged: list[str]) -> None:
    reloads = Reloads(lambda: fail(RuntimeError("broken")), Clock())
    got: list[Outcome] = []
    for _ in range(2):
        reloads.ask().addCallback(got.append)
    assert [(each.result, each.faults) for each in got] == [("failed", ())] * 2
    assert logged == ["critical: the reload has failed"] * 2


def test_an_outcome_has_failed_unless_there_are_changes_even_if_they_are_none() -> None:
    fault = Fault("f", 1, 1, "no")
    assert Outcome("reloaded: nothing changed", "nothing changed").result == "reloaded"
    assert Outcome("not reloaded", faults=(fault,)).result == "failed"
