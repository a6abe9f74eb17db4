"""One question for all who have it at the same time."""

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from regroute.relay.token.shared import Shared

from .asking import is_waiting, now


class Asked:
    """Questions that wait for their answers."""

    def __init__(self) -> None:
        self.shared: Shared[str, int] = Shared()
        self.questions: list[Deferred[int]] = []
        self.cancelled = 0

    def get(self, key: str) -> Deferred[int]:
        return self.shared.get(key, self._ask)

    def _ask(self) -> Deferred[int]:
        self.questions.append(Deferred(self._cancel))
        return self.questions[-1]

    def _cancel(self, question: Deferred[int]) -> None:
        self.cancelled += 1


def test_all_who_wait_get_the_one_answer() -> None:
    asked = Asked()
    waiting = [asked.get("a") for _ in range(3)]
    other = asked.get("b")
    asked.questions[0].callback(5)
    assert [now(each) for each in waiting] == [5, 5, 5]
    assert is_waiting(other)
    asked.questions[1].callback(6)
    assert now(other) == 6
    assert len(asked.questions) == 2


def test_all_who_wait_get_the_one_failure() -> None:
    asked = Asked()
    waiting = [asked.get("a") for _ in range(3)]
    asked.questions[0].errback(ValueError("no"))
    for each in waiting:
        with pytest.raises(ValueError, match="no"):
            now(each)


def test_who_comes_after_the_answer_asks_anew() -> None:
    asked = Asked()
    first = asked.get("a")
    second: list[Deferred[int]] = []

    def ask_again(answer: int) -> int:
        second.append(asked.get("a"))
        return answer

    first.addCallback(ask_again)
    asked.questions[0].callback(5)
    assert now(first) == 5
    asked.questions[1].callback(6)
    assert now(second[0]) == 6


def test_a_question_that_is_answered_at_once_is_over_at_once() -> None:
    shared: Shared[str, int] = Shared()
    assert now(shared.get("a", lambda: succeed(5))) == 5
    with pytest.raises(ValueError, match="no"):
        now(shared.get("a", lambda: fail(ValueError("no"))))
    assert now(shared.get("a", lambda: succeed(6))) == 6


def test_who_goes_away_leaves_the_others_to_wait() -> None:
    asked = Asked()
    leaving, staying = asked.get("a"), asked.get("a")
    leaving.cancel()
    with pytest.raises(CancelledError):
        now(leaving)
    assert asked.cancelled == 0
    asked.questions[0].callback(5)
    assert now(staying) == 5


def test_the_question_of_someone_who_has_left_is_still_shared() -> None:
    asked = Asked()
    asked.get("a").addErrback(lambda failure: failure.trap(CancelledError)).cancel()
    assert is_waiting(again := asked.get("a"))
    asked.questions[0].callback(5)
    assert now(again) == 5
    assert len(asked.questions) == 1


def test_at_the_end_nobody_is_asked_and_nobody_waits() -> None:
    asked = Asked()
    waiting = [asked.get("a"), asked.get("a"), asked.get("b")]
    asked.shared.stop()
    assert asked.cancelled == 2
    for each in waiting:
        with pytest.raises(CancelledError):
            now(each)
