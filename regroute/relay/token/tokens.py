"""Front tokens: what clients get from the token endpoint here, and bring along with requests.

A token holds an ``Authorization`` value of a registry, with the origin that it is for: it goes
there and nowhere else. Clients take it for an opaque text. It is not signed, for it opens nothing:
whoever makes one up has made up the credentials in it too.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field

LONGEST = 32 * 1024
"""How long a token may be, in characters: longer than a head with its default limit."""

_WRAPPED = re.compile(r"[A-Za-z0-9_-]+")
# No control character, whoever has written the token: it becomes a field's value.
_AUTHORIZATION = re.compile(r"(?:Bearer|Basic) [!-~]+")
_SECRET = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class FrontToken:
    """An `authorization` that is for the registry of `origin`; or nothing, for none."""

    origin: str | None = None
    authorization: str | None = field(default=None, repr=False)

    def good_for(self, origin: str) -> str | None:
        """What it holds for the registry of this origin."""
        return self.authorization if self.origin == origin else None


@dataclass(frozen=True)
class FrontRefresh:
    """A registry's refresh token, for the realm of the registry of `origin`."""

    origin: str
    secret: str = field(repr=False)


def wrap(origin: str | None, authorization: str | None) -> str:
    """A token for this origin's registry; raises `ValueError` where it gets too long."""
    if authorization is None:
        origin = None
    return _write({"o": origin, "a": authorization})


def unwrap(token: str) -> FrontToken | None:
    """What a token of ours holds; None for every other text."""
    match _read(token):
        case {"o": None, "a": None, **others} if not others:
            return FrontToken()
        case {"o": str(origin), "a": str(text), **others} if not others:
            return FrontToken(origin, text) if _AUTHORIZATION.fullmatch(text) else None
    return None


def wrap_refresh(origin: str, secret: str) -> str:
    """A refresh token, which is no token for requests; raises `ValueError` if it gets too long."""
    return _write({"o": origin, "r": secret})


def unwrap_refresh(token: str) -> FrontRefresh | None:
    """What a refresh token of ours holds; None for every other text."""
    match _read(token):
        case {"o": str(origin), "r": str(secret), **others} if not others:
            return FrontRefresh(origin, secret) if _SECRET.fullmatch(secret) else None
    return None


def _write(content: dict[str, str | None]) -> str:
    text = json.dumps(content, separators=(",", ":")).encode("ascii")
    token = urlsafe_b64encode(text).decode("ascii").rstrip("=")
    if len(token) > LONGEST:
        raise ValueError("the token is too long to be sent in a field")
    return token


def _read(token: str) -> object:
    if len(token) > LONGEST or not _WRAPPED.fullmatch(token):
        return None
    try:
        return json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, RecursionError):
        return None
