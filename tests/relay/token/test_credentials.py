"""What a relayed request carries of credentials."""

import json
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.answers import Relay
from regroute.oci import Kind, parse_path
from regroute.registry import Account, Mode, Registry, Terms, Visitors
from regroute.relay.token.challenges import parse_challenges
from regroute.relay.token.credentials import (
    Ours,
    Refused,
    Send,
    Unauthorized,
    Unknown,
    Verdict,
    Welcome,
    admit,
    answer,
    asked_scopes,
    basic,
    challenge,
    contradicted,
)
from regroute.relay.token.demand import Basic, Bearer, Demand, Open, Unusable
from regroute.relay.token.scope import parse_scopes
from regroute.relay.token.tokens import wrap, wrap_refresh

HUB, OTHER = "https://hub.example", "https://other.example"
BEARER = Bearer("https://auth.example", "/token", "hub.example")
SOME_TOKENS, SOME_PASSWORDS = replace(BEARER, asks_all=False), Basic(asks_all=False)
ACCOUNT = Account("bot", "s3cret")

BASIC = "Basic dTpw"
OURS, THEIRS = wrap(HUB, "Bearer ours"), wrap(OTHER, "Bearer theirs")
OUR_PASSWORD = wrap(HUB, BASIC)
NOTHING = wrap(None, None)


def terms(auth: Visitors | Account = Visitors.CLIENT, *, keeps: bool = False) -> Terms:
    return Terms(Mode.RELAY, auth, keeps_challenge=keeps)


def relay(path: str, its_terms: Terms | None = None, prefix: str = "library") -> Relay:
    """A request for a path by the names here."""
    registry = Registry("hub", HUB, prefix, its_terms or terms())
    asked = parse_path(path.partition("?")[0])
    target = path
    if asked.repository:
        target = path.replace(asked.repository, registry.repository(asked.repository), 1)
    return Relay(registry, target, "rule-1", asked.kind, asked.repository)


def judged(
    path: str,
    authorization: str | None,
    demand: Demand | None = BEARER,
    its_terms: Terms | None = None,
    method: str = "GET",
) -> Verdict:
    lines = [] if authorization is None else [authorization.encode()]
    return admit(relay(path, its_terms), method, lines, demand)


def wanted(scopes: str, error: str | None = None) -> Unauthorized:
    return Unauthorized(parse_scopes([scopes]), error)


def sent(*authorization: str) -> Send:
    return Send(tuple(line.encode() for line in authorization))


IMAGE, PULL = "/v2/postgres/manifests/1", "repository:postgres:pull"


@pytest.mark.parametrize(
    ("demand", "authorization", "verdict"),
    [
        (BEARER, None, wanted(PULL)),
        (BEARER, BASIC, wanted(PULL)),
        (BEARER, f"Bearer {OURS}", sent("Bearer ours")),
        (BEARER, f"bearer  {OURS}", sent("Bearer ours")),
        (BEARER, f"Bearer {OUR_PASSWORD}", sent(BASIC)),
        (BEARER, f"Bearer {THEIRS}", wanted(PULL, "invalid_token")),
        (BEARER, f"Bearer {NOTHING}", wanted(PULL, "insufficient_scope")),
        (BEARER, f"Bearer {wrap_refresh(HUB, 'x')}", wanted(PULL, "invalid_token")),
        (BEARER, "Bearer garbage", wanted(PULL, "invalid_token")),
        (BEARER, "Bearer", wanted(PULL, "invalid_token")),
        (BEARER, f"Bearer {OURS} {OURS}", wanted(PULL, "invalid_token")),
        (BEARER, f"Token {OURS}", wanted(PULL, "invalid_token")),
        (BEARER, "", wanted(PULL, "invalid_token")),
        (Basic(), None, wanted(PULL)),
        (Basic(), BASIC, sent(BASIC)),
        (Basic(), f"Bearer {OUR_PASSWORD}", sent(BASIC)),
        (Basic(), f"Bearer {OURS}", sent("Bearer ours")),
        (Basic(), f"Bearer {THEIRS}", wanted(PULL, "invalid_token")),
        (Open(), None, sent()),
        (Open(is_certain=False), None, sent()),
        (Open(), BASIC, wanted(PULL)),
        (Open(), f"Bearer {OURS}", sent("Bearer ours")),
        (Open(), f"Bearer {THEIRS}", sent()),
        (Open(), f"Bearer {NOTHING}", sent()),
        (Open(), "Bearer garbage", wanted(PULL, "invalid_token")),
        (SOME_TOKENS, None, sent()),
        (SOME_TOKENS, f"Bearer {NOTHING}", sent()),
        (SOME_TOKENS, f"Bearer {THEIRS}", sent()),
        (SOME_TOKENS, f"Bearer {OURS}", sent("Bearer ours")),
        (SOME_TOKENS, BASIC, wanted(PULL)),
        (SOME_TOKENS, "Bearer garbage", wanted(PULL, "invalid_token")),
        (SOME_PASSWORDS, None, sent()),
        (SOME_PASSWORDS, f"Bearer {NOTHING}", sent()),
        (SOME_PASSWORDS, BASIC, sent(BASIC)),
        (None, None, Unknown()),
        (None, BASIC, Unknown()),
        (None, f"Bearer {OURS}", sent("Bearer ours")),
        (None, f"Bearer {THEIRS}", Unknown()),
        (Unusable("is odd"), None, Refused(502, "the registry 'hub' is odd")),
        (Unusable("is odd"), f"Bearer {OURS}", sent("Bearer ours")),
    ],
)
def test_a_clients_credentials_go_where_they_are_for(
    demand: Demand | None, authorization: str | None, verdict: Verdict
) -> None:
    assert judged(IMAGE, authorization, demand) == verdict


