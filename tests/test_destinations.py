"""Registries that are relayed: what their files hold, and what does not go together with rules."""

import pytest

from regroute.config.faults import Faulty
from regroute.registry import Account, Visitors

from .issuers import new_key, new_root, pem, pem_key
from .making import checked

CA = pem(new_root().certificate)
_CERTIFICATE = new_root().issue("Front.Example.net", "*.front.example.org")
FILES = {
    "p.txt": b"secret word\r\n",
    "two.txt": b"one\ntwo\n",
    "none.txt": b"\n",
    "latin-1.txt": b"caf\xe9",
    "ca.pem": CA,
    "key.pem": pem_key(new_key()),
    "front.pem": pem(*_CERTIFICATE.chain),
    "front.key": pem_key(_CERTIFICATE.key),
}
ACCOUNT = "auth: {username: u, password_file: p.txt}"


def configuration(registries: str, rules: str, *sections: str) -> str:
    """One of three lines, and more: one registry, the rules, and what else there is."""
    return "\n".join([f"registries: {{{registries}}}", f"rules: [{rules}]", *sections])


def faults(text: str) -> list[str]:
    with pytest.raises(Faulty) as raised:
        checked(text, FILES, file="f")
    return [str(fault) for fault in raised.value.faults]


def warnings(text: str) -> list[str]:
    return [str(warning) for warning in checked(text, FILES, file="f").warnings]


TOKEN = "token: {realm: 'https://front.example.net/token'}"


# What is in files.


def test_a_registry_has_what_its_files_hold() -> None:
    registry = f"hub: {{url: 'https://r.example', mode: relay, ca: ca.pem, {ACCOUNT}}}"
    text = configuration(registry, "{client: 10.0.0.1, to: hub}", TOKEN)
    terms = checked(text, FILES).registries["hub"].terms
    assert terms.auth == Account("u", "secret word")
    assert terms.authorities == CA.decode()
    assert "secret" not in repr(terms)


def test_an_anonymous_registry_is_nobodys() -> None:
    text = configuration(
        "hub: {url: 'https://r.example', mode: relay, auth: anonymous}", "{to: hub}"
    )
    assert checked(text).registries["hub"].terms.auth is Visitors.ANONYMOUS


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("ca: no.pem", "cannot read 'no.pem': No such file or directory"),
        ("ca: key.pem", "'key.pem': there is no certificate in the file, but: private key"),
        (
            "auth: {username: u, password_file: no.txt}",
            "cannot read 'no.txt': No such file or directory",
        ),
        ("auth: {username: u, password_file: latin-1.txt}", "'latin-1.txt' is not UTF-8 text"),
        (
            "auth: {username: u, password_file: two.txt}",
            "'two.txt': it must hold the password on one line and nothing else",
        ),
        (
            "auth: {username: u, password_file: none.txt}",
            "'none.txt': it must hold the password on one line and nothing else",
        ),
    ],
)
def test_a_faulty_file_of_a_registry_is_the_only_fault(key: str, told: str) -> None:
    """Rules that lead there, and tests of them, are no faults besides."""
    registry = f"hub: {{url: 'https://r.example', mode: relay, {key}}}"
    text = configuration(registry, "{to: hub}", "tests: [{path: /, rule: other}]")
    [fault] = faults(text)
    assert fault.split(": ", 1)[1] == told
    assert fault.startswith(f"f:1:{text.index(key.rsplit(': ')[-1].rstrip('}')) + 1}: ")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("auth: anonymous", "auth is for what is relayed: add mode: relay or auto, or drop it"),
        ("mode: relay, redirected: x", "redirected goes with mode: auto"),
        (
            "mode: relay, auth: anonymous, challenge: keep",
            "challenge: keep is of no use with auth: drop one of them",
        ),
        (
            f"mode: auto, {ACCOUNT}, blobs: redirect",
            "who is redirected has not got the account of auth: drop one of them",
        ),
    ],
)
def test_keys_of_a_registry_that_do_not_go_together(fields: str, told: str) -> None:
    [fault] = faults(configuration(f"hub: {{url: 'https://r.example', {fields}}}", "{to: hub}"))
    assert fault.split(": ", 1)[1] == told


