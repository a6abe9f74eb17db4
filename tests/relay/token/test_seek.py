"""Which registry a token is for, and where a login is tried."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.answers import Relay
from regroute.relay.token.scope import parse_scopes
from regroute.relay.token.seek import Asker, Barred, logins, seek
from regroute.respond import respond_to
from regroute.rules import RuleSet

from ...making import checked

ME = Asker(IPv4Address("192.0.2.1"), b"front.example", "docker/20")
OFFICE = ME._replace(client=IPv4Address("10.0.0.1"))

_REGISTRIES = """
registries:
  hub: {url: "https://hub.example/library", mode: relay}
  team: {url: "https://hub.example/team", mode: relay}
  ghcr: {url: "https://ghcr.example", mode: relay}
  auto: {url: "https://auto.example", mode: auto}
  kept: {url: "https://kept.example", mode: relay, challenge: keep}
  nobody: {url: "https://public.example", mode: relay, auth: anonymous}
  office: {url: "https://office.example", mode: relay, auth: {username: u, password_file: pw}}
  plain: {url: "https://plain.example"}
"""


def rules_of(text: str, known_open: frozenset[str] = frozenset()) -> RuleSet:
    return replace(checked(_REGISTRIES + text, {"pw": b"p"}).rules, open=known_open)


RULES = rules_of("""
rules:
  - {name: secret, repository: "secret/**", deny: "not for you", status: 404}
  - {name: sealed, method: [PUT, POST], repository: "sealed/**", deny: "read only"}
  - {repository: "ghcr/**", to: ghcr}
  - {repository: "team/**", to: team}
  - {method: [GET, HEAD, PUT, POST], repository: "auto/**", to: auto}
  - {method: [PUT, POST], repository: "pushed/**", to: hub}
  - {repository: "kept/**", to: kept}
  - {repository: "nobody/**", to: nobody}
  - {repository: "office/**", client: 10.0.0.0/8, to: office}
  - {repository: "plain/**", to: plain}
  - {repository: "blobs/**", kind: blobs, to: ghcr}
  - {repository: "tags/**", kind: [tags], to: ghcr}
  - {repository: "up/**", to: plain}
  - {method: [PUT, POST, DELETE], repository: "up/**", to: ghcr}
  - {method: [PUT, POST], repository: "split/**", to: ghcr}
  - {method: [PUT, POST], repository: "twin/**", to: team}
  - {method: [PUT, POST], repository: "mine/**", to: ghcr}
  - {repository: "mine/**", to: nobody}
  - {kind: [uploads], method: POST, repository: "kinds/**", to: ghcr}
  - {kind: [manifests, blobs, tags], repository: "kinds/**", to: plain}
  - {namespace: ghcr.example, to: ghcr}
  - {user_agent: "containerd/*", to: ghcr}
  - {host: "other.example", to: ghcr}
  - {path: /v2/_catalog, to: ghcr}
  - {kind: [api, manifests, blobs, tags], to: hub}
""")


def sought(scopes: str, asker: Asker = ME, rules: RuleSet = RULES) -> tuple[str | None, str, str]:
    """The registry's name, and the scopes here and there."""
    found = seek(rules, asker, parse_scopes([scopes]))
    texts = [" ".join(map(str, each)) for each in (found.scopes, found.scopes_there)]
    return found.registry.name if found.registry else None, texts[0], texts[1]


@pytest.mark.parametrize(
    ("scope", "registry", "there"),
    [
        ("repository:postgres:pull", "hub", "repository:library/postgres:pull"),
        ("repository(plugin):x:pull", "hub", "repository(plugin):library/x:pull"),
        ("repository:library/x:pull", "hub", "repository:library/x:pull"),
        ("repository:postgres:pull,push", "hub", "repository:library/postgres:pull,push"),
        ("repository:postgres:*", "hub", "repository:library/postgres:*"),
        ("repository:postgres:meta", "hub", "repository:library/postgres:meta"),
        ("repository:ghcr/x:pull", "ghcr", "repository:ghcr/x:pull"),
        ("repository:team/x:pull", "team", "repository:team/x:pull"),
        ("repository:auto/x:pull", "auto", "repository:auto/x:pull"),
        ("repository:kept/x:pull", "kept", "repository:kept/x:pull"),
        ("repository:blobs/x:pull", "hub", "repository:library/blobs/x:pull"),
        ("repository:up/x:pull,push", "ghcr", "repository:up/x:pull,push"),
        ("repository:up/x:delete", "ghcr", "repository:up/x:delete"),
        ("repository:twin/x:pull,push", "hub", "repository:library/twin/x:pull,push"),
        ("repository:mine/x:pull,push", "ghcr", "repository:mine/x:pull,push"),
        ("repository:kinds/x:pull,push", "ghcr", "repository:kinds/x:pull,push"),
        ("repository:sealed/x:pull,push", "hub", "repository:library/sealed/x:pull,push"),
        ("registry:catalog:*", "ghcr", "registry:catalog:*"),
        ("other:thing:x", "hub", "other:thing:x"),
    ],
)
def test_a_token_is_for_the_registry_that_the_rules_lead_to(
    scope: str, registry: str, there: str
) -> None:
    assert sought(scope) == (registry, scope, there)


