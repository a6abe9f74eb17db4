"""One question for all who have it at the same time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shared(Generic[K, V]):
    """Questions under way, by what they are about.

    Who waits may go away (cancel): the question goes on, for its answer is remembered.
    """

    def __init__(self) -> None:
        self._waiting: dict[K, list[Deferred[V]]] = {}
        self._questions: dict[K, Deferred[None]] = {}

    def get(self, key: K, ask: Callable[[], Deferred[V]]) -> Deferred[V]:
        """The answer to the question that is under way, or to a new one."""
        mine: Deferred[V] = Deferred(lambda gone: self._leave(key, gone))
        if key in self._waiting:
            self._waiting[key].append(mine)
            return mine
        self._waiting[key] = [mine]
        question = ask().addCallbacks(
            self._tell, self._fail, callbackArgs=(key,), errbackArgs=(key,)
        )
        if key in self._waiting:
            self._questions[key] = question
        return mine

    def stop(self) -> None:
        """Ask no more; who still waits is told that nobody will answer."""
        for question in list(self._questions.values()):
            question.cancel()

    def _leave(self, key: K, gone: Deferred[V]) -> None:
        self._waiting[key].remove(gone)

    def _tell(self, answer: V, key: K) -> None:
        for waiting in self._end(key):
            waiting.callback(answer)

    def _fail(self, failure: Failure, key: K) -> None:
        for waiting in self._end(key):
            # A failure of its own for each: what one does to it is nothing to the others.
            waiting.errback(Failure(failure.value))

    def _end(self, key: K) -> list[Deferred[V]]:
        self._questions.pop(key, None)
        return self._waiting.pop(key)
