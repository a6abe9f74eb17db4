"""The token endpoint: tokens for scopes, and what stands in their way."""

import json
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from regroute.answers import Answer
from regroute.relay.token.endpoint import LIFE, Caller
from regroute.relay.token.tokens import FrontToken, unwrap
from regroute.relay.upstream.ask import Reply

from .asking import BasicRegistry, TokenRegistry, authorization_of, basic_of, now
from .issuing import (
    ALICE,
    BOB,
    CAROL,
    GHCR,
    GHCR_AUTH,
    HUB,
    HUB_AUTH,
    OPEN,
    RULES,
    VAULT,
    Bed,
)


@pytest.fixture
def bed() -> Bed:
    return Bed()


# For a scope.


@pytest.mark.parametrize(
    ("authorization", "user"), [(None, "nobody"), (basic_of("alice", ALICE), "alice")]
)
def test_a_registrys_own_realm_is_asked_by_the_names_there(
    bed: Bed, authorization: str | None, user: str
) -> None:
    scope = "repository:postgres:pull,push"
    document = bed.grant(f"service=front.example&scope={scope}", authorization)
    there = "repository:library/postgres:pull,push"
    assert unwrap(document["token"]) == FrontToken(HUB, f"Bearer token-{user}-{there}")
    assert document["expires_in"] == 300
    assert document["issued_at"] == "2026-11-24T12:00:00Z"
    assert document["scope"] == scope
    account = "" if user == "nobody" else "&account=alice"
    expected = [f"GET /token?service=hub & co&scope={there}{account}"]
    assert bed.world.asked(HUB_AUTH) == expected
    assert bed.world.asked(HUB) == ["GET /v2/"]


def test_a_form_is_answered_as_a_query_is(bed: Bed) -> None:
    scope = "repository:a:pull repository:b:pull"
    form = {"grant_type": "password", "username": "alice", "password": ALICE, "scope": scope}
    there = "repository:library/a:pull+repository:library/b:pull"
    assert bed.token(form=form) == FrontToken(HUB, f"Bearer token-alice-{there}")


def test_credentials_that_a_realm_refuses_are_refused(bed: Bed) -> None:
    """Nobody is silently anonymous, not even where that would do."""
    status, message = bed.refusal("scope=repository:a:pull", basic_of("alice", "0ther"))
    assert (status, message) == (401, "the credentials are not accepted by 'hub'")
    assert len(bed.world.asked(HUB_AUTH)) == 1


def test_who_has_to_log_in_is_told_so(bed: Bed) -> None:
    status, message = bed.refusal("scope=repository:ghcr/a:pull")
    assert (status, message) == (401, "the registry 'ghcr' wants to know who you are: log in")
    assert bed.token("scope=repository:ghcr/a:pull", basic_of("carol", CAROL)).origin == GHCR


@pytest.mark.parametrize("authorization", [None, basic_of("carol", CAROL)])
def test_nobody_is_told_to_log_in_where_no_login_goes(bed: Bed, authorization: str | None) -> None:
    bed.use(RULES, login=["vault"])
    assert bed.refusal("scope=repository:ghcr/a:pull", authorization) == (
        401,
        "the registry 'ghcr' wants to know who you are, and logins here are for others",
    )
    assert bed.credentials() == []


def test_a_password_is_wrapped_when_its_registry_has_accepted_it(bed: Bed) -> None:
    right = basic_of("bob", BOB)
    document = bed.grant("scope=repository:vault/a:pull", right)
    assert unwrap(document["token"]) == FrontToken(VAULT, right)
    assert document["expires_in"] == LIFE
    assert bed.refusal("scope=repository:vault/a:pull", basic_of("bob", "0ther"))[0] == 401
    assert bed.refusal("scope=repository:vault/a:pull")[0] == 401
    assert bed.credentials() == [(VAULT, right), (VAULT, basic_of("bob", "0ther"))]


@pytest.mark.parametrize("authorization", [None, basic_of("alice", ALICE)])
@pytest.mark.parametrize("repository", ["open/a", "plain/a", "ours/a"])
def test_where_no_credentials_are_needed_none_go_and_the_token_is_for_nothing(
    bed: Bed, repository: str, authorization: str | None
) -> None:
    assert bed.token(f"scope=repository:{repository}:pull", authorization) == FrontToken()
    assert bed.credentials() == []