def test_authorities_are_for_https() -> None:
    text = configuration("hub: {url: 'http://r.example', mode: relay, ca: ca.pem}", "{to: hub}")
    column = text.index("ca.pem") + 1
    assert faults(text) == [f"f:1:{column}: ca is for https: write https in url, or drop it"]


# Rules.

NO_REDIRECT = (
    "requests are relayed to 'hub', and no redirect is there to have this status: leave it out, or "
    "see the mode of the registry"
)


@pytest.mark.parametrize(
    ("mode", "rule", "is_faulty"),
    [
        ("redirect", "{to: hub, status: 307}", False),
        ("redirect", "{method: PUT, to: hub, status: 307}", False),
        ("relay", "{to: hub}", False),
        ("relay", "{to: hub, status: 302}", True),
        ("relay, blobs: redirect", "{to: hub, status: 307}", False),
        ("relay, blobs: redirect", "{kind: [blobs, tags], to: hub, status: 307}", False),
        ("relay, blobs: redirect", "{kind: manifests, to: hub, status: 307}", True),
        ("relay, blobs: redirect", "{method: POST, to: hub, status: 307}", True),
        ("auto", "{to: hub, status: 307}", False),
        ("auto", "{kind: manifests, method: [GET, PUT], to: hub, status: 307}", False),
        ("auto", "{method: [PUT, POST], to: hub, status: 307}", True),
    ],
)
def test_a_status_needs_a_redirect(mode: str, rule: str, is_faulty: bool) -> None:
    text = configuration(f"hub: {{url: 'https://r.example', mode: {mode}}}", rule)
    if is_faulty:
        column = text.splitlines()[1].index("status: ") + len("status: ") + 1
        assert faults(text) == [f"f:2:{column}: {NO_REDIRECT}"]
    else:
        assert checked(text)


def test_faults_are_found_beside_others() -> None:
    """What is faulty itself is left out, and everything else is judged in the same run."""
    relayed = "{url: 'https://r.example', mode: relay"
    text = "\n".join(
        [
            f"registries: {{hub: {relayed}}}, vault: {relayed}, {ACCOUNT}}},",
            f" gone: {relayed}, ca: no.pem}}}}",
            "rules:",
            "  - {client: nowhere, to: hub}",
            "  - {path: /gone, to: gone, status: 307}",
            "  - {path: /vault, to: vault}",
            "  - {to: hub, status: 307}",
            "token: {login: [gone, vault, hub]}",
        ]
    )
    assert faults(text) == [
        "f:2:52: cannot read 'no.pem': No such file or directory",
        "f:4:14: unknown network 'nowhere'",
        "f:6:5: requests go to 'vault' with an account: say in client who may have that",
        f"f:7:23: {NO_REDIRECT}",
        "f:8:23: no login is tried at 'vault': it has auth, and nobody needs to log in there",
    ]


EVERYONE = (
    "warning: this is everyone, and requests go to 'hub' with an account: name those who may have "
    "that"
)


@pytest.mark.parametrize(
    ("rule", "fault", "warning"),
    [
        ("{client: office, to: hub}", None, None),
        ("{client: [office, 10.0.0.1], not: {client: 10.1.0.0/16}, to: hub}", None, None),
        ("{to: hub}", "f:2:9: ", None),
        ("{not: {client: office}, to: hub}", "f:2:9: ", None),
        ("{user_agent: 'docker/*', host: a.example, to: hub}", "f:2:9: ", None),
        ("{client: 0.0.0.0/0, to: hub}", None, "f:2:18: "),
        ("{client: ['::/0', 10.0.0.1], to: hub}", None, "f:2:18: "),
        ("{client: [0.0.0.0/1, 128.0.0.0/1], to: hub}", None, "f:2:18: "),
        ("{client: all, to: hub}", None, "f:2:18: "),
    ],
)
@pytest.mark.parametrize("mode", ["relay", "auto"])
def test_an_account_is_for_clients_that_are_named(
    mode: str, rule: str, fault: str | None, warning: str | None
) -> None:
    registry = f"hub: {{url: 'https://r.example', mode: {mode}, {ACCOUNT}}}"
    networks = "networks: {office: 10.0.0.0/8, all: [0.0.0.0/0, '::/0']}"
    text = configuration(registry, rule, networks, TOKEN)
    if fault is not None:
        told = "requests go to 'hub' with an account: say in client who may have that"
        assert faults(text) == [fault + told]
    else:
        assert warnings(text) == ([] if warning is None else [warning + EVERYONE])


