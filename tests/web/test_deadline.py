"""A deadline that is put off again and again rings when it should, and costs one timer."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from regroute.web.deadline import Deadline


class Bed:
    """A deadline, its clock, and when it has passed."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.passed: list[float] = []
        self.deadline = Deadline(lambda: self.passed.append(self.clock.seconds()), self.clock)


def test_it_passes_once() -> None:
    bed = Bed()
    bed.deadline.set(5)
    bed.clock.advance(4)
    assert bed.passed == []
    bed.clock.advance(1)
    bed.clock.advance(100)
    assert bed.passed == [5]
    bed.deadline.set(1)
    bed.clock.advance(1)
    assert bed.passed == [5, 106]


def test_it_can_be_set_again_by_what_it_calls() -> None:
    clock = Clock()
    passed: list[float] = []

    def ring() -> None:
        passed.append(clock.seconds())
        if len(passed) < 3:
            deadline.set(2)

    deadline = Deadline(ring, clock)
    deadline.set(1)
    clock.pump([1] * 10)
    assert passed == [1, 3, 5]
    assert clock.getDelayedCalls() == []


def test_putting_it_off_makes_no_timers() -> None:
    bed = Bed()
    for _ in range(100):
        bed.deadline.set(50)
        bed.clock.advance(0.1)
        assert len(bed.clock.getDelayedCalls()) == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 20)),
        st.tuples(st.just("advance"), st.integers(0, 20)),
        st.tuples(st.sampled_from(["unset", "cancel"]), st.just(0)),
    ),
    max_size=20,
)


@given(STEPS)
def test_it_passes_when_a_timer_for_each_would(steps: list[tuple[str, int]]) -> None:
    """The twin has a timer that is cancelled and made anew each time."""
    bed, twin = Bed(), Bed()
    timers: list[IDelayedCall] = []
    for step, number in steps:
        if step == "advance":
            for _ in range(number):
                bed.clock.advance(1)
                twin.clock.advance(1)
            continue
        for timer in timers:
            if timer.active():
                timer.cancel()
        if step == "set":
            bed.deadline.set(number)
            timers.append(
                twin.clock.callLater(number, lambda: twin.passed.append(twin.clock.seconds()))
            )
        elif step == "unset":
            bed.deadline.set(None)
        else:
            bed.deadline.cancel()
    # Time passes at the latest now.
    bed.clock.advance(1)
    twin.clock.advance(1)
    assert bed.passed == twin.passed
    bed.deadline.cancel()
    assert bed.clock.getDelayedCalls() == []
