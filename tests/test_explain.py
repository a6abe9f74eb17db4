"""What is explained of requests whose answer is not ours to give."""

from ipaddress import IPv4Address
from typing import Any

import pytest

from regroute.explain import Explanation, explain

from .making import checked

RULES = """\
registries:
  hub: {url: https://registry.example/team, mode: relay}
  auto: {url: https://auto.example, mode: auto}
  own: {url: https://own.example, mode: auto, auth: {username: u, password_file: p.txt}}
  open: https://open.example
rules:
  - {name: own, client: 10.0.0.0/8, to: own}
  - {name: auto, host: auto.example, method: [GET, PUT], to: auto, status: 307}
  - {name: open, path: [/open*, /v2/open/*], to: open}
  - {name: hub, to: hub}
"""
CHECKED = checked(RULES, {"p.txt": b"secret\n"})


def explained(
    target: str = "/v2/a/manifests/1",
    *,
    client: str = "192.0.2.1",
    method: str = "GET",
    host: str = "",
    user_agent: str = "",
    known_open: tuple[str, ...] = (),
    realm: str | None = None,
) -> Explanation:
    rules = CHECKED
    if realm is not None:
        rules = checked(f"{RULES}token: {{realm: '{realm}'}}", {"p.txt": b"secret\n"})
    address, asked = IPv4Address(client), host.encode()
    raw = target.encode()
    return explain(rules, "r.yaml", address, method, raw, asked, user_agent, frozenset(known_open))


def test_a_relay_for_people() -> None:
    assert explained().as_text().splitlines() == [
        "client    192.0.2.1",
        "networks  none",
        "rule      hub (r.yaml:10)",
        "registry  hub",
        "relay     https://registry.example/v2/team/a/manifests/1",
    ]


def test_a_relay_for_programs() -> None:
    assert explained().as_json() == {
        "client": "192.0.2.1",
        "networks": [],
        "rule": {"name": "hub", "file": "r.yaml", "line": 10},
        "registry": "hub",
        "status": None,
        "location": None,
        "headers": {},
        "relay": "https://registry.example/v2/team/a/manifests/1",
        "if_open": None,
    }


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("/v2/_catalog?n=1&last=b", "/v2/_catalog?n=1&last=team/b"),
        ("/v2/a/blobs/uploads/?mount=x&from=b", "/v2/team/a/blobs/uploads/?mount=x&from=team/b"),
        ("/v2/a/blobs/uploads/?mount=x&from=open/b", "/v2/team/a/blobs/uploads/"),
    ],
)
def test_a_relay_is_told_with_the_names_that_the_registry_is_asked_by(
    target: str, asked: str
) -> None:
    assert explained(target).as_json()["relay"] == f"https://registry.example{asked}"


def test_what_is_relayed_until_nobody_is_asked_there_says_so() -> None:
    explanation = explained(host="auto.example")
    url = "https://auto.example/v2/a/manifests/1"
    assert explanation.as_text().splitlines()[-2:] == [
        f"relay     {url}",
        f"if open   307 {url}",
    ]
    told = explanation.as_json()
    assert (told["status"], told["relay"]) == (None, url)
    assert told["if_open"] == {"status": 307, "location": url}


@pytest.mark.parametrize(
    ("asked", "status", "relays", "if_open"),
    [
        ({"host": "auto.example"}, None, True, True),
        ({"host": "auto.example", "known_open": ("https://auto.example",)}, 307, False, False),
        ({"host": "auto.example", "known_open": ("https://own.example",)}, None, True, True),
        ({"host": "auto.example", "user_agent": "containerd/1.6.20"}, 307, False, False),
        ({"host": "auto.example", "method": "PUT"}, None, True, False),
        ({"client": "10.0.0.1", "user_agent": "containerd/1.6.20"}, None, True, True),
        ({"target": "/open"}, 302, False, False),
        ({"method": "PUT"}, 405, False, False),
    ],
)
def test_what_decides_between_a_redirect_and_a_relay(
    asked: dict[str, Any], status: int | None, relays: bool, if_open: bool
) -> None:
    told = explained(**asked).as_json()
    assert told["status"] == status
    assert ("relay" in told, bool(told.get("if_open"))) == (relays, if_open)


@pytest.mark.parametrize(
    ("realm", "target", "is_token"),
    [
        (None, "/token", True),
        (None, "/token?service=x&scope=y", True),
        (None, "http://a.example/%74oken", True),
        (None, "/token/", False),
        (None, "/Token", False),
        (None, "/open/token", False),
        ("https://a.example/auth/t", "/auth/t", True),
        ("https://a.example/auth/t", "/token", False),
    ],
)
def test_the_token_endpoint_comes_before_all_rules(
    realm: str | None, target: str, is_token: bool
) -> None:
    explanation = explained(target, realm=realm)
    assert ("token" in explanation.as_json()) == is_token
    assert explanation.as_text().endswith("token     clients get their tokens here") == is_token
    if is_token:
        told = explanation.as_json()
        assert (told["token"], told["rule"], told["registry"]) == (True, None, None)


def test_a_request_that_is_malformed_gets_no_token() -> None:
    assert explained("/token", host="a b").as_json()["status"] == 400


def test_where_nobody_challenges_there_is_no_token_endpoint() -> None:
    rules = checked("rules: [{to: https://a.example}]")
    told = explain(rules, "f", IPv4Address("192.0.2.1"), "GET", b"/token", b"", "")
    assert told.as_json()["location"] == "https://a.example/token"


def test_no_secret_is_explained() -> None:
    explanation = explained(client="10.0.0.1")
    assert "secret" not in f"{explanation.as_text()} {explanation.as_json()} {explanation!r}"
