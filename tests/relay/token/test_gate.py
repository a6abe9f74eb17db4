"""Relayed requests at the gate: what they go on with, and what a 401 becomes."""

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from regroute.answers import Answer, Relay
from regroute.oci import Kind
from regroute.registry import Account, Mode, Registry, Terms, Visitors
from regroute.relay.token.credentials import Send
from regroute.relay.token.demand import Bearer, Open
from regroute.relay.token.front import Front, Names
from regroute.relay.token.gate import Arrival, Gate
from regroute.relay.token.learn import Learn
from regroute.relay.token.own_tokens import FAILURE_TIME, OwnTokens
from regroute.relay.token.tokens import wrap
from regroute.relay.upstream.ask import Reply, Unreachable

from .asking import BasicRegistry, TokenRegistry, World, now, open_registry

HUB, AUTH = "https://hub.example", "https://auth.example"
BOT = Account("bot", "s3cret")
FRONT = Front(None, Names(("front.example",)), b"front.example")
OUR_TOKEN = b"Bearer token-bot-repository:library/a:pull"
BASIC = b'Basic realm="hub"'
CHALLENGE = b'Bearer realm="https://auth.example/token",service="hub"'


class Bed:
    """A gate before one registry."""

    def __init__(self) -> None:
        self.world = World({BOT.password: {HUB, AUTH}})
        self.registry = TokenRegistry(f"{AUTH}/token", "hub", {BOT.username: BOT.password})
        self.world.put(HUB, self.registry)
        self.world.put(AUTH, self.registry.grant)
        self.clock = Clock()
        self.learn = Learn(self.world.ask, self.clock, lambda found: None)
        self.own_tokens = OwnTokens(self.world.ask, self.clock)
        self.told: list[str] = []
        self.gate = Gate(self.learn, self.own_tokens, self._tell)

    def _tell(self, registry: Registry, why: Unreachable) -> None:
        assert registry.name == "hub"
        self.told.append(why.message)

    def admit(self, arrival: Arrival) -> Send | Answer:
        found = self.gate.admit(arrival)
        return now(found) if isinstance(found, Deferred) else found

    def refuse(self, arrival: Arrival) -> tuple[int, str, bytes]:
        """The status, the message and the challenge of an answer."""
        answer = self.admit(arrival)
        assert isinstance(answer, Answer)
        assert (answer.rule, answer.kind) == ("rule-1", arrival.relay.kind)
        [error] = json.loads(answer.body)["errors"]
        return answer.status, error["message"], dict(answer.fields).get(b"WWW-Authenticate", b"")


@pytest.fixture
def bed() -> Bed:
    return Bed()


def arriving(
    *authorization: str,
    auth: Visitors | Account = Visitors.CLIENT,
    keeps: bool = False,
    target: str = "/v2/library/a/manifests/1",
    kind: Kind = Kind.MANIFESTS,
    front: Front = FRONT,
) -> Arrival:
    registry = Registry("hub", HUB, "library", Terms(Mode.RELAY, auth, keeps_challenge=keeps))
    repository = "a" if kind is Kind.MANIFESTS else None
    relay = Relay(registry, target, "rule-1", kind, repository)
    return Arrival(relay, "GET", [line.encode() for line in authorization], front)


def test_what_a_registry_wants_is_learned_by_the_first_who_comes(bed: Bed) -> None:
    """Who brings the token already need not wait for that."""
    token = arriving(f"Bearer {wrap(HUB, 'Bearer x')}")
    assert bed.gate.admit(token) == Send((b"Bearer x",))
    assert bed.world.questions == []
    assert bed.refuse(arriving()) == (
        401,
        "a token is needed: the challenge says where to get it",
        b'Bearer realm="https://front.example/token",service="front.example",'
        b'scope="repository:a:pull"',
    )
    assert not isinstance(bed.gate.admit(arriving()), Deferred)
    assert bed.world.asked(HUB) == ["GET /v2/"]


def test_an_open_registry_lets_everyone_pass(bed: Bed) -> None:
    bed.world.put(HUB, open_registry)
    assert bed.admit(arriving()) == Send()


