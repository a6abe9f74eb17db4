"""Signals as calls in the reactor's thread."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from twisted.internet.testing import MemoryReactorClock

from regroute.reactor import Reactor
from regroute.signals import OnSignal

NUMBER = signal.SIGUSR1


class SignalReactor(MemoryReactorClock):
    """A reactor in memory that keeps what other threads and signals want called."""

    def __init__(self) -> None:
        MemoryReactorClock.__init__(self)
        self.from_threads: list[Callable[[], object]] = []

    def callFromThread(self, call: Callable[[], object]) -> None:
        self.from_threads.append(call)

    def turn(self) -> None:
        """Make the calls that have come in."""
        calls, self.from_threads = self.from_threads, []
        for call in calls:
            call()

    def start(self) -> None:
        """What a reactor does as it starts: it claims signals, and then makes its calls."""
        signal.signal(NUMBER, signal.SIG_IGN)
        for call, args, kwargs in self.whenRunningHooks:
            call(*args, **kwargs)


@pytest.fixture(autouse=True)
def _default_handler() -> Iterator[None]:
    before = signal.signal(NUMBER, signal.SIG_IGN)
    yield
    signal.signal(NUMBER, before)


def heard() -> None:
    os.kill(os.getpid(), NUMBER)


def on_signal(call: Callable[[], object], reactor: SignalReactor) -> OnSignal:
    service = OnSignal(NUMBER, call, cast("Reactor", reactor))
    service.startService()
    return service


def test_a_signal_leads_to_a_call_in_the_reactors_thread() -> None:
    calls: list[str] = []
    reactor = SignalReactor()
    on_signal(lambda: calls.append("call"), reactor)
    heard()
    assert calls == []
    reactor.turn()
    assert calls == ["call"]


def test_signals_in_a_row_are_one_call() -> None:
    calls: list[str] = []
    reactor = SignalReactor()
    on_signal(lambda: calls.append("call"), reactor)
    for _ in range(5):
        heard()
    reactor.turn()
    assert calls == ["call"]


def test_a_signal_during_the_call_leads_to_another_one() -> None:
    """The file may have changed after the first call has read it."""
    calls: list[str] = []
    reactor = SignalReactor()

    def call() -> None:
        calls.append("call")
        if len(calls) == 1:
            heard()

    on_signal(call, reactor)
    heard()
    reactor.turn()
    reactor.turn()
    assert calls == ["call", "call"]


def test_a_call_that_fails_does_not_make_it_deaf() -> None:
    reactor = SignalReactor()

    def fail() -> None:
        raise ZeroDivisionError

    on_signal(fail, reactor)
    for _ in range(2):
        heard()
        with pytest.raises(ZeroDivisionError):
            reactor.turn()


def test_the_signal_is_claimed_from_a_reactor_that_claims_it_as_it_starts() -> None:
    calls: list[str] = []
    reactor = SignalReactor()
    on_signal(lambda: calls.append("call"), reactor)
    reactor.start()
    heard()
    reactor.turn()
    assert calls == ["call"]


def test_a_stopped_service_gives_the_signal_back() -> None:
    calls: list[str] = []
    reactor = SignalReactor()
    service = on_signal(lambda: calls.append("call"), reactor)
    service.stopService()
    assert signal.getsignal(NUMBER) is signal.SIG_IGN
    reactor.start()
    heard()
    reactor.turn()
    assert calls == []
