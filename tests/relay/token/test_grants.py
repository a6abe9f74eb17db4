"""Asking a realm, and what it answers."""

import json
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.registry import Account, Registry
from regroute.relay.token.demand import Bearer
from regroute.relay.token.grants import Denied, Grant, read_grant, refresh_question, token_question
from regroute.relay.token.scope import parse_scopes
from regroute.relay.upstream.ask import Reply, Unreachable

HUB = Registry("hub", "https://hub.example")
PLAIN = Bearer("https://auth.example", "/token", "hub & co")
WITH_QUERY = Bearer("https://auth.example", "/token?x=y")
SCOPES = parse_scopes(["repository:a/b:pull,push repository:c:pull"])
ODD_LIVES: list[object] = [-1, "300", None, True, [], 10**400, float("inf"), float("nan")]
SCOPE_PAIRS = [("scope", "repository:a/b:pull,push"), ("scope", "repository:c:pull")]


@pytest.mark.parametrize(
    ("demand", "account", "offline", "pairs"),
    [
        (PLAIN, None, False, [("service", "hub & co"), *SCOPE_PAIRS]),
        (WITH_QUERY, None, False, [("x", "y"), *SCOPE_PAIRS]),
        (
            WITH_QUERY,
            Account("ü", "s3cret"),
            True,
            [("x", "y"), *SCOPE_PAIRS, ("account", "ü"), ("offline_token", "true")],
        ),
    ],
)
def test_a_realm_is_asked_by_a_query(
    demand: Bearer, account: Account | None, offline: bool, pairs: list[tuple[str, str]]
) -> None:
    question = token_question(HUB, demand, SCOPES, account, offline=offline)
    path, _, query = question.target.decode("ascii").partition("?")
    assert (question.registry, question.origin) == (HUB, "https://auth.example")
    assert (question.method, path, question.body) == (b"GET", "/token", b"")
    assert parse_qsl(query, strict_parsing=True) == pairs
    expected = None if account is None else b"Basic w7w6czNjcmV0"
    assert dict(question.fields).get(b"authorization") == expected
    assert "s3cret" not in repr(question)


def test_a_realm_that_is_asked_for_nothing_has_no_query() -> None:
    bare = Bearer("https://auth.example", "/token")
    assert token_question(HUB, bare, (), None).target == b"/token"
    assert token_question(HUB, WITH_QUERY, (), None).target == b"/token?x=y"


def test_a_realm_is_asked_by_a_form_with_a_refresh_token() -> None:
    question = refresh_question(HUB, PLAIN, SCOPES, "r3fresh&+=")
    assert (question.method, question.target) == (b"POST", b"/token")
    assert dict(question.fields)[b"content-type"] == b"application/x-www-form-urlencoded"
    assert parse_qsl(question.body.decode(), strict_parsing=True) == [
        ("grant_type", "refresh_token"),
        ("refresh_token", "r3fresh&+="),
        ("client_id", "regroute"),
        ("service", "hub & co"),
        ("scope", "repository:a/b:pull,push repository:c:pull"),
    ]
    assert "r3fresh" not in repr(question)


@pytest.mark.parametrize(
    ("document", "grant"),
    [
        ({"token": "t"}, Grant("t", 60)),
        ({"access_token": "t"}, Grant("t", 60)),
        ({"token": "", "access_token": "t"}, Grant("t", 60)),
        (
            {
                "token": "t",
                "access_token": "other",
                "expires_in": 300,
                "issued_at": "2026-11-24T12:00:00.5Z",
                "refresh_token": "r",
                "more": [],
            },
            Grant("t", 300, "2026-11-24T12:00:00.5Z", "r"),
        ),
        ({"token": "t", "expires_in": 5.9}, Grant("t", 5)),
        ({"token": "t", "expires_in": 0}, Grant("t", 0)),
        ({"token": "t", "expires_in": 10**7}, Grant("t", 86_400)),
        *(({"token": "t", "expires_in": life}, Grant("t", 60)) for life in ODD_LIVES),
        ({"token": "t", "issued_at": "now\r\n", "refresh_token": 5}, Grant("t", 60)),
        ({"token": "t", "refresh_token": "a b"}, Grant("t", 60)),
    ],
)
def test_a_token_is_read_with_what_is_said_of_it(document: dict[str, object], grant: Grant) -> None:
    assert read_grant(HUB, Reply(200, (), json.dumps(document).encode())) == grant


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"[]"),
        (200, b"{"),
        (200, b"[" * 60_000),
        (200, b"\xff"),
        (200, b"{}"),
        (200, b'{"token":null}'),
        (200, b'{"token":"a b"}'),
        (200, b'{"token":"a\\r\\nX: y"}'),
        (200, b'{"token":"\\u00e4"}'),
        (204, b""),
        (302, b'{"token":"t"}'),
        (400, b'{"token":"t"}'),
        (404, b'{"token":"t"}'),
        (500, b'{"token":"t"}'),
    ],
)
def test_an_answer_without_a_token_is_a_fault_of_the_realm(status: int, body: bytes) -> None:
    with pytest.raises(Unreachable, match="the realm of 'hub'") as unreachable:
        read_grant(HUB, Reply(status, (), body))
    assert unreachable.value.status == 502


@pytest.mark.parametrize("status", [401, 403, 429])
def test_a_denial_is_told_as_such(status: int) -> None:
    with pytest.raises(Denied) as denied:
        read_grant(HUB, Reply(status, (), b'{"token":"t"}'))
    assert denied.value.status == status


@given(st.binary(max_size=80) | st.text('{}[]":,token 1e', max_size=40).map(str.encode))
def test_any_answer_is_a_token_or_a_fault(body: bytes) -> None:
    try:
        grant = read_grant(HUB, Reply(200, (), body))
    except Unreachable:
        return
    assert grant.token.isprintable()


def test_secrets_are_not_shown() -> None:
    assert "s3cret" not in repr(Grant("s3cret", 60, None, "s3cret"))
    assert "s3cret" not in repr(Reply(200, (), b"s3cret"))