@pytest.mark.parametrize(
    ("authorization", "verdict"),
    [(BASIC, wanted(PULL)), (None, wanted(PULL)), (f"Bearer {OUR_PASSWORD}", sent(BASIC))],
)
def test_a_password_does_not_go_where_clients_do_not_log_in(
    authorization: str | None, verdict: Verdict
) -> None:
    """One that somebody has bound to the registry himself is his own affair."""
    elsewhere = replace(terms(), takes_logins=False)
    assert judged(IMAGE, authorization, Basic(), elsewhere) == verdict


@pytest.mark.parametrize("demand", [BEARER, Basic(), Open(), None, Unusable("is odd")])
@pytest.mark.parametrize(
    ("authorization", "verdict"),
    [
        (None, Unauthorized()),
        (BASIC, Unauthorized()),
        ("Bearer garbage", Unauthorized((), "invalid_token")),
        (f"Bearer {OURS}", sent("Bearer ours")),
        (f"Bearer {OUR_PASSWORD}", sent(BASIC)),
        (f"Bearer {THEIRS}", Welcome()),
        (f"Bearer {NOTHING}", Welcome()),
    ],
)
def test_the_api_check_sends_clients_for_a_token_whatever_the_registry_wants(
    demand: Demand | None, authorization: str | None, verdict: Verdict
) -> None:
    """A login is checked where the token is given; the check afterwards must not undo it."""
    assert judged("/v2/", authorization, demand) == verdict


@pytest.mark.parametrize(
    "authorization", [None, BASIC, f"Bearer {OURS}", f"Bearer {THEIRS}", "Bearer garbage", ""]
)
@pytest.mark.parametrize(
    ("auth", "demand", "verdict"),
    [
        (Visitors.ANONYMOUS, BEARER, Ours(parse_scopes([PULL]))),
        (ACCOUNT, BEARER, Ours(parse_scopes([PULL]))),
        (Visitors.ANONYMOUS, Open(), sent()),
        (ACCOUNT, Open(), sent()),
        (ACCOUNT, Basic(), sent("Basic Ym90OnMzY3JldA==")),
        (ACCOUNT, SOME_PASSWORDS, sent("Basic Ym90OnMzY3JldA==")),
        (Visitors.ANONYMOUS, SOME_PASSWORDS, sent()),
        (Visitors.ANONYMOUS, SOME_TOKENS, Ours(parse_scopes([PULL]))),
        (Visitors.ANONYMOUS, None, Unknown()),
        (ACCOUNT, None, Unknown()),
        (ACCOUNT, Unusable("is odd"), Refused(502, "the registry 'hub' is odd")),
    ],
)
def test_a_client_of_our_account_needs_no_credentials_and_none_of_his_goes_on(
    authorization: str | None, auth: Visitors | Account, demand: Demand | None, verdict: Verdict
) -> None:
    assert judged(IMAGE, authorization, demand, terms(auth)) == verdict


def test_a_registry_that_wants_a_password_is_not_asked_as_nobody() -> None:
    verdict = judged(IMAGE, BASIC, Basic(), terms(Visitors.ANONYMOUS))
    assert isinstance(verdict, Refused)
    assert verdict.status == 403