@pytest.mark.parametrize(
    ("asker", "registry"),
    [
        (ME, "hub"),
        (ME._replace(user_agent="containerd/1.7"), "ghcr"),
        (ME._replace(host=b"Other.example:443"), "ghcr"),
        (ME._replace(namespace="ghcr.example"), "ghcr"),
        (ME._replace(namespace="docker.io"), "hub"),
        (ME._replace(namespace="ghcr.example&x"), "hub"),
    ],
)
def test_rules_see_of_the_client_what_they_see_later(asker: Asker, registry: str) -> None:
    assert sought("repository:x:pull", asker)[0] == registry


@pytest.mark.parametrize(
    "scope",
    [
        "repository:plain/x:pull",
        "repository:up/x:pull",
        "repository:nobody/x:pull",
        "repository:nobody/x:pull repository:plain/x:pull repository:secret/x:pull",
    ],
)
def test_where_no_token_is_needed_there_is_no_registry(scope: str) -> None:
    assert sought(scope) == (None, "", "")


def test_a_registry_that_is_redirected_to_needs_no_token() -> None:
    rules = replace(RULES, open=frozenset({"https://auto.example"}))
    assert sought("repository:auto/x:pull", rules=rules)[0] is None
    assert sought("repository:auto/x:push", rules=rules)[0] == "auto"
    assert sought("repository:auto/x:pull", ME._replace(user_agent="containerd/1"))[0] is None


def test_the_office_needs_no_token_where_the_others_do() -> None:
    assert sought("repository:office/x:pull")[0] == "hub"
    assert sought("repository:office/x:pull", OFFICE)[0] is None


@pytest.mark.parametrize(
    ("scope", "rule", "message"),
    [
        ("repository:secret/x:pull", "secret", "not for you"),
        ("repository:secret/x:pull,push", "secret", "not for you"),
        ("repository:secret/x:* repository:sealed/y:push", "secret", "not for you"),
        ("repository:sealed/x:push", "sealed", "read only"),
        ("repository:x:delete", None, "no rule serves this"),
    ],
)
def test_what_rules_refuse_gets_no_token(scope: str, rule: str | None, message: str) -> None:
    with pytest.raises(Barred) as barred:
        sought(scope)
    assert (barred.value.rule, barred.value.message) == (rule, message)


@pytest.mark.parametrize(
    ("scopes", "registry", "left"),
    [
        ("repository:x:pull repository:secret/y:pull", "hub", "repository:x:pull"),
        ("repository:x:pull repository:plain/y:pull", "hub", "repository:x:pull"),
        (
            "repository:ghcr/x:pull,push repository:y:pull",
            "ghcr",
            "repository:ghcr/x:pull,push",
        ),
        (
            "repository:y:pull repository:ghcr/x:pull,push repository:ghcr/z:pull",
            "ghcr",
            "repository:ghcr/x:pull,push repository:ghcr/z:pull",
        ),
    ],
)
def test_a_token_is_for_less_where_the_rest_is_not_to_be_had(
    scopes: str, registry: str, left: str
) -> None:
    """A blob that would be mounted from another registry is uploaded instead."""
    assert sought(scopes)[:2] == (registry, left)


def test_two_names_of_one_registry_share_a_token() -> None:
    scopes = "repository:x:pull repository:team/y:pull,push"
    there = "repository:library/x:pull repository:team/y:pull,push"
    assert sought(scopes) == ("hub", scopes, there)