def test_a_mirrors_client_takes_along_which_registry_it_means(bed: Bed) -> None:
    target = "/v2/library/a/manifests/1?ns=docker.io"
    assert (
        b'realm="https://front.example/token?ns=docker.io"'
        in bed.refuse(arriving(target=target))[2]
    )


def test_a_registry_that_is_away_is_told_as_that(bed: Bed) -> None:
    bed.world.put(HUB, lambda question: Reply(503))
    status, message, challenge = bed.refuse(arriving())
    assert (status, message) == (502, "the registry 'hub' answers its API check with 503")
    assert challenge == b""
    assert bed.told == [message]


@pytest.mark.parametrize("client", [[], ["Basic dTpw"], [f"Bearer {wrap(HUB, 'Bearer x')}"]])
def test_our_token_is_fetched_for_whoever_comes(bed: Bed, client: list[str]) -> None:
    arrival = arriving(*client, auth=BOT)
    assert bed.admit(arrival) == bed.admit(arrival) == Send((OUR_TOKEN,))
    assert len(bed.world.asked(AUTH)) == 1


def test_our_password_goes_to_a_registry_that_wants_it(bed: Bed) -> None:
    bed.world.put(HUB, BasicRegistry({"bot": BOT.password}))
    assert bed.admit(arriving(auth=BOT)) == Send((b"Basic Ym90OnMzY3JldA==",))


def test_a_password_is_not_to_be_had_as_nobody(bed: Bed) -> None:
    bed.world.put(HUB, BasicRegistry({}))
    status, message, challenge = bed.refuse(arriving(auth=Visitors.ANONYMOUS))
    assert (status, challenge) == (403, b"")
    assert "auth: anonymous" in message


@pytest.mark.parametrize(("auth", "status"), [(Visitors.ANONYMOUS, 403), (BOT, 502)])
def test_a_token_that_is_not_to_be_had_is_no_reason_to_log_in(
    bed: Bed, auth: Visitors | Account, status: int
) -> None:
    bed.world.put(AUTH, lambda question: Reply(401))
    assert bed.refuse(arriving(auth=auth))[::2] == (status, b"")


def test_the_api_check_needs_a_token_from_here_and_then_no_registry(bed: Bed) -> None:
    for auth in (Visitors.CLIENT, Visitors.ANONYMOUS, BOT):
        nobody = arriving(auth=auth, target="/v2/", kind=Kind.API)
        line = b'Bearer realm="https://front.example/token",service="front.example"'
        assert bed.refuse(nobody)[::2] == (401, line)
        token = arriving(f"Bearer {wrap(None, None)}", auth=auth, target="/v2/", kind=Kind.API)
        answer = bed.admit(token)
        assert isinstance(answer, Answer)
        assert (answer.status, answer.body) == (200, b"{}")
    assert bed.world.questions == []


def test_a_host_that_is_not_ours_is_sent_to_no_realm(bed: Bed) -> None:
    foreign = Front(None, Names((), (".apps.example",)), b"evil.example")
    assert bed.refuse(arriving(front=foreign))[::2] == (400, b"")


# What a registry's own 401 becomes.


def test_a_registrys_challenge_becomes_ours_by_the_names_here(bed: Bed) -> None:
    line = CHALLENGE + b',scope="repository:library/a:pull,push",error="insufficient_scope"'
    assert bed.gate.challenge(arriving(), Send(), [line]) == [
        b'Bearer realm="https://front.example/token",service="front.example",'
        b'scope="repository:a:pull,push",error="insufficient_scope"'
    ]


@pytest.mark.parametrize(
    "arrival", [arriving(keeps=True), arriving(target="/page", kind=Kind.OTHER)]
)
def test_a_challenge_that_is_not_ours_to_give_stays_as_it_is(bed: Bed, arrival: Arrival) -> None:
    assert bed.gate.challenge(arrival, Send(), [CHALLENGE, b"x"]) == [CHALLENGE, b"x"]


def test_a_401_closes_a_registry_that_seemed_open(bed: Bed) -> None:
    bed.world.put(HUB, open_registry)
    bed.admit(arriving())
    relay = arriving().relay
    assert bed.learn.known(relay.to) == Open()
    assert not bed.gate.is_contradicted(arriving(), Send(), [CHALLENGE])
    assert bed.learn.known(relay.to) == Bearer(AUTH, "/token", "hub", asks_all=False)