def test_a_rules_denial_comes_in_its_own_words(bed: Bed) -> None:
    answer = bed.ask("scope=repository:secret/a:pull")
    assert (answer.status, answer.rule, answer.reason) == (403, "secret", None)
    assert bed.refusal("scope=repository:secret/a:pull")[1] == "not for you"
    assert bed.world.questions == []


def test_a_token_for_two_registries_is_refused(bed: Bed) -> None:
    scopes = "scope=repository:a:pull&scope=repository:ghcr/b:pull"
    status, message = bed.refusal(scopes, basic_of("alice", ALICE))
    assert status == 403
    assert "'a' is at 'hub'" in message
    assert "'ghcr/b' is at 'ghcr'" in message
    assert bed.world.questions == []


def test_a_mount_from_another_registry_becomes_an_upload(bed: Bed) -> None:
    """The token is for where the blob goes; for where it would come from it is not asked."""
    scopes = "scope=repository:ghcr/a:pull,push&scope=repository:b:pull"
    document = bed.grant(scopes, basic_of("carol", CAROL))
    assert document["scope"] == "repository:ghcr/a:pull,push"
    assert bed.world.asked(HUB_AUTH) == []


def test_a_mirrors_client_says_which_registry_it_means(bed: Bed) -> None:
    carol = basic_of("carol", CAROL)
    assert bed.token("ns=ghcr.example&scope=repository:a:pull", carol).origin == GHCR
    assert bed.token("ns=docker.io&scope=repository:a:pull").origin == HUB


def test_the_catalog_has_a_scope(bed: Bed) -> None:
    token = bed.token("scope=registry:catalog:*")
    assert token == FrontToken(HUB, "Bearer token-nobody-registry:catalog:*")


# Registries and realms at fault.


@pytest.mark.parametrize(
    ("origin", "reply", "status", "words"),
    [
        (HUB, Reply(500), 502, "answers its API check with 500"),
        (HUB, Reply(401), 502, "without a challenge that is known here"),
        (
            HUB,
            Reply(401, ((b"www-authenticate", b'Bearer realm="https://169.254.169.254/"'),)),
            502,
            "not gone to",
        ),
        (HUB_AUTH, Reply(500), 502, "the realm of 'hub' answers 500"),
        (HUB_AUTH, Reply(307, ((b"location", b"https://evil.example/"),)), 502, "answers 307"),
        (HUB_AUTH, Reply(200, (), b"<html>"), 502, "something else than JSON"),
        (HUB_AUTH, Reply(200, (), b'{"token":""}'), 502, "no token"),
        (HUB_AUTH, Reply(200, (), b'{"token":"%s"}' % (b"x" * 40_000)), 502, "too long a token"),
        (HUB_AUTH, Reply(429), 429, "too many tokens"),
        (HUB_AUTH, Reply(403), 403, "grants nothing"),
    ],
)
def test_a_fault_elsewhere_is_told_and_no_token_given(
    bed: Bed, origin: str, reply: Reply, status: int, words: str
) -> None:
    bed.world.put(origin, lambda question: reply)
    found, message = bed.refusal("scope=repository:a:pull", basic_of("alice", ALICE))
    assert found == status
    assert words in message
    assert bed.ask("scope=repository:a:pull").registry == "hub"
    assert {question.origin for question in bed.world.questions} <= {HUB, HUB_AUTH}


@pytest.mark.parametrize(
    ("reply", "status"),
    [(Reply(403), 403), (Reply(429), 429), (Reply(503), 502), (Reply(307), 502)],
)
def test_a_password_is_not_wrapped_unless_it_is_welcome(
    bed: Bed, reply: Reply, status: int
) -> None:
    bob, vault = basic_of("bob", BOB), BasicRegistry({})
    bed.world.put(VAULT, lambda each: reply if authorization_of(each) == bob else vault(each))
    assert bed.refusal("scope=repository:vault/a:pull", bob)[0] == status
    assert bed.told == ([("vault", status)] if status == 502 else [])


