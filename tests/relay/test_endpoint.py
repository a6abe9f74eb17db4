"""The token endpoint, before a world of registries of every kind of auth."""

import json
from collections.abc import Callable, Collection, Sequence
from ipaddress import IPv4Address
from typing import Any
from urllib.parse import urlencode

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from regroute.answers import Answer, Reason
from regroute.relay.ask import Question, Reply, Unreachable
from regroute.relay.endpoint import LIFE, Caller, Endpoint
from regroute.relay.learn import Learn
from regroute.relay.tokens import FrontRefresh, FrontToken, unwrap, unwrap_refresh, wrap_refresh

from ..making import checked
from .asking import (
    FORM,
    BasicRegistry,
    TokenRegistry,
    World,
    authorization_of,
    basic_of,
    now,
    open_registry,
)

HUB, GHCR, VAULT = "https://hub.example", "https://ghcr.example", "https://vault.example"
OPEN, OURS, PLAIN = "https://open.example", "https://ours.example", "https://plain.example"
HUB_AUTH, GHCR_AUTH = "https://auth.hub.example", "https://ghcr.example"

ALICE, BOB, CAROL = "al1ce-secret", "b0b-secret", "car0l-secret"
"""Passwords: Alice's account is at hub, Bob's at the vault, Carol's at ghcr."""

RULES = """
registries:
  hub: {url: "https://hub.example/library", mode: relay}
  ghcr: {url: "https://ghcr.example", mode: relay}
  vault: {url: "https://vault.example", mode: relay}
  open: {url: "https://open.example", mode: relay}
  ours: {url: "https://ours.example", mode: relay, auth: {username: bot, password_file: pw}}
rules:
  - {name: secret, repository: "secret/**", deny: "not for you"}
  - {method: [GET, PUT, POST], repository: "ghcr/**", to: ghcr}
  - {repository: "vault/**", to: vault}
  - {repository: "open/**", to: open}
  - {client: 192.0.2.1, repository: "ours/**", to: ours}
  - {repository: "plain/**", to: "https://plain.example"}
  - {namespace: ghcr.example, to: ghcr}
  - {to: hub}
"""


class Bed:
    """An endpoint, and who may see which password: everyone who does not is watched."""

    def __init__(self, secrets: dict[str, Collection[str]] | None = None) -> None:
        everywhere = {HUB_AUTH, GHCR_AUTH, VAULT}
        self.world = World(secrets or dict.fromkeys((ALICE, BOB, CAROL, "0ther"), everywhere))
        self.hub = TokenRegistry(f"{HUB_AUTH}/token", "hub & co", {"alice": ALICE})
        self.ghcr = TokenRegistry(f"{GHCR_AUTH}/token", "ghcr", {"carol": CAROL}, public=False)
        self.world.put(HUB, self.hub)
        self.world.put(HUB_AUTH, self.hub.grant)
        self.world.put(GHCR, self._ghcr)
        self.world.put(VAULT, BasicRegistry({"bob": BOB}))
        self.world.put(OPEN, open_registry)
        self.clock = Clock()
        self.learn = Learn(self.world.ask, self.clock, lambda found: None)
        self.use(RULES)
        self.endpoint = Endpoint(self.world.ask, self.learn)

    def _ghcr(self, question: Question) -> Reply:
        """One that has its realm at its own origin."""
        return self.ghcr(question) if question.target == b"/v2/" else self.ghcr.grant(question)

    def use(self, text: str, login: Sequence[str] = ()) -> None:
        """Go by these rules."""
        self.rules = checked(text, {"pw": b"b0t-secret"}).rules
        self.login = login
        self.learn.follow(self.rules.registries)

    def begin(
        self,
        query: str = "",
        authorization: str | None = None,
        form: dict[str, str] | None = None,
        method: str | None = None,
        host: str = "front.example",
    ) -> Deferred[Answer]:
        fields = {b"host": [host.encode()], b"user-agent": [b"docker/20"]}
        if authorization is not None:
            fields[b"authorization"] = [authorization.encode()]
        body = b""
        if form is not None:
            fields[b"content-type"] = [FORM]
            body = urlencode(form).encode()
        caller = Caller(
            IPv4Address("192.0.2.1"),
            method or ("GET" if form is None else "POST"),
            f"/token?{query}".encode(),
            lambda name: fields.get(name, []),
            body,
        )
        return self.endpoint.answer(self.rules, self.login, caller)

    def ask(self, *args: Any, **more: Any) -> Answer:
        return now(self.begin(*args, **more))

    def grant(self, *args: Any, **more: Any) -> dict[str, Any]:
        """What comes with a token that is given."""
        answer = self.ask(*args, **more)
        assert answer.status == 200, answer.body
        fields = dict(answer.fields)
        assert fields[b"Cache-Control"] == b"private, no-store"
        assert fields[b"Content-Type"] == b"application/json"
        document: dict[str, Any] = json.loads(answer.body)
        assert document["token"] == document["access_token"]
        return document

    def token(self, *args: Any, **more: Any) -> FrontToken:
        """The token that is given."""
        token = unwrap(self.grant(*args, **more)["token"])
        assert token is not None
        return token

    def refusal(self, *args: Any, **more: Any) -> tuple[int, str]:
        """The status and message of a refusal."""
        answer = self.ask(*args, **more)
        [error] = json.loads(answer.body)["errors"]
        secrets = (ALICE, BOB, CAROL, "0ther", "b0t-secret")
        assert not any(secret in error["message"] for secret in secrets)
        challenges = dict(answer.fields).get(b"WWW-Authenticate")
        assert (challenges is not None) == (answer.status == 401), "RFC 9110 §15.5.2"
        return answer.status, error["message"]

    def credentials(self) -> list[tuple[str, str]]:
        """Where a password has been shown, in this order, and which."""
        found = ((each.origin, authorization_of(each)) for each in self.world.questions)
        return [(origin, shown) for origin, shown in found if shown is not None]


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
    assert bed.token("", basic_of("bob", BOB)).origin == VAULT, "but where it is right it is"


def test_a_login_that_is_tried_too_often_is_tried_no_further(bed: Bed) -> None:
    bed.world.put(HUB_AUTH, lambda question: Reply(429))
    assert bed.refusal("", basic_of("bob", BOB))[0] == 429
    assert bed.credentials() == [(HUB_AUTH, basic_of("bob", BOB))]


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
