"""Asking a realm for a token, and what it answers.

By distribution's token specification, and with refresh tokens by RFC 6749.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from ...registry import Account, Registry
from ..upstream.ask import Question, Reply, Unreachable
from .credentials import basic
from .demand import Bearer
from .scope import Scope

USER_AGENT = b"regroute"

_DEFAULT_LIFE = 60  # of a token that tells of none, in seconds
_LONGEST_LIFE = 24 * 60 * 60
_SECRET = re.compile(r"[!-~]+")
_TIME = re.compile(r"[0-9T:.Zz+-]{1,40}")
_FORM = b"application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Grant:
    """A token. `expires_in` is in seconds, since `issued_at` if that is told."""

    token: str = field(repr=False)
    expires_in: int = _DEFAULT_LIFE
    issued_at: str | None = None
    refresh_token: str | None = field(default=None, repr=False)


class Denied(Exception):
    """A realm, or a registry, does not want these credentials, or grants nothing for them.

    `status` is its own: 401, 403 or 429.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def token_question(
    registry: Registry,
    demand: Bearer,
    scopes: Sequence[Scope],
    account: Account | None,
    *,
    offline: bool = False,
) -> Question:
    """A registry's realm is asked for a token, as nobody or with a password.

    `scopes` are by the names there; `offline` asks for a refresh token too.
    """
    parameters = [*_service(demand), *(("scope", str(scope)) for scope in scopes)]
    if account is not None:
        parameters.append(("account", account.username))
    if offline:
        parameters.append(("offline_token", "true"))
    query = urlencode(parameters, errors="surrogateescape", quote_via=quote)
    joint = "" if not query else "&" if "?" in demand.target else "?"
    fields = [(b"user-agent", USER_AGENT), (b"accept", b"application/json")]
    if account is not None:
        fields.append((b"authorization", basic(account)))
    target = f"{demand.target}{joint}{query}".encode("ascii")
    return Question(registry, demand.origin, b"GET", target, tuple(fields))


def refresh_question(
    registry: Registry, demand: Bearer, scopes: Sequence[Scope], secret: str
) -> Question:
    """The same with a refresh token of this realm (RFC 6749 §6)."""
    parameters = [
        ("grant_type", "refresh_token"),
        ("refresh_token", secret),
        ("client_id", "regroute"),
        *_service(demand),
    ]
    if scopes:
        parameters.append(("scope", " ".join(map(str, scopes))))
    body = urlencode(parameters, quote_via=quote).encode("ascii")
    fields = (
        (b"user-agent", USER_AGENT),
        (b"accept", b"application/json"),
        (b"content-type", _FORM),
    )
    return Question(registry, demand.origin, b"POST", demand.target.encode("ascii"), fields, body)


def _service(demand: Bearer) -> list[tuple[str, str]]:
    return [] if demand.service is None else [("service", demand.service)]


def read_grant(registry: Registry, reply: Reply) -> Grant:
    """The token of a realm's answer; raises `Denied`, and `Unreachable` if it makes no sense."""
    if reply.status in (401, 403, 429):
        raise Denied(reply.status)
    if reply.status != 200:
        raise Unreachable(502, f"the realm of '{registry.name}' answers {reply.status}")
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Unreachable(502, f"the realm of '{registry.name}' answers something else than JSON")
    token = _secret(document.get("token")) or _secret(document.get("access_token"))
    if token is None:
        raise Unreachable(502, f"the realm of '{registry.name}' gives no token")
    issued_at = document.get("issued_at")
    return Grant(
        token,
        _life(document.get("expires_in")),
        issued_at if isinstance(issued_at, str) and _TIME.fullmatch(issued_at) else None,
        _secret(document.get("refresh_token")),
    )


def _secret(value: object) -> str | None:
    return value if isinstance(value, str) and _SECRET.fullmatch(value) else None


def _life(value: object) -> int:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**53:
        return _DEFAULT_LIFE
    return min(int(value), _LONGEST_LIFE)