@pytest.mark.parametrize(
    "line",
    [b'Basic realm="x"', b'Bearer realm="https://auth.hub.example/token",service="hub & co"'],
)
def test_who_names_nobody_gets_an_empty_token_where_only_some_are_asked(
    bed: Bed, line: bytes
) -> None:
    """What such a registry has for everyone is to be had on; whoever names himself is judged."""
    wanted = "scope=repository:open/a:pull"
    assert bed.token(wanted).authorization is None
    there = next(each for each in bed.rules.registries if each.name == "open")
    bed.learn.contradict(there, [line])
    bed.world.put(HUB_AUTH, lambda question: Reply(401))
    bed.world.put(OPEN, BasicRegistry({}))
    assert bed.token(wanted).authorization is None
    assert bed.refusal(wanted, basic_of("bob", "gue55"))[0] == 401


def test_a_registry_that_begins_to_want_tokens_is_believed(bed: Bed) -> None:
    bob = basic_of("bob", BOB)
    assert bed.token("scope=repository:vault/a:pull", bob).origin == VAULT
    bed.clock.advance(10)
    bed.world.put(VAULT, TokenRegistry(f"{GHCR_AUTH}/token", "ghcr"))
    line = f'Bearer realm="{GHCR_AUTH}/token",service="ghcr"'.encode()
    bed.world.put(VAULT, lambda question: Reply(401, ((b"www-authenticate", line),)))
    assert bed.refusal("scope=repository:vault/a:pull", bob)[0] == 401
    carol = basic_of("carol", CAROL)
    assert bed.token("scope=repository:vault/a:pull", carol).authorization is not None


# What is asked in another way.


@pytest.mark.parametrize(
    ("status", "more"),
    [
        (405, {"method": "PUT"}),
        (405, {"method": "HEAD"}),
        (400, {"query": "scope=garbage"}),
        (400, {"authorization": "Basic !"}),
        (400, {"form": {"grant_type": "client_credentials"}}),
        (400, {"query": "scope=repository:a:pull", "host": "a b"}),
    ],
)
def test_what_is_no_request_is_refused(bed: Bed, status: int, more: dict[str, Any]) -> None:
    answer = bed.ask(**more)
    assert answer.status == status
    assert answer.reason is not None
    assert (b"Allow" in dict(answer.fields)) == (status == 405)
    assert json.loads(answer.body)["errors"]
    assert bed.world.questions == []


def test_an_absolute_target_names_the_host() -> None:
    bed = Bed()
    bed.use(RULES.replace("namespace: ghcr.example", "host: ghcr.front"))

    def ask(target: bytes) -> Answer:
        caller = Caller(IPv4Address("192.0.2.1"), "GET", target, lambda name: [])
        return now(bed.endpoint.answer(bed.rules, (), caller))

    assert ask(b"http://ghcr.front/token?scope=repository:a:pull").registry is not None
    assert ask(b"http://ghcr.front/token?scope=repository:a:pull").status == 401
    assert ask(b"http://hub.front/token?scope=repository:a:pull").status == 200


def test_a_client_that_goes_away_asks_no_more(bed: Bed) -> None:
    bed.world.held[HUB_AUTH] = []
    waiting = bed.begin("scope=repository:a:pull")
    waiting.cancel()
    with pytest.raises(CancelledError):
        now(waiting)
    assert [question.origin for question in bed.world.cancelled] == [HUB_AUTH]


def test_many_clients_are_served_at_once(bed: Bed) -> None:
    """Each with his own token: only what a registry wants is shared."""
    bed.world.held[HUB] = []
    users = [None, basic_of("alice", ALICE), basic_of("alice", "0ther")]
    waiting = [bed.begin("scope=repository:a:pull", user) for user in users]
    bed.world.release(HUB)
    assert [now(each).status for each in waiting] == [200, 200, 401]
    assert len(bed.world.asked(HUB)) == 1
    assert len(bed.world.asked(HUB_AUTH)) == 3


@pytest.mark.parametrize(
    "show",
    [
        lambda caller: repr(caller),
        lambda caller: str(caller),
    ],
)
def test_secrets_are_not_shown(show: Callable[[Caller], str]) -> None:
    fields = {b"authorization": [basic_of("alice", ALICE).encode()]}
    caller = Caller(
        IPv4Address("192.0.2.1"), "POST", b"/token", lambda name: fields.get(name, []), b"password"
    )
    assert "password" not in show(caller)
    assert ALICE not in show(caller)
