"""What registries ask for: learned, remembered, and learned anew."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from regroute.registry import Mode, Registry, Terms
from regroute.relay.token.demand import Basic, Bearer, Open, Unusable
from regroute.relay.token.learn import (
    CONTRADICTION_TIME,
    FAILURE_TIME,
    FRESH_TIME,
    LOOK_TIME,
    Learn,
)
from regroute.relay.upstream.ask import Question, Reply, Unreachable

from .asking import World, is_waiting, now, open_registry

HUB = Registry("hub", "https://hub.example", "library", Terms(Mode.RELAY))
AUTO = Registry("auto", "https://AUTO.example:443", "", Terms(Mode.AUTO))
AUTO_ORIGIN = "https://auto.example"
REALM = Bearer("https://auth.example", "/token", "hub")
CHALLENGE = b'Bearer realm="https://auth.example/token",service="hub"'


def answering(status: int, *lines: bytes) -> Callable[[Question], Reply]:
    """A registry that answers its API check so."""
    return lambda question: Reply(status, tuple((b"www-authenticate", line) for line in lines))


class Bed:
    """What is learned in a world of two registries; `told` are the origins that are open."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.world = World({})
        self.told: list[set[str]] = []
        self.learn = Learn(self.world.ask, self.clock, lambda found: self.told.append(set(found)))
        self.learn.follow([HUB, AUTO])

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps, as it does."""
        self.clock.pump([1.0] * int(seconds))


@pytest.fixture
def bed() -> Bed:
    return Bed()


@pytest.mark.parametrize(
    ("reply", "demand"),
    [
        (answering(200), Open()),
        (answering(404), Open(is_certain=False)),
        (answering(401, CHALLENGE), REALM),
        (answering(401, b"Basic realm=x"), Basic()),
    ],
)
def test_a_registry_is_asked_once_for_what_it_wants(
    bed: Bed, reply: Callable[[Question], Reply], demand: object
) -> None:
    bed.world.put(HUB.origin, reply)
    assert bed.learn.known(HUB) is None
    assert now(bed.learn.demand(HUB)) == now(bed.learn.demand(HUB)) == demand
    assert bed.learn.known(HUB) == demand
    assert bed.world.asked(HUB.origin) == ["GET /v2/"]


def test_many_who_want_to_know_ask_once(bed: Bed) -> None:
    bed.world.put(HUB.origin, answering(401, CHALLENGE))
    bed.world.held[HUB.origin] = []
    waiting = [bed.learn.demand(HUB) for _ in range(5)]
    assert all(is_waiting(each) for each in waiting)
    bed.world.release(HUB.origin)
    assert [now(each) for each in waiting] == [REALM] * 5
    assert len(bed.world.questions) == 1


def test_what_is_no_longer_fresh_counts_while_it_is_asked_anew(bed: Bed) -> None:
    bed.world.put(HUB.origin, answering(200))
    now(bed.learn.demand(HUB))
    bed.world.put(HUB.origin, answering(401, CHALLENGE))
    bed.clock.advance(FRESH_TIME - 1)
    assert bed.learn.known(HUB) == Open()
    bed.clock.advance(1)
    bed.world.held[HUB.origin] = []
    assert bed.learn.known(HUB) == now(bed.learn.demand(HUB)) == Open()
    bed.world.release(HUB.origin)
    assert bed.learn.known(HUB) == REALM
    assert len(bed.world.questions) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_says_nothing_is_left_alone_for_a_while(bed: Bed, status: int) -> None:
    bed.world.put(HUB.origin, answering(status))
    for _ in range(2):
        with pytest.raises(Unreachable, match=f"'hub' answers its API check with {status}"):
            now(bed.learn.demand(HUB))
    assert len(bed.world.questions) == 1
    assert bed.learn.known(HUB) is None
    bed.clock.advance(FAILURE_TIME)
    bed.world.put(HUB.origin, answering(200))
    assert now(bed.learn.demand(HUB)) == Open()


def test_who_is_not_there_is_told_as_it_is(bed: Bed) -> None:
    with pytest.raises(Unreachable) as unreachable:
        now(bed.learn.demand(HUB))
    assert unreachable.value.status == 504


def test_what_was_learned_outlives_a_registry_that_is_away(bed: Bed) -> None:
    bed.world.put(HUB.origin, answering(401, CHALLENGE))
    now(bed.learn.demand(HUB))
    bed.world.put(HUB.origin, answering(503))
    bed.clock.advance(FRESH_TIME)
    for _ in range(3):
        assert now(bed.learn.demand(HUB)) == REALM
    assert len(bed.world.questions) == 2, "once more, and then not for a while"
    bed.clock.advance(FAILURE_TIME)
    assert bed.learn.known(HUB) == REALM
    assert len(bed.world.questions) == 3


def test_a_401_contradicts_that_nobody_is_asked(bed: Bed) -> None:
    """Some registries are open at their API check and at some repositories only."""
    bed.world.put(HUB.origin, open_registry)
    now(bed.learn.demand(HUB))
    bed.learn.contradict(HUB, [CHALLENGE])
    some = replace(REALM, asks_all=False)
    assert bed.learn.known(HUB) == some
    bed.clock.advance(CONTRADICTION_TIME - 1)
    assert bed.learn.known(HUB) == some
    bed.learn.contradict(HUB, [CHALLENGE])
    assert bed.learn.known(HUB) == some, "whatever the API check has said meanwhile"
    assert len(bed.world.questions) == 2
    bed.clock.advance(FRESH_TIME)
    bed.learn.known(HUB)
    assert bed.learn.known(HUB) == Open()


def test_a_registry_that_has_come_to_ask_all_says_so_at_its_api_check(bed: Bed) -> None:
    bed.world.put(HUB.origin, open_registry)
    now(bed.learn.demand(HUB))
    bed.world.put(HUB.origin, answering(401, CHALLENGE))
    bed.learn.contradict(HUB, [CHALLENGE])
    bed.clock.advance(FRESH_TIME)
    bed.learn.known(HUB)
    assert bed.learn.known(HUB) == REALM


@pytest.mark.parametrize("lines", [[], [b"Negotiate"], [b'Bearer realm="http://127.0.0.1/"']])
def test_a_401_that_nobody_can_follow_contradicts_nothing(bed: Bed, lines: list[bytes]) -> None:
    """One odd page must not close a whole registry."""
    bed.world.put(HUB.origin, open_registry)
    now(bed.learn.demand(HUB))
    bed.learn.contradict(HUB, lines)
    assert bed.learn.known(HUB) == Open()


def test_another_realm_than_the_known_one_is_an_occasion_to_ask(bed: Bed) -> None:
    bed.world.put(HUB.origin, answering(401, CHALLENGE))
    now(bed.learn.demand(HUB))
    bed.clock.advance(FAILURE_TIME)
    bed.learn.contradict(HUB, [CHALLENGE])
    assert len(bed.world.questions) == 1
    moved = CHALLENGE.replace(b"auth.", b"moved.")
    bed.world.put(HUB.origin, answering(401, moved))
    bed.learn.contradict(HUB, [moved])
    assert bed.learn.known(HUB) == Bearer("https://moved.example", "/token", "hub")
    bed.learn.contradict(HUB, [CHALLENGE])
    assert len(bed.world.questions) == 2, "it has just been asked"


def test_who_has_not_been_asked_is_not_contradicted(bed: Bed) -> None:
    bed.learn.contradict(HUB, [CHALLENGE])
    assert bed.learn.known(HUB) is None


def test_a_hostile_realm_is_told_once_in_the_log(bed: Bed, logged: list[str]) -> None:
    bed.world.put(HUB.origin, answering(401, b'Bearer realm="http://hub.example/token"'))
    assert isinstance(now(bed.learn.demand(HUB)), Unusable)
    bed.clock.advance(FRESH_TIME)
    bed.learn.known(HUB)
    assert len(bed.world.questions) == 2
    [line] = logged
    assert line.startswith("warn: the registry 'hub' sends clients to a realm that is not gone to")


def test_a_registry_that_asks_for_nothing_of_use_is_asked_again_soon(bed: Bed) -> None:
    """As while the one that it knows its clients by is away, and it has no challenge to give."""
    bed.world.put(HUB.origin, answering(401))
    assert isinstance(now(bed.learn.demand(HUB)), Unusable)
    bed.world.put(HUB.origin, answering(401, CHALLENGE))
    bed.clock.advance(FAILURE_TIME - 1)
    assert isinstance(now(bed.learn.demand(HUB)), Unusable)
    bed.clock.advance(1)
    bed.learn.known(HUB)
    assert now(bed.learn.demand(HUB)) == REALM


# The registries that redirects depend on.


def test_those_in_auto_mode_are_asked_without_an_occasion(bed: Bed) -> None:
    bed.world.put(AUTO_ORIGIN, answering(200))
    bed.learn.startService()
    assert bed.told == [{AUTO.origin}], "as the rules write it"
    assert bed.learn.open == {AUTO.origin}
    bed.pass_time(2 * FRESH_TIME)
    assert bed.world.asked(HUB.origin) == []
    assert 2 <= len(bed.world.asked(AUTO_ORIGIN)) <= 4
    bed.world.put(AUTO_ORIGIN, answering(401, CHALLENGE))
    bed.pass_time(FRESH_TIME)
    assert bed.told == [{AUTO.origin}, set()]
    bed.learn.stopService()
    assert bed.clock.getDelayedCalls() == []


@pytest.mark.parametrize("reply", [answering(404), answering(403), answering(401, b"Basic")])
def test_only_one_that_welcomes_the_question_is_open(
    bed: Bed, reply: Callable[[Question], Reply]
) -> None:
    bed.world.put(AUTO_ORIGIN, reply)
    bed.learn.startService()
    assert now(bed.learn.demand(AUTO)) is not None
    assert bed.told == []
    bed.learn.stopService()


def test_one_that_is_away_at_first_is_found_when_it_comes(bed: Bed) -> None:
    bed.learn.startService()
    bed.world.put(AUTO_ORIGIN, answering(200))
    bed.pass_time(LOOK_TIME)
    assert bed.told == [{AUTO.origin}]
    bed.learn.stopService()


def test_one_that_is_away_later_stays_open(bed: Bed) -> None:
    bed.world.put(AUTO_ORIGIN, answering(200))
    bed.learn.startService()
    bed.world.put(AUTO_ORIGIN, answering(503))
    bed.pass_time(2 * FRESH_TIME)
    assert bed.learn.open == {AUTO.origin}
    bed.learn.stopService()


def test_a_401_closes_it_at_once(bed: Bed) -> None:
    bed.world.put(AUTO_ORIGIN, answering(200))
    bed.learn.startService()
    bed.learn.contradict(AUTO, [b"Basic realm=x"])
    assert bed.told == [{AUTO.origin}, set()]
    bed.pass_time(2 * FRESH_TIME)
    assert bed.told == [{AUTO.origin}, set()]
    bed.learn.stopService()


def test_a_reload_forgets_the_others_and_asks_the_new_ones(bed: Bed) -> None:
    bed.world.put(AUTO_ORIGIN, answering(200))
    bed.world.put(HUB.origin, answering(200))
    bed.learn.startService()
    now(bed.learn.demand(HUB))
    new = Registry("new", HUB.origin, "", Terms(Mode.AUTO))
    bed.learn.follow([new])
    assert bed.told == [{AUTO.origin}, {HUB.origin}], "which is known already"
    assert bed.learn.known(AUTO) is None
    bed.learn.follow([])
    assert bed.learn.open == set()
    bed.learn.stopService()


def test_at_the_end_nobody_is_asked(bed: Bed) -> None:
    bed.world.held[AUTO_ORIGIN] = []
    bed.world.held[HUB.origin] = []
    bed.learn.startService()
    waiting = bed.learn.demand(HUB)
    bed.learn.stopService()
    assert len(bed.world.cancelled) == 2
    with pytest.raises(CancelledError):
        now(waiting)