@pytest.mark.parametrize(
    ("url", "is_warned"),
    [
        ("https://r.example", False),
        ("http://r.example", True),
        ("http://10.0.0.1:5000", True),
        ("http://127.0.0.1:5000", False),
        ("http://[::1]:5000", False),
        ("http://localhost:5000", False),
    ],
)
def test_a_password_in_the_clear_is_warned_of(url: str, is_warned: bool) -> None:
    registry = f"hub: {{url: '{url}', mode: relay, {ACCOUNT}}}"
    told = "the account's password is sent there for all on the way to read: write https"
    found = warnings(configuration(registry, "{client: 10.0.0.1, to: hub}", TOKEN))
    assert found == [f"f:1:25: warning: {told}"] * is_warned


# Tokens.

RELAYED = "hub: {url: 'https://r.example.net', mode: relay}"
TLS = "tls: {certificates: [{certificate: front.pem, key: front.key}]}"
PLAIN = (
    "warning: clients of this listener are sent for tokens, with their passwords, to the host that "
    "they have asked for, by http, unless a trusted proxy says https: write token: {realm: "
    "https://…/token}"
)
BEHIND = len(f"listen: [{{port: 443, {TLS}}}, ") + 1
PLAIN_TOKEN = "token: {realm: 'http://a.example.net/t'}"
DOWN = (
    "warning: clients that speak TLS here are sent to plain HTTP with their passwords: write https"
)


@pytest.mark.parametrize(
    ("registry", "sections", "found"),
    [
        (RELAYED, ["listen: [{port: 80}]", TOKEN], []),
        (RELAYED, [f"listen: [{{port: 443, {TLS}}}]"], []),
        (RELAYED, [f"listen: [{{port: 443, {TLS}}}, {{port: 80}}]"], [f"f:3:{BEHIND}: {PLAIN}"]),
        (RELAYED, [], [f"f:1:1: {PLAIN}"]),
        (RELAYED, [f"listen: [{{port: 443, {TLS}}}]", PLAIN_TOKEN], [f"f:4:16: {DOWN}"]),
        (RELAYED, ["listen: [{port: 80}]", PLAIN_TOKEN], []),
        ("hub: {url: 'https://r.example', mode: relay, auth: anonymous}", [], [f"f:1:1: {PLAIN}"]),
        ("hub: {url: 'https://r.example', mode: relay, challenge: keep}", [], []),
        ("hub: https://r.example", [], []),
    ],
)
def test_where_clients_are_sent_for_tokens_is_safe_or_warned_of(
    registry: str, sections: list[str], found: list[str]
) -> None:
    assert warnings(configuration(registry, "{to: hub}", *sections)) == found


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ("mode: relay", None),
        ("mode: auto", None),
        ("mode: redirect", "clients are redirected there, and log in there themselves"),
        (
            "mode: relay, challenge: keep",
            "it has challenge: keep, and clients log in there themselves",
        ),
        ("mode: auto, auth: anonymous", "it has auth, and nobody needs to log in there"),
    ],
)
def test_logins_are_tried_where_they_are_ours(fields: str, why: str | None) -> None:
    registries = f"{RELAYED}, other: {{url: 'https://r.example.net', {fields}}}"
    rules = "{path: /v2/other/*, to: other}, {to: hub}"
    text = configuration(registries, rules, "token: {login: [hub, other]}")
    if why is None:
        assert checked(text)
    else:
        assert faults(text) == [f"f:3:22: no login is tried at 'other': {why}"]


def test_a_login_that_no_rule_has_to_do_with_is_told() -> None:
    registries = f"{RELAYED}, other: {{url: 'https://r.example.net', mode: relay}}"
    text = configuration(registries, "{to: hub}", "token: {login: [hub, other]}")
    what = "no login is tried at 'other': no rule sends anybody to it"
    assert f"f:3:22: warning: {what}" in warnings(text)


