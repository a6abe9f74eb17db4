"""Where clients are sent for tokens."""

from ipaddress import ip_address

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from regroute.answers import Refusal
from regroute.certificates import join
from regroute.relay.token.front import Front, Names, token_path

from ...issuers import new_key, new_root

NAMES = Names(("registry.example", "10.0.0.1", "[2001:db8::1]"), (".apps.example",))


def url(
    host: str, names: Names | None = NAMES, proto: str | None = None, realm: str | None = None
) -> str | int:
    """The URL, or the status of the refusal."""
    front = Front(realm, names, host.encode("latin-1"), None if proto is None else proto.encode())
    try:
        return front.url
    except Refusal as refusal:
        return refusal.status


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("registry.example", "https://registry.example/token"),
        ("Registry.Example:5000", "https://registry.example:5000/token"),
        ("registry.example.", "https://registry.example./token"),
        ("a.apps.example", "https://a.apps.example/token"),
        ("10.0.0.1", "https://10.0.0.1/token"),
        ("[2001:DB8::1]:443", "https://[2001:db8::1]:443/token"),
        ("evil.example", "https://registry.example/token"),
        ("evil.example:5000", "https://registry.example:5000/token"),
        ("apps.example", "https://registry.example/token"),
        ("a.b.apps.example", "https://registry.example/token"),
        ("evil-registry.example", "https://registry.example/token"),
        ("10.0.0.2", "https://registry.example/token"),
        ("", "https://registry.example/token"),
    ],
)
def test_under_tls_only_names_of_the_certificates_are_ours(host: str, expected: str) -> None:
    assert url(host) == url(host, proto="http") == expected


def test_with_wildcards_alone_a_foreign_name_is_refused() -> None:
    only = Names((), (".apps.example",))
    assert url("a.apps.example", only) == "https://a.apps.example/token"
    assert url("evil.example", only) == 400


@pytest.mark.parametrize(
    ("host", "proto", "expected"),
    [
        ("registry.example", None, "http://registry.example/token"),
        ("Registry.Example:5000", None, "http://registry.example:5000/token"),
        ("registry.example:", None, "http://registry.example/token"),
        ("[::1]:5000", None, "http://[::1]:5000/token"),
        ("registry.example", "https", "https://registry.example/token"),
        ("registry.example", "HTTPS", "https://registry.example/token"),
        ("registry.example", "http", "http://registry.example/token"),
        ("registry.example", "https,http", "http://registry.example/token"),
        ("registry.example", "javascript", "http://registry.example/token"),
        ("registry.example", "", "http://registry.example/token"),
        ("", None, 400),
        ("a b", None, 400),
        ('a"b', None, 400),
        ("user@registry.example", None, 400),
        ("registry.example/path", None, 400),
        ("registry.example\\", None, 400),
        ("[::1", None, 400),
    ],
)
def test_in_plain_http_the_host_must_be_one(
    host: str, proto: str | None, expected: str | int
) -> None:
    assert url(host, None, proto) == expected


@pytest.mark.parametrize("names", [None, NAMES, Names(())])
@pytest.mark.parametrize("host", ["evil.example", "", "registry.example"])
def test_a_configured_realm_comes_before_all(names: Names | None, host: str) -> None:
    realm = "https://auth.example:8443/docker/token"
    assert url(host, names, "http", realm) == realm


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=20))
def test_any_host_makes_a_url_that_can_stand_in_quotes(host: str) -> None:
    for names in (None, NAMES):
        found = url(host, names)
        assert found == 400 or not set(str(found)) & set('"\\ \t\r\n')


@pytest.mark.parametrize(
    ("target", "query"),
    [
        ("/v2/a/manifests/1", ""),
        ("/v2/a/tags/list?n=1&ns=", "?ns="),
        ("/v2/a/manifests/1?ns=docker.io", "?ns=docker.io"),
        ("/v2/a/manifests/1?x=y&ns=r.example%3A5000", "?ns=r.example%3A5000"),
        ("/v2/a/manifests/1?ns=%22%0d%0a&ns=x", "?ns=%22%0D%0A"),
        ("/v2/a/manifests/1?tokens=x", ""),
    ],
)
def test_a_mirror_takes_along_which_registry_is_meant(target: str, query: str) -> None:
    front = Front(None, NAMES, b"registry.example")
    assert front.url_for(target) == f"https://registry.example/token{query}"


@pytest.mark.parametrize(
    ("realm", "service"),
    [(None, "registry.example:5000"), ("https://auth.example:8443/t", "auth.example:8443")],
)
def test_tokens_are_for_the_realms_own_host(realm: str | None, service: str) -> None:
    assert Front(realm, NAMES, b"registry.example:5000").service == service


@pytest.mark.parametrize(
    ("realm", "path"),
    [
        (None, "/token"),
        ("https://auth.example/docker/token", "/docker/token"),
        ("http://auth.example:80/%74oken", "/token"),
    ],
)
def test_the_endpoint_is_at_the_realms_path(realm: str | None, path: str) -> None:
    assert token_path(realm) == path


def test_the_names_are_those_of_all_certificates_the_default_one_first() -> None:
    root, key = new_root(), new_key()
    alternatives = x509.SubjectAlternativeName(
        [
            x509.DNSName("*.Apps.example"),
            x509.DNSName("registry.example."),
            x509.IPAddress(ip_address("10.0.0.1")),
            x509.IPAddress(ip_address("2001:db8::1")),
        ]
    )
    by_address = join((root.sign(key, alternatives=alternatives),), key)
    nameless = join((root.sign(key),), key)
    names = Names.of([by_address, root.issue("other.example", "registry.example"), nameless])
    assert names == Names(
        ("registry.example", "10.0.0.1", "[2001:db8::1]", "other.example"), (".apps.example",)
    )
    assert Names.of([nameless]) == Names(())
