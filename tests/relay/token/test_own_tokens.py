"""Tokens that are fetched here: as nobody, and with our own account."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from regroute.registry import Account, Mode, Registry, Terms, Visitors
from regroute.relay.token.demand import Bearer
from regroute.relay.token.grants import Denied
from regroute.relay.token.own_tokens import FAILURE_TIME, MARGIN, MOST, OwnTokens
from regroute.relay.token.scope import Scope, parse_scopes
from regroute.relay.upstream.ask import Question, Reply, Unreachable

from .asking import TokenRegistry, World, is_waiting, now

AUTH = "https://auth.example"
REALM = Bearer(AUTH, "/token", "hub")
BOT = Account("bot", "s3cret")
NOBODY = Registry("hub", "https://hub.example", "library", Terms(Mode.RELAY, Visitors.ANONYMOUS))
OURS = replace(NOBODY, terms=Terms(Mode.RELAY, BOT))
PULL = parse_scopes(["repository:a:pull"])
TOKEN = b"Bearer token-nobody-repository:library/a:pull"


class Bed:
    """Tokens of a realm that knows our account, whose password goes nowhere else."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.world = World({BOT.password: {AUTH}})
        self.registry = TokenRegistry(REALM.realm, "hub", {BOT.username: BOT.password})
        self.world.put(AUTH, self.registry.grant)
        self.tokens = OwnTokens(self.world.ask, self.clock)

    def get(
        self, registry: Registry = NOBODY, scopes: tuple[Scope, ...] = PULL, realm: Bearer = REALM
    ) -> bytes:
        """The value, whether it is at hand or asked for."""
        found = self.tokens.authorization(registry, realm, scopes)
        return now(found) if isinstance(found, Deferred) else found

    def count(self) -> int:
        """How many tokens have been asked for."""
        return len(self.world.questions)


@pytest.fixture
def bed() -> Bed:
    return Bed()


def test_a_token_is_asked_for_as_nobody_and_by_the_names_there(bed: Bed) -> None:
    assert bed.get() == TOKEN
    assert bed.world.asked(AUTH) == ["GET /token?service=hub&scope=repository:library/a:pull"]


def test_a_token_is_asked_for_with_our_account(bed: Bed) -> None:
    assert bed.get(OURS) == b"Bearer token-bot-repository:library/a:pull"


def test_a_token_at_hand_is_no_deferred(bed: Bed) -> None:
    bed.get()
    assert bed.tokens.authorization(NOBODY, REALM, PULL) == TOKEN
    assert bed.count() == 1


@pytest.mark.parametrize(
    "other",
    [
        {"registry": OURS},
        {"registry": replace(NOBODY, origin="https://other.example")},
        {"registry": replace(NOBODY, prefix="other")},
        {"realm": replace(REALM, target="/token?x=y")},
        {"scopes": parse_scopes(["repository:a:pull,push"])},
        {"scopes": parse_scopes(["repository:b:pull"])},
        {"scopes": parse_scopes(["repository:a:pull repository:b:pull"])},
        {"scopes": ()},
    ],
)
def test_a_token_is_for_one_registry_account_and_scope(bed: Bed, other: dict[str, object]) -> None:
    bed.get()
    bed.get(**other)  # type: ignore[arg-type]  # a table of arguments
    assert bed.count() == 2


def test_an_account_with_another_password_gets_no_token_of_the_old_one(bed: Bed) -> None:
    """As after a reload."""
    bed.get(OURS)
    wrong = replace(NOBODY, terms=Terms(Mode.RELAY, replace(BOT, password="0ther")))
    with pytest.raises(Unreachable):
        bed.get(wrong)


def test_many_who_need_it_ask_once(bed: Bed) -> None:
    bed.world.held[AUTH] = []
    waiting = [bed.tokens.authorization(NOBODY, REALM, PULL) for _ in range(5)]
    bed.world.release(AUTH)
    for each in waiting:
        assert isinstance(each, Deferred)
        assert now(each) == TOKEN
    assert bed.count() == 1


@pytest.mark.parametrize(
    ("life", "used_for"),
    [(300, 300 - MARGIN), (None, 60 - 6.0), (50, 45.0), (10, 9.0), (10**9, 86_400 - MARGIN)],
)
def test_a_token_is_used_until_shortly_before_it_expires(
    bed: Bed, life: object, used_for: float
) -> None:
    bed.registry.life = life
    bed.get()
    bed.clock.advance(used_for - 0.5)
    bed.get()
    assert bed.count() == 1
    bed.clock.advance(0.5)
    bed.get()
    assert bed.count() == 2