@pytest.mark.parametrize("auth", [Visitors.CLIENT, Visitors.ANONYMOUS])
@pytest.mark.parametrize("line", [CHALLENGE, BASIC])
def test_a_registry_that_asks_some_goes_on_to_serve_others_as_nobody(
    bed: Bed, auth: Visitors, line: bytes
) -> None:
    """One push without credentials must not shut out all who pull: what is for whom, it knows."""
    bed.world.put(HUB, open_registry)
    bed.world.put(AUTH, lambda question: Reply(401))
    bed.admit(arriving(auth=auth))
    bed.gate.is_contradicted(arriving(auth=auth), Send(), [line])
    assert bed.admit(arriving(auth=auth)) == Send()
    assert bed.admit(arriving(f"Bearer {wrap(None, None)}", auth=auth)) == Send()


@pytest.mark.parametrize(
    ("error", "age", "is_asked_again"),
    [
        (b',error="invalid_token"', 0, True),
        (b',error="insufficient_scope"', 60, False),
        (b"", FAILURE_TIME - 1, False),
        (b"", FAILURE_TIME, True),
    ],
)
def test_a_token_of_ours_that_does_not_do_is_asked_for_anew(
    bed: Bed, error: bytes, age: float, is_asked_again: bool
) -> None:
    """Not one that is good for too little, which would not get better by that; and where nobody
    says what is wrong, not one that is new.
    """
    arrival = arriving(auth=BOT)
    sent = bed.admit(arrival)
    assert isinstance(sent, Send)
    bed.clock.advance(age)
    assert bed.gate.is_contradicted(arrival, sent, [CHALLENGE + error]) == is_asked_again
    assert bed.admit(arrival) == sent
    assert len(bed.world.asked(AUTH)) == 1 + is_asked_again


def test_a_token_of_ours_that_others_have_had_renewed_is_tried_again(bed: Bed) -> None:
    """As of many requests that have gone on with the old one."""
    arrival = arriving(auth=BOT)
    bed.admit(arrival)
    assert bed.gate.is_contradicted(arrival, Send((b"Bearer old",)), [CHALLENGE])
    assert len(bed.world.asked(AUTH)) == 1


def test_what_seemed_open_is_asked_again_with_what_it_wants(bed: Bed) -> None:
    bed.world.put(HUB, open_registry)
    arrival = arriving(auth=BOT)
    assert bed.admit(arrival) == Send()
    assert bed.gate.is_contradicted(arrival, Send(), [CHALLENGE])
    assert bed.admit(arrival) == Send((OUR_TOKEN,))


def test_a_password_of_ours_that_is_refused_is_no_reason_to_log_in(bed: Bed) -> None:
    """Nor is it sent again: some registries lock an account out."""
    bed.world.put(HUB, BasicRegistry({"bot": "other"}))
    arrival = arriving(auth=BOT)
    sent = bed.admit(arrival)
    assert isinstance(sent, Send)
    assert not bed.gate.is_contradicted(arrival, sent, [BASIC])
    answer = bed.gate.challenge(arrival, sent, [BASIC])
    assert isinstance(answer, Answer)
    message = "the registry 'hub' does not accept the account it is asked with"
    assert (answer.status, json.loads(answer.body)["errors"][0]["message"]) == (502, message)
    assert bed.told == [message]


def test_a_registry_that_has_come_to_want_tokens_does_not_refuse_our_password(bed: Bed) -> None:
    bed.world.put(HUB, BasicRegistry({"bot": BOT.password}))
    arrival = arriving(auth=BOT)
    sent = bed.admit(arrival)
    assert isinstance(sent, Send)
    assert isinstance(bed.gate.challenge(arrival, sent, [BASIC, CHALLENGE]), list)


def test_to_a_host_that_is_not_ours_a_401_has_no_challenge(bed: Bed) -> None:
    foreign = Front(None, Names((), (".apps.example",)), b"evil.example")
    assert bed.gate.challenge(arriving(front=foreign), Send(), [CHALLENGE]) == []