def test_logins_are_for_all_that_is_at_the_same_origin() -> None:
    """A registry with two prefixes has its users' passwords by either."""
    urls = {
        "hub": "https://Hub.example:443/library",
        "mine": "https://hub.example/me",
        "port": "https://hub.example:8443",
        "plain": "http://hub.example:443",
        "other": "https://other.example",
    }
    named = ", ".join(f"{name}: {{url: '{url}', mode: relay}}" for name, url in urls.items())
    rules = ", ".join(f"{{path: /{name}, to: {name}}}" for name in urls)
    found = checked(f"registries: {{{named}}}\nrules: [{rules}]\ntoken: {{login: mine}}").rules
    takers = {each.name for each in found.registries if each.terms.takes_logins}
    assert takers == {"hub", "mine"}


def test_one_login_is_found_without_its_brackets() -> None:
    [fault] = faults(configuration("a: https://r.example", "{to: a}", "token: {login: a}"))
    assert fault.startswith("f:3:16: no login is tried at 'a'")


# Prefixes.


def test_a_path_that_is_meant_for_the_api_is_told() -> None:
    """/v2 comes before the repository prefix by itself."""
    registries = ", ".join(
        [
            "a: 'https://a.example/v2'",
            "b: {url: 'https://b.example/v2/team'}",
            "c: 'https://c.example/v2x'",
        ]
    )
    rules = "{path: /b, to: b}, {path: /c, to: c}, {path: /d, to: 'https://d.example/v2/'}, {to: a}"
    what = "leave v2 out, unless the names of its repositories begin with it"
    assert sorted(warnings(configuration(registries, rules))) == [
        f"f:1:17: warning: requests go to https://a.example/v2/v2/…: {what}",
        f"f:1:50: warning: requests go to https://b.example/v2/v2/team/…: {what}",
        f"f:2:62: warning: requests go to https://d.example/v2/v2/…: {what}",
    ]


# Other owners.

SECURE = f"listen: [{{port: 443, {TLS}}}]"


@pytest.mark.parametrize(
    ("rules", "sections", "told"),
    [
        ("{path: /a, to: 'https://mirror.example.net'}", [TOKEN], None),
        ("{path: /a, to: 'https://k8s.io'}", [TOKEN], "f:2:24: k8s.io"),
        ("{path: /a, to: k8s}", [TOKEN], "f:2:24: registry.k8s.io"),
        ("{path: /a, to: k8s}, {path: /b, to: k8s}", [TOKEN], "f:2:24: registry.k8s.io"),
        ("{path: /a, to: k8s, host: front.k8s.io}", [TOKEN], None),
        ("{path: /a, to: k8s}", ["token: {realm: 'https://auth.k8s.io/token'}"], None),
        ("{path: /a, to: 'https://a.example.org'}", [SECURE], None),
        ("{path: /a, to: 'https://a.example.com'}", [SECURE], "f:2:24: a.example.com"),
        ("{path: /a, to: keep}", [TOKEN], None),
        ("{path: /a, to: auto}", [TOKEN], None),
    ],
)
def test_docker_shows_other_owners_what_clients_log_in_with_here(
    rules: str, sections: list[str], told: str | None
) -> None:
    registries = (
        f"{RELAYED}, k8s: https://registry.k8s.io, "
        "keep: {url: 'https://registry.k8s.io', mode: relay, challenge: keep}, "
        "auto: {url: 'https://registry.k8s.io', mode: auto}"
    )
    found = warnings(configuration(registries, f"{rules}, {{to: hub}}", *sections))
    if told is None:
        assert found == []
        return
    place, host = told.rsplit(": ", 1)
    assert found == [
        f"{place}: warning: clients log in here, and docker sends what it has stored for this name "
        f"to where it is redirected: '{host}' is another owner's; relay it too, or serve it by "
        "another name"
    ]


@pytest.mark.parametrize("terms", ["auth: anonymous", "challenge: keep"])
def test_where_nobody_logs_in_nothing_is_shown(terms: str) -> None:
    registries = f"hub: {{url: 'https://r.example.net', mode: relay, {terms}}}"
    rules = "{path: /a, to: 'https://registry.k8s.io'}, {to: hub}"
    assert warnings(configuration(registries, rules, TOKEN)) == []