@pytest.mark.parametrize("demand", [BEARER, Basic()])
@pytest.mark.parametrize(
    ("path", "is_sent"),
    [
        (IMAGE, True),
        ("/v2/postgres/blobs/uploads/", True),
        ("/v2/_catalog?n=1", True),
        (IMAGE + "/", False),
        ("/v2/postgres/manifests/%00", False),
        ("/v2/postgres", False),
        ("/v2/_catalog/", False),
    ],
)
def test_our_account_is_for_what_rules_about_repositories_have_seen(
    path: str, is_sent: bool, demand: Demand
) -> None:
    """A registry may drop a last slash, and a rule that denies the repository has not seen one."""
    verdict = judged(path, None, demand, terms(ACCOUNT))
    assert isinstance(verdict, Send | Ours) == is_sent
    if isinstance(verdict, Refused):
        assert verdict.status == 403


@pytest.mark.parametrize("auth", [Visitors.ANONYMOUS, ACCOUNT])
@pytest.mark.parametrize(
    ("authorization", "verdict"),
    [
        (None, Unauthorized()),
        (BASIC, Unauthorized()),
        (f"Bearer {NOTHING}", Welcome()),
        (f"Bearer {OURS}", Welcome()),
    ],
)
def test_the_api_check_is_answered_here_where_the_account_is_ours(
    auth: Visitors | Account, authorization: str | None, verdict: Verdict
) -> None:
    assert judged("/v2/", authorization, BEARER, terms(auth)) == verdict


@pytest.mark.parametrize("path", [IMAGE, "/v2/", "/v2/_catalog"])
@pytest.mark.parametrize("demand", [None, BEARER, Open()])
@pytest.mark.parametrize(
    ("authorization", "verdict"),
    [
        (None, sent()),
        (BASIC, sent(BASIC)),
        ("Bearer garbage", sent("Bearer garbage")),
        ("Digest a=b", sent("Digest a=b")),
        (f"Bearer {OURS}", sent("Bearer ours")),
        (f"Bearer {THEIRS}", sent()),
    ],
)
def test_a_registry_that_keeps_its_challenge_gets_what_comes(
    path: str, demand: Demand | None, authorization: str | None, verdict: Verdict
) -> None:
    """But nothing that is bound to another one."""
    assert judged(path, authorization, demand, terms(keeps=True)) == verdict


@pytest.mark.parametrize("path", ["/", "/token", "/v1/x", "/v2x/", "/about?x=/v2/"])
@pytest.mark.parametrize(
    ("authorization", "verdict"),
    [(None, sent()), (BASIC, sent(BASIC)), (f"Bearer {THEIRS}", sent())],
)
def test_other_pages_of_a_site_get_what_comes(
    path: str, authorization: str | None, verdict: Verdict
) -> None:
    assert judged(path, authorization, None) == verdict
    assert judged(path, authorization, None, terms(ACCOUNT)) == sent()


@pytest.mark.parametrize("path", ["/v2/_catalog", "/%762/_catalog", "/v2/x/y"])
def test_every_path_of_the_registry_api_is_under_its_law(path: str) -> None:
    assert isinstance(judged(path, None), Unauthorized)


def test_several_lines_are_refused_and_go_nowhere() -> None:
    lines = [BASIC.encode(), f"Bearer {OURS}".encode()]
    for path in (IMAGE, "/v2/"):
        assert isinstance(admit(relay(path), "GET", lines, BEARER), Refused)
    assert admit(relay(IMAGE, terms(keeps=True)), "GET", lines, BEARER) == sent(BASIC)
    assert admit(relay(IMAGE, terms(ACCOUNT)), "GET", lines, Open()) == sent()


class Line(NamedTuple):
    """An ``Authorization`` line; a front token holds something `inner` for the registry `bound`."""

    text: bytes
    bound: str | None = None
    inner: bytes = b""

    @classmethod
    def wrapping(cls, origin: str, authorization: str) -> "Line":
        text = f"Bearer {wrap(origin, authorization)}"
        return cls(text.encode(), origin, authorization.encode())


demands = st.sampled_from([None, BEARER, Basic(), Open(), Open(False), Unusable("is odd")])
plain = st.sampled_from([BASIC, "Bearer garbage", "Basic", ""]).map(
    lambda text: Line(text.encode())
)
wrapping = st.builds(
    Line.wrapping, st.sampled_from([HUB, OTHER]), st.sampled_from(["Bearer secret", "Basic secret"])
)
paths = st.sampled_from([IMAGE, "/v2/", "/v2/_catalog", "/v2/a/blobs/uploads/", "/page"])
all_terms = st.builds(
    Terms,
    st.sampled_from([Mode.RELAY, Mode.AUTO]),
    st.sampled_from([*Visitors, ACCOUNT]),
    keeps_challenge=st.booleans(),
)