def test_a_tokens_life_begins_when_it_is_asked_for(bed: Bed) -> None:
    """The realm may be slow, and the token already old when it comes."""
    bed.registry.life = 100
    bed.world.held[AUTH] = []
    waiting = bed.tokens.authorization(NOBODY, REALM, PULL)
    bed.clock.advance(60)
    bed.world.release(AUTH)
    assert isinstance(waiting, Deferred)
    assert now(waiting) == TOKEN
    bed.clock.advance(30)
    bed.get()
    assert bed.count() == 2


def test_a_token_that_expires_at_once_is_good_for_those_who_wait(bed: Bed) -> None:
    bed.registry.life = 0
    assert bed.get() == bed.get() == TOKEN
    assert bed.count() == 2


def test_a_token_that_the_registry_calls_invalid_is_forgotten(bed: Bed) -> None:
    bed.get()
    bed.get(scopes=())
    bed.tokens.forget(b"Bearer another")
    bed.get()
    assert bed.count() == 2
    bed.tokens.forget(TOKEN)
    bed.get()
    bed.get(scopes=())
    assert bed.count() == 3


def test_a_token_is_at_hand_until_it_is_forgotten_or_old(bed: Bed) -> None:
    bed.registry.life = 100
    assert not bed.tokens.has(TOKEN)
    bed.get()
    assert bed.tokens.has(TOKEN)
    bed.clock.advance(20)
    bed.tokens.forget(TOKEN, 20.5)
    assert bed.tokens.has(TOKEN), "it is not of this age yet"
    bed.clock.advance(100 - MARGIN - 20)
    assert not bed.tokens.has(TOKEN)
    bed.get()
    bed.clock.advance(20)
    bed.tokens.forget(TOKEN, 20)
    assert not bed.tokens.has(TOKEN)


def test_only_so_many_are_remembered_and_those_in_use_the_longest(bed: Bed) -> None:
    bed.get()
    for number in range(MOST):
        bed.get(scopes=parse_scopes([f"repository:a{number}:pull"]))
        bed.get()
    assert bed.count() == MOST + 1
    bed.get(scopes=parse_scopes(["repository:a0:pull"]))
    assert bed.count() == MOST + 2


@pytest.mark.parametrize("status", [401, 403])
def test_what_nobody_gets_is_denied(bed: Bed, status: int) -> None:
    """No client can do anything about who asks here, so it is not asked to log in."""
    bed.world.put(AUTH, lambda question: Reply(status))
    for _ in range(2):
        with pytest.raises(Denied) as denied:
            bed.get()
        assert denied.value.status == 403
    assert bed.count() == 1, "and is not asked for again at once"
    bed.clock.advance(FAILURE_TIME)
    bed.world.put(AUTH, bed.registry.grant)
    assert bed.get() == TOKEN


def test_an_account_that_is_not_accepted_is_nobodys_fault_who_comes(bed: Bed) -> None:
    bed.registry.users = {}
    with pytest.raises(Unreachable, match="'hub' does not accept the account") as unreachable:
        bed.get(OURS)
    assert unreachable.value.status == 502


def test_what_our_account_may_not_do_is_denied(bed: Bed) -> None:
    bed.world.put(AUTH, lambda question: Reply(403))
    with pytest.raises(Denied) as denied:
        bed.get(OURS)
    assert denied.value.status == 403


@pytest.mark.parametrize(
    "place",
    [
        lambda question: Reply(500),
        lambda question: Reply(200, (), b"{}"),
        lambda question: Reply(302, ((b"location", b"https://evil.example/"),)),
    ],
)
def test_a_realm_that_makes_no_sense_is_left_alone_for_a_while(
    bed: Bed, place: Callable[[Question], Reply]
) -> None:
    bed.world.put(AUTH, place)
    for _ in range(2):
        with pytest.raises(Unreachable):
            bed.get()
    assert bed.count() == 1


def test_an_account_goes_to_the_realm_alone(bed: Bed) -> None:
    """Whatever the realm answers with: a redirect is not followed, a token not passed around."""
    body = json.dumps({"token": BOT.password}).encode()
    bed.world.put(AUTH, lambda question: Reply(307, ((b"location", b"https://evil/"),), body))
    with pytest.raises(Unreachable):
        bed.get(OURS)
    assert {question.origin for question in bed.world.questions} == {AUTH}


def test_at_the_end_nobody_is_asked(bed: Bed) -> None:
    bed.world.held[AUTH] = []
    waiting = bed.tokens.authorization(NOBODY, REALM, PULL)
    assert isinstance(waiting, Deferred)
    assert is_waiting(waiting)
    bed.tokens.stop()
    assert len(bed.world.cancelled) == 1
    with pytest.raises(CancelledError):
        now(waiting)
