"""The token endpoint: logins, and the refresh tokens that come of them."""

import pytest

from regroute.answers import Reason
from regroute.relay.token.endpoint import LIFE
from regroute.relay.token.tokens import (
    FrontRefresh,
    FrontToken,
    unwrap,
    unwrap_refresh,
    wrap_refresh,
)
from regroute.relay.upstream.ask import Question, Reply, Unreachable

from .asking import basic_of
from .issuing import (
    ALICE,
    BOB,
    CAROL,
    GHCR,
    GHCR_AUTH,
    HUB,
    HUB_AUTH,
    OURS,
    PLAIN,
    RULES,
    VAULT,
    Bed,
)


@pytest.fixture
def bed() -> Bed:
    return Bed()


# Logins.


def test_nobody_in_particular_gets_a_token_for_nothing(bed: Bed) -> None:
    document = bed.grant("service=front.example")
    assert unwrap(document["token"]) == FrontToken()
    assert document["expires_in"] == LIFE
    assert bed.world.questions == []


@pytest.mark.parametrize(
    ("authorization", "origin", "shown"),
    [
        (basic_of("alice", ALICE), HUB, [HUB_AUTH]),
        (basic_of("carol", CAROL), GHCR, [HUB_AUTH, GHCR_AUTH]),
        (basic_of("bob", BOB), VAULT, [HUB_AUTH, GHCR_AUTH, VAULT]),
    ],
)
def test_a_login_is_tried_until_one_registry_accepts_it(
    bed: Bed, authorization: str, origin: str, shown: list[str]
) -> None:
    """At the one of the API check first, and at none that asks nobody or has our account."""
    assert bed.token("", authorization).origin == origin
    assert bed.credentials() == [(place, authorization) for place in shown]
    assert bed.world.asked(PLAIN) == bed.world.asked(OURS) == []


def test_a_login_that_no_registry_accepts_is_refused(bed: Bed) -> None:
    status, message = bed.refusal("", basic_of("alice", "0ther"))
    assert (status, message) == (
        401,
        "the credentials are not accepted by 'hub', 'ghcr', 'vault'",
    )
    assert bed.ask("", basic_of("alice", "0ther")).reason is Reason.LOGIN


def test_a_login_goes_nowhere_else_than_where_the_configuration_says() -> None:
    bed = Bed({BOB: {VAULT}, "0ther": {VAULT}})
    bed.use(RULES, login=["vault"])
    assert bed.token("", basic_of("bob", BOB)).origin == VAULT
    assert bed.refusal("", basic_of("bob", "0ther"))[0] == 401
    token = bed.token("scope=repository:a:pull", basic_of("bob", BOB))
    assert token == FrontToken(HUB, "Bearer token-nobody-repository:library/a:pull")
    form = refreshing(wrap_refresh(HUB, "refresh-alice"))
    assert bed.token(form=form) == token


@pytest.mark.parametrize(
    "rules",
    [
        "rules: [{client: 192.0.2.1, to: ours}]",
        "rules: [{to: open}]",
        'rules: [{to: "https://plain.example"}]',
    ],
)
def test_where_no_login_is_needed_it_is_refused_in_so_many_words(bed: Bed, rules: str) -> None:
    """Nobody can say whether it is right, so nobody must say that it is."""
    bed.use(RULES.partition("rules:")[0] + rules)
    status, message = bed.refusal("", basic_of("alice", ALICE))
    assert (status, message) == (
        401,
        "no login is needed: no registry here asks clients for one",
    )
    assert bed.credentials() == []


@pytest.mark.parametrize("away", [HUB, HUB_AUTH])
def test_a_login_that_could_not_be_tried_everywhere_is_not_called_wrong(
    bed: Bed, away: str
) -> None:
    def nobody(question: Question) -> Reply:
        raise Unreachable(504, "took too long")

    bed.world.put(away, nobody)
    assert bed.refusal("", basic_of("alice", "0ther")) == (504, "took too long")
    assert bed.told == [("hub", 504)]
    assert bed.token("", basic_of("bob", BOB)).origin == VAULT, "but where it is right it is"


def test_a_login_that_is_tried_too_often_is_tried_no_further(bed: Bed) -> None:
    bed.world.put(HUB_AUTH, lambda question: Reply(429))
    assert bed.refusal("", basic_of("bob", BOB))[0] == 429
    assert bed.credentials() == [(HUB_AUTH, basic_of("bob", BOB))]


# Refresh tokens.


@pytest.mark.parametrize("scope", ["", "scope=repository:a:pull&"])
def test_a_refresh_token_is_wrapped_for_its_registry(bed: Bed, scope: str) -> None:
    document = bed.grant(f"{scope}offline_token=true", basic_of("alice", ALICE))
    assert unwrap_refresh(document["refresh_token"]) == FrontRefresh(HUB, "refresh-alice")
    assert "refresh_token" not in bed.grant(scope, basic_of("alice", ALICE))


def test_a_form_asks_for_one_by_its_access_type(bed: Bed) -> None:
    form = {"grant_type": "password", "username": "alice", "password": ALICE}
    assert "refresh_token" in bed.grant(form={**form, "access_type": "offline"})
    assert "refresh_token" not in bed.grant(form=form)


def refreshing(token: str, scope: str = "repository:a:pull") -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": token, "scope": scope}


def test_a_refresh_token_is_used_where_it_is_from(bed: Bed) -> None:
    bed = Bed({"refresh-alice": {HUB_AUTH}})
    token = bed.token(form=refreshing(wrap_refresh(HUB, "refresh-alice")))
    assert token == FrontToken(HUB, "Bearer token-alice-repository:library/a:pull")
    assert bed.world.asked(HUB_AUTH) == ["POST /token"]


def test_elsewhere_its_owner_is_nobody() -> None:
    bed = Bed({"refresh-carol": {GHCR_AUTH}})
    form = refreshing(wrap_refresh(GHCR, "refresh-carol"))
    assert bed.token(form=form) == FrontToken(HUB, "Bearer token-nobody-repository:library/a:pull")
    scope = "repository:vault/a:pull"
    assert bed.refusal(form=refreshing(wrap_refresh(GHCR, "refresh-carol"), scope))[0] == 401


@pytest.mark.parametrize("scope", ["", "repository:a:pull"])
@pytest.mark.parametrize(
    "token", ["garbage", wrap_refresh(HUB, "refresh-revoked"), wrap_refresh(HUB, "refresh-mallory")]
)
def test_a_refresh_token_that_is_not_good_any_more_is_refused(
    bed: Bed, token: str, scope: str
) -> None:
    assert bed.refusal(form=refreshing(token, scope))[0] == 401


def test_a_token_for_requests_is_no_refresh_token(bed: Bed) -> None:
    access = bed.grant("scope=repository:a:pull", basic_of("alice", ALICE))["token"]
    assert bed.refusal(form=refreshing(access))[0] == 401


def test_a_login_by_refresh_token_goes_where_it_is_from() -> None:
    bed = Bed({"refresh-carol": {GHCR_AUTH}})
    token = bed.token(form=refreshing(wrap_refresh(GHCR, "refresh-carol"), ""))
    assert token == FrontToken(GHCR, "Bearer token-carol-")
    assert bed.world.asked(HUB_AUTH) == []