@pytest.mark.parametrize(
    ("scopes", "words"),
    [
        ("repository:x:pull repository:ghcr/y:pull", ["'x' is at 'hub'", "'ghcr/y' is at 'ghcr'"]),
        ("repository:pushed/x:push repository:mine/y:push", ["one registry", "mounted"]),
        ("repository:split/x:pull,push", ["'split/x'", "'hub'", "'ghcr'"]),
    ],
)
def test_a_token_for_two_registries_is_refused_in_so_many_words(
    scopes: str, words: list[str]
) -> None:
    with pytest.raises(Barred) as barred:
        sought(scopes)
    assert all(word in barred.value.message for word in words)


ends = st.sampled_from(["manifests/1", "tags/list"])
spaces = st.sampled_from(["", "ghcr/", "team/", "auto/", "nobody/", "office/", "plain/", "secret/"])
askers = st.sampled_from(
    [ME, OFFICE, ME._replace(user_agent="containerd/1"), ME._replace(host=b"")]
)


@given(spaces, askers, ends)
def test_a_token_is_for_where_the_pull_goes(space: str, asker: Asker, end: str) -> None:
    """The twin: the request itself, by the daemon's own way through the rules."""
    target = f"/v2/{space}x/{end}".encode()
    answer = respond_to(RULES, asker.client, "GET", target, asker.host, asker.user_agent)
    scopes = parse_scopes([f"repository:{space}x:pull"])
    if answer.rule == "secret":
        with pytest.raises(Barred):
            seek(RULES, asker, scopes)
        return
    needs_token = isinstance(answer, Relay) and answer.registry not in ("nobody", "office")
    found = seek(RULES, asker, scopes).registry
    assert found == (answer.to if isinstance(answer, Relay) and needs_token else None)


@pytest.mark.parametrize(
    ("rules", "asker", "named", "registries"),
    [
        ("[{to: hub}]", ME, [], ["hub"]),
        ("[{path: /v2/x, to: ghcr}, {to: hub}]", ME, [], ["hub", "ghcr"]),
        (
            "[{repository: a, to: ghcr}, {kind: api, to: auto}, {to: hub}]",
            ME,
            [],
            ["auto", "ghcr", "hub"],
        ),
        ("[{repository: a, to: hub}, {to: team}]", ME, [], ["team"]),
        ("[{repository: a, to: nobody}, {repository: b, to: plain}, {to: kept}]", ME, [], []),
        ("[{client: 10.0.0.0/8, to: office}, {to: hub}]", OFFICE, [], []),
        ("[{client: 10.0.0.0/8, to: ghcr}, {to: hub}]", OFFICE, [], ["ghcr"]),
        ("[{client: 10.0.0.0/8, to: ghcr}, {to: hub}]", ME, [], ["hub"]),
        (
            "[{client: 10.0.0.0/8, to: ghcr}, {to: hub}, {method: PUT, to: auto}]",
            OFFICE,
            [],
            ["ghcr", "auto"],
        ),
        ("[{host: a.example, to: ghcr}, {to: hub}]", ME, [], ["hub"]),
        ("[{host: front.example, to: ghcr}, {to: hub}]", ME, [], ["ghcr"]),
        ("[{user_agent: 'docker/*', to: ghcr}, {to: hub}]", ME, [], ["ghcr"]),
        ("[{client: 192.0.2.1, deny: no}, {to: hub}]", ME, [], []),
        ("[{path: /v2/, respond: ok}, {to: hub}]", ME, [], ["hub"]),
        ("[{repository: a, to: ghcr}, {to: hub}]", ME, ["ghcr"], ["ghcr"]),
        ("[{repository: a, to: ghcr}, {to: hub}]", ME, ["hub", "ghcr", "auto"], ["hub", "ghcr"]),
        ("[{repository: a, to: nobody}, {to: hub}]", ME, ["nobody", "plain"], []),
        ("[{repository: a, to: hub}, {to: team}]", ME, ["team", "hub"], ["team"]),
    ],
)
def test_a_login_is_tried_where_this_client_may_come(
    rules: str, asker: Asker, named: list[str], registries: list[str]
) -> None:
    """Where the API check goes first, and nowhere that takes no login of a client's."""
    found = logins(rules_of(f"rules: {rules}"), asker, named)
    assert [registry.name for registry in found] == registries
