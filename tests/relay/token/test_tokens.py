"""Front tokens: what is wrapped comes out again, and nothing else does."""

import json
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.relay.token.tokens import (
    LONGEST,
    FrontRefresh,
    FrontToken,
    unwrap,
    unwrap_refresh,
    wrap,
    wrap_refresh,
)

HUB, OTHER = "https://hub.example", "https://other.example:5000"

secrets = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=80)
origins = st.sampled_from([HUB, OTHER, "http://[::1]:5000"])


def encoded(content: object) -> str:
    """A text in the form of a token."""
    text = content if isinstance(content, str) else json.dumps(content)
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@given(origins, st.sampled_from(["Bearer", "Basic"]), secrets)
def test_a_token_holds_what_it_was_given_for_one_origin(
    origin: str, scheme: str, secret: str
) -> None:
    token = wrap(origin, f"{scheme} {secret}")
    found = unwrap(token)
    assert found == FrontToken(origin, f"{scheme} {secret}")
    assert found.good_for(origin) == f"{scheme} {secret}"
    assert found.good_for("https://elsewhere.example") is None
    assert unwrap_refresh(token) is None


@given(origins, secrets)
def test_a_refresh_token_is_no_token_for_requests(origin: str, secret: str) -> None:
    token = wrap_refresh(origin, secret)
    assert unwrap_refresh(token) == FrontRefresh(origin, secret)
    assert unwrap(token) is None


@pytest.mark.parametrize("origin", [None, HUB])
def test_a_token_without_credentials_is_for_no_registry(origin: str | None) -> None:
    found = unwrap(wrap(origin, None))
    assert found == FrontToken()
    assert found.good_for(HUB) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        encoded(""),
        encoded("{"),
        encoded("[" * 20_000),
        encoded("9" * 5000),
        encoded([]),
        encoded({}),
        encoded({"o": HUB}),
        encoded({"o": HUB, "a": None}),
        encoded({"o": None, "a": "Bearer x"}),
        encoded({"o": 1, "a": "Bearer x"}),
        encoded({"o": HUB, "a": ["Bearer x"]}),
        encoded({"o": HUB, "a": "Bearer x", "r": "y"}),
        encoded({"o": HUB, "a": "Bearer x", "more": 1}),
        encoded({"o": HUB, "a": "Digest x"}),
        encoded({"o": HUB, "a": "Bearer"}),
        encoded({"o": HUB, "a": "Bearer "}),
        encoded({"o": HUB, "a": "Bearer x y"}),
        encoded({"o": HUB, "a": "Bearer x\r\nX-Evil: y"}),
        encoded({"o": HUB, "a": "Bearer x\n"}),
        encoded({"o": HUB, "a": "Bearer \u00e4"}),
        encoded({"o": HUB, "r": "x\r\n"}),
        encoded({"o": HUB, "r": ""}),
        wrap(HUB, "Bearer x") + "=",
        wrap(HUB, "Bearer x")[:-1],
        wrap(HUB, "Bearer x") + "\n",
        encoded({"o": HUB, "a": "Bearer " + "x" * LONGEST}),
    ],
)
def test_a_text_that_is_no_token_of_ours_holds_nothing(token: str) -> None:
    """It may be made up: no line of a head can be got into a registry's by it."""
    assert unwrap(token) is None
    assert unwrap_refresh(token) is None


@given(
    st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: encoded(raw.decode("latin-1")))
)
def test_any_text_is_a_token_or_none(text: str) -> None:
    for found in (unwrap(text), unwrap_refresh(text)):
        assert found is None or str(found).isprintable()


def test_tokens_have_an_end() -> None:
    room = LONGEST * 3 // 4 - len(json.dumps({"o": HUB, "a": "Bearer "}, separators=(",", ":")))
    longest = wrap(HUB, "Bearer " + "x" * room)
    assert unwrap(longest) is not None
    assert len(longest) == LONGEST
    with pytest.raises(ValueError, match="too long"):
        wrap(HUB, "Bearer " + "x" * (room + 1))
    with pytest.raises(ValueError, match="too long"):
        wrap_refresh(HUB, "x" * LONGEST)


def test_secrets_are_not_shown() -> None:
    assert "s3cret" not in repr(FrontToken(HUB, "Bearer s3cret"))
    assert "s3cret" not in repr(FrontRefresh(HUB, "s3cret"))