@given(paths, all_terms, st.lists(plain | wrapping, max_size=2), demands)
def test_nothing_is_sent_that_is_bound_to_another_registry(
    path: str, its_terms: Terms, lines: list[Line], demand: Demand | None
) -> None:
    """Whatever the terms: what goes on is our account, what is bound to this one, or what came."""
    verdict = admit(relay(path, its_terms), "GET", [line.text for line in lines], demand)
    going = verdict.authorization if isinstance(verdict, Send) else ()
    if its_terms.auth is not Visitors.CLIENT:
        assert set(going) <= {basic(ACCOUNT)}
        assert not going or its_terms.auth is ACCOUNT
        return
    may_go = {line.text for line in lines if line.bound is None}
    may_go |= {line.inner for line in lines if line.bound == HUB}
    assert set(going) <= may_go


UPLOADS = "/v2/app/blobs/uploads/"


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("GET", IMAGE, PULL),
        ("HEAD", IMAGE, PULL),
        ("PUT", IMAGE, "repository:postgres:pull,push"),
        ("DELETE", IMAGE, "repository:postgres:pull,delete"),
        ("POST", UPLOADS, "repository:app:pull,push"),
        ("PATCH", f"{UPLOADS}1?from=b", "repository:app:pull,push"),
        ("POST", f"{UPLOADS}?mount=x&from=b/c", "repository:app:pull,push repository:b/c:pull"),
        ("POST", f"{UPLOADS}?from=app", "repository:app:pull,push"),
        ("POST", f"{UPLOADS}?from=A%22", "repository:app:pull,push"),
        ("GET", "/v2/library/postgres/tags/list", "repository:library/postgres:pull"),
        ("GET", "/v2/_catalog?n=5", "registry:catalog:*"),
        ("GET", "/v2/", ""),
        ("GET", "/v2/x", ""),
    ],
)
def test_the_scope_is_what_the_request_needs_by_the_names_here(
    method: str, path: str, scopes: str
) -> None:
    assert asked_scopes(relay(path), method) == parse_scopes([scopes])
    assert contradicted(relay(path), method, []) == wanted(scopes)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('Bearer realm="x",scope="repository:library/postgres:pull"', wanted(PULL)),
        (
            'Bearer realm="x",scope="repository:library/postgres:pull,push '
            'repository:library/b:pull",error="insufficient_scope"',
            wanted("repository:postgres:pull,push repository:b:pull", "insufficient_scope"),
        ),
        ('Bearer realm="x",error="invalid_token"', wanted(PULL, "invalid_token")),
        ('Bearer realm="x",error="evil"', wanted(PULL)),
        ('Bearer realm="x",scope="garbage"', wanted(PULL)),
        ("Basic realm=x", wanted(PULL)),
    ],
)
def test_what_a_registry_wants_more_is_told_by_the_names_here(
    line: str, expected: Unauthorized
) -> None:
    assert contradicted(relay(IMAGE), "GET", [line.encode()]) == expected


REALM = "https://registry.example/token"


@pytest.mark.parametrize(
    ("unauthorized", "line"),
    [
        (Unauthorized(), f'Bearer realm="{REALM}",service="registry.example"'),
        (
            wanted("repository:a:pull,push repository:b:pull", "invalid_token"),
            f'Bearer realm="{REALM}",service="registry.example",'
            'scope="repository:a:pull,push repository:b:pull",error="invalid_token"',
        ),
    ],
)
def test_the_challenge_says_where_to_go_for_what(unauthorized: Unauthorized, line: str) -> None:
    value = challenge(REALM, "registry.example", unauthorized)
    assert value == line.encode()
    assert len(parse_challenges([value])) == 1
    found = answer(unauthorized, relay(IMAGE), REALM, "registry.example")
    assert found.status == 401
    assert dict(found.fields)[b"WWW-Authenticate"] == line.encode()
    assert json.loads(found.body)["errors"][0]["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize(
    ("verdict", "status"), [(Welcome(), 200), (Refused(502, "no"), 502), (Refused(403, "no"), 403)]
)
def test_an_answer_from_here_says_whose_request_it_was(
    verdict: Welcome | Refused, status: int
) -> None:
    found = answer(verdict, relay(IMAGE), REALM, "registry.example")
    assert (found.status, found.rule, found.registry) == (status, "rule-1", "hub")
    assert found.kind is Kind.MANIFESTS
    assert b"WWW-Authenticate" not in dict(found.fields)


def test_what_is_sent_is_not_shown() -> None:
    assert "ours" not in repr(judged(IMAGE, f"Bearer {OURS}"))


def test_origins_are_compared_in_their_one_form() -> None:
    """A configuration may write a registry's in another way than the token does."""
    odd = replace(relay(IMAGE), to=Registry("hub", "https://HUB.example:443", "", terms()))
    assert admit(odd, "GET", [f"Bearer {OURS}".encode()], BEARER) == sent("Bearer ours")
