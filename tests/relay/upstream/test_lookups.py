"""Names are looked up in threads of their own, one question for all who have it."""

import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import Queue

import pytest
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorFromThreads,
    IResolutionReceiver,
)
from zope.interface import implementer
from zope.interface.verify import verifyObject

from regroute.relay.upstream.lookups import Lookups, system

from .loops import PATIENCE


@implementer(IReactorFromThreads)
class Turns:
    """What threads want to be done by the test."""

    def __init__(self) -> None:
        self._due: Queue[Callable[[], object]] = Queue()

    def callFromThread(
        self,
        callable: Callable[..., object],  # noqa: A002  # the interface's name
        *args: object,
        **kwargs: object,
    ) -> None:
        """Leave something to be done."""
        assert threading.current_thread() is not threading.main_thread()
        self._due.put(partial(callable, *args, **kwargs))

    def turn(self) -> None:
        """Do the next thing that a thread leaves."""
        self._due.get(timeout=PATIENCE)()


@implementer(IResolutionReceiver)
class Receiver:
    """Who asks; it writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.resolution: IHostResolution | None = None

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N803  # the interface's name
        """It has begun."""
        self.resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        """One address more."""
        self.told.append((type(address).__name__, *vars_of(address)))

    def resolutionComplete(self) -> None:
        """These are all."""
        self.told.append("all")

    def cancel(self) -> None:
        """Wait no more."""
        assert self.resolution is not None
        self.resolution.cancel()


def vars_of(address: IAddress) -> tuple[str, int]:
    return getattr(address, "host"), getattr(address, "port")  # noqa: B009  # of two classes


class Book:
    """Finds addresses when it is let go on."""

    def __init__(self, **known: Sequence[str]) -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self._known = known

    def look_up(self, name: str) -> Sequence[str]:
        """Find them."""
        self.asked.append(name)
        assert self.go_on.wait(PATIENCE)
        return self._known.get(name, ())


def ask(lookups: Lookups, name: str, port: int = 443) -> Receiver:
    receiver = Receiver()
    lookups.resolveHostName(receiver, name, port)
    return receiver


def test_it_is_what_twisted_says() -> None:
    lookups = Lookups(Turns())
    assert verifyObject(IHostnameResolver, lookups)
    receiver = Receiver()
    waiting = lookups.resolveHostName(receiver, "localhost", 80)
    assert verifyObject(IHostResolution, waiting)
    assert receiver.resolution is waiting


def test_addresses_are_told_in_their_order_and_not_at_once() -> None:
    turns, book = Turns(), Book(r=["2001:db8::1", "192.0.2.1"])
    receiver = ask(Lookups(turns, book.look_up), "r", 5000)
    book.go_on.set()
    assert receiver.told == []
    turns.turn()
    assert receiver.told == [
        ("IPv6Address", "2001:db8::1", 5000),
        ("IPv4Address", "192.0.2.1", 5000),
        "all",
    ]


def test_a_name_without_addresses_has_none() -> None:
    turns, book = Turns(), Book()
    receiver = ask(Lookups(turns, book.look_up), "r")
    book.go_on.set()
    turns.turn()
    assert receiver.told == ["all"]


def test_all_who_ask_at_the_same_time_ask_once() -> None:
    turns, book = Turns(), Book(r=["192.0.2.1"], s=["192.0.2.2"])
    lookups = Lookups(turns, book.look_up)
    receivers = [ask(lookups, "r", port) for port in range(1000)]
    other = ask(lookups, "s")
    receivers[7].cancel()
    book.go_on.set()
    turns.turn()
    turns.turn()
    assert sorted(book.asked) == ["r", "s"]
    told = [receiver.told for receiver in receivers]
    assert told.pop(7) == []
    assert told == [
        [("IPv4Address", "192.0.2.1", port), "all"] for port in range(1000) if port != 7
    ]
    assert other.told[-1] == "all"
    # What has been told is not remembered: it may change at any time.
    again = ask(lookups, "r")
    turns.turn()
    assert len(again.told) == 2
    assert book.asked.count("r") == 2


class Impatient(Receiver):
    """Who takes the first address that comes."""

    def addressResolved(self, address: IAddress) -> None:
        """One address more."""
        super().addressResolved(address)
        self.cancel()


def test_who_waits_no_more_in_between_is_told_nothing_more() -> None:
    turns, book = Turns(), Book(r=["192.0.2.1", "192.0.2.2"])
    receiver = Impatient()
    Lookups(turns, book.look_up).resolveHostName(receiver, "r", 1)
    book.go_on.set()
    turns.turn()
    assert receiver.told == [("IPv4Address", "192.0.2.1", 1)]


def test_a_name_whose_servers_are_silent_holds_up_no_other() -> None:
    turns = Turns()
    silent = threading.Event()

    def look_up(name: str) -> Sequence[str]:
        if name.startswith("silent"):
            silent.wait(PATIENCE)
        return ["192.0.2.1"]

    lookups = Lookups(turns, look_up)
    waiting = [ask(lookups, f"silent{number}") for number in range(50)]
    receiver = ask(lookups, "r")
    turns.turn()
    assert receiver.told[-1] == "all"
    assert all(each.told == [] for each in waiting)
    silent.set()


@pytest.mark.parametrize("name", ["nobody.invalid", "a..b", "x" * 64 + ".invalid"])
def test_what_the_system_does_not_know_has_no_address(name: str) -> None:
    assert system(name) == ()


def test_the_system_knows_this_host() -> None:
    addresses = system("localhost")
    assert set(addresses) <= {"127.0.0.1", "::1"}
    assert len(addresses) == len(set(addresses)) > 0
    assert system("127.0.0.2") == ("127.0.0.2",)
    assert socket.gethostbyname("localhost") in addresses
