"""What is asked of the token endpoint: by a query (distribution's token specification) or by a form
(OAuth 2.0, RFC 6749 §4.3 and §6).
"""

import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from ...answers import Reason, Refusal
from ...registry import Account
from ...target import parse_target
from .scope import Scope, parse_scopes

LONGEST_BODY = 64 * 1024
"""How long a form may be, in bytes."""

_MOST_PARAMETERS = 100
_FORM = b"application/x-www-form-urlencoded"
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class TokenRequest:
    """What is asked: a token for `scopes`, by someone with an account or a refresh token, or by
    nobody in particular. `offline` asks for a refresh token too; `namespace` is the registry that a
    mirror's client means.
    """

    scopes: tuple[Scope, ...] = ()
    account: Account | None = None
    refresh_token: str | None = field(default=None, repr=False)
    offline: bool = False
    namespace: str | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody says who he is."""
        return self.account is None and self.refresh_token is None


def read_request(
    method: str,
    target: bytes,
    authorization: Sequence[bytes],
    content_type: Sequence[bytes],
    body: bytes,
) -> TokenRequest:
    """Read a request of the token endpoint; raises `Refusal` where it is not of that form."""
    namespace = parse_target(target).namespace
    query = target.partition(b"#")[0].partition(b"?")[2]
    if method == "GET":
        parameters = _pairs(query)
        account = _read_basic(authorization)
        offline = ("offline_token", "true") in parameters
        scopes = _scopes(parameters)
        return TokenRequest(scopes, account, None, offline, namespace)
    if method != "POST":
        raise Refusal(405, "tokens are asked for by GET or POST", Reason.TOKEN)
    if len(body) > LONGEST_BODY:
        raise Refusal(413, "the form is too long", Reason.TOKEN)
    if len(content_type) != 1 or content_type[0].partition(b";")[0].strip().lower() != _FORM:
        raise _malformed("send a form: application/x-www-form-urlencoded")
    return _read_form(_pairs(body), namespace)


def _read_form(parameters: list[tuple[str, str]], namespace: str | None) -> TokenRequest:
    single = [name for name, _ in parameters if name != "scope"]
    if len(set(single)) != len(single):
        raise _malformed("a parameter of the form is given twice")
    values = dict(parameters)
    scopes, offline = _scopes(parameters), values.get("access_type") == "offline"
    match values.get("grant_type"):
        case "password":
            if not values.get("username") or "password" not in values:
                raise _malformed("grant_type=password goes with username and password")
            account = _account(values["username"], values["password"])
            return TokenRequest(scopes, account, None, offline, namespace)
        case "refresh_token":
            if not values.get("refresh_token"):
                raise _malformed("grant_type=refresh_token goes with refresh_token")
            return TokenRequest(scopes, None, values["refresh_token"], offline, namespace)
    raise _malformed("grant_type is password or refresh_token")


def _malformed(message: str) -> Refusal:
    return Refusal(400, message, Reason.TOKEN)


def _pairs(encoded: bytes) -> list[tuple[str, str]]:
    """The parameters of a query or form in UTF-8; nothing is guessed (WHATWG URL §5.1)."""
    try:
        text = encoded.decode("ascii")
        if _BAD_ESCAPE.search(text):
            raise ValueError
        return parse_qsl(
            text,
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError:
        raise _malformed("the parameters are malformed") from None


def _scopes(parameters: Sequence[tuple[str, str]]) -> tuple[Scope, ...]:
    try:
        return parse_scopes(value for name, value in parameters if name == "scope")
    except ValueError as error:
        raise _malformed(str(error)) from None


def _read_basic(authorization: Sequence[bytes]) -> Account | None:
    """The account of a Basic ``Authorization`` (RFC 7617); other schemes are no account."""
    if len(authorization) > 1:
        raise _malformed("Authorization is given more than once")
    scheme, _, encoded = (authorization[0] if authorization else b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        decoded = b64decode(encoded.strip(b" "), validate=True)
    except ValueError:
        raise _malformed("the credentials are no base64") from None
    username, colon, password = decoded.decode(errors="surrogateescape").partition(":")
    if not colon:
        raise _malformed("the credentials are no user name and password")
    return _account(username, password)


def _account(username: str, password: str) -> Account:
    # RFC 7617 §2: neither has control characters, and the name ends at the first colon.
    if ":" in username or _CONTROL.search(username + password):
        raise _malformed("the credentials have characters that no account can have")
    return Account(username, password)
