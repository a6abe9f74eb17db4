"""A credential where it does not belong is found, however it comes."""

import base64
import json

import pytest

from .belonging import misplaced
from .captured import Asked


def basic(user: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:its password'.encode()).decode()}"


def bearer(audience: str) -> str:
    """A token as those of the token servers, but for its signature."""
    claims = base64.urlsafe_b64encode(json.dumps({"aud": audience}).encode()).decode()
    return f"Bearer e30.{claims.rstrip('=')}.e30"


def form(**fields: str) -> str:
    return "&".join(f"{key}={value}" for key, value in fields.items())


@pytest.mark.parametrize(
    ("host", "authorization", "sent", "fault"),
    [
        ("hub.test", None, None, None),
        ("hub.test", bearer("hub.test"), None, None),
        ("hub.test", bearer("private.test"), None, "a token for private.test"),
        ("hub.test", "Bearer a-token-of-the-front", None, "a token for None"),
        ("hub.test", basic("hub-user"), None, "the password of hub-user"),
        ("hub-auth.test", basic("hub-user"), None, None),
        ("private-auth.test", basic("hub-user"), None, "the password of hub-user"),
        ("hub-auth.test", bearer("hub.test"), None, "a token for hub.test"),
        ("basic.test", basic("basic-user"), None, None),
        ("open.test", basic("basic-user"), None, "the password of basic-user"),
        ("hub-storage.test", "Bearer x", None, "a token for None"),
        ("hub-auth.test", None, form(username="hub-user", password="x"), None),
        (
            "hub-auth.test",
            None,
            form(username="private-user", password="x"),
            "the password of private-user",
        ),
        ("hub-auth.test", None, form(refresh_token="refresh-hub.test-1"), None),
        (
            "hub-auth.test",
            None,
            form(refresh_token="refresh-private.test-1"),
            "a refresh token of private-auth.test",
        ),
        ("hub-storage.test", "Digest x", None, "a credential"),
    ],
)
def test_what_belongs_where(
    host: str, authorization: str | None, sent: str | None, fault: str | None
) -> None:
    """Each credential belongs to one host, and to storages none."""
    asked = Asked("192.0.2.1", host, "GET", "/", authorization, None, None, None, sent)

    found = misplaced([asked])

    assert (found[0] if found else None) == (fault and f"{fault} at {host}: GET /")
