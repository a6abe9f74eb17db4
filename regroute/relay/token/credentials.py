"""What a relayed request carries of credentials: the client's, ours or none; or that it waits.

The law: no credential goes to another origin than the one that it is bound to. A front token is
bound to the one that it names, and a password to the registry that wants one.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

from ...answers import Answer, Relay, api_ok, refuse
from ...oci import Kind
from ...origins import normal_origin
from ...registry import Account, Visitors
from ...target import is_under_v2, visible_path
from .challenges import Challenge, parse_challenges
from .demand import Basic, Bearer, Demand, Open, Unusable
from .scope import CATALOG, DELETE, PULL, PUSH, Scope, here, is_repository, parse_scopes
from .tokens import FrontToken, unwrap

INVALID, INSUFFICIENT = "invalid_token", "insufficient_scope"
"""Why a token does not do (RFC 6750 §3.1)."""

_CREDENTIALS = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) +([!-~]+)")
_CATALOG_PATH = "/v2/_catalog"


@dataclass(frozen=True)
class Send:
    """The request goes on, with these ``Authorization`` lines in place of the client's."""

    authorization: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Ours:
    """It goes on with a token that is fetched for it, for scopes by the names here."""

    scopes: tuple[Scope, ...]


@dataclass(frozen=True)
class Unauthorized:
    """It does not go on: the client has to bring a token for these scopes. `error` says why the
    one that it has brought does not do.
    """

    scopes: tuple[Scope, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Welcome:
    """It is answered here: the API check of someone whose credentials have been checked already."""


@dataclass(frozen=True)
class Refused:
    """It is answered here, with an error."""

    status: int
    message: str


@dataclass(frozen=True)
class Unknown:
    """What the registry asks for must be learned first."""


Verdict = Send | Ours | Unauthorized | Welcome | Refused | Unknown

_SEND_NONE = Send()


def admit(
    relay: Relay, method: str, authorization: Sequence[bytes], demand: Demand | None
) -> Verdict:
    """What a request may carry that has these ``Authorization`` lines; pure.

    `demand` is what the registry asks for, None if that is not known.
    """
    terms = relay.to.terms
    if terms.auth is not Visitors.CLIENT:
        return _admit_as_ours(relay, method, authorization, demand)
    token = _front_token(authorization)
    origin = normal_origin(relay.to.origin)
    ours = token.good_for(origin) if token else None
    if ours is not None:
        return Send((ours.encode("ascii"),))
    if terms.keeps_challenge or not is_of_registry(relay):
        # A token that is for another registry stays here.
        return Send(tuple(line for line in authorization if _front_token([line]) is None))
    if len(authorization) > 1:
        return Refused(400, "Authorization is given more than once")
    if relay.kind is Kind.API:
        return _welcome(authorization, token)
    return _admit_client(relay, method, authorization, token, demand)


def _admit_client(
    relay: Relay,
    method: str,
    authorization: Sequence[bytes],
    token: FrontToken | None,
    demand: Demand | None,
) -> Verdict:
    terms = relay.to.terms
    match demand:
        case None:
            return Unknown()
        case Unusable(why=why):
            return Refused(502, f"the registry '{relay.registry}' {why}")
        case Open() | Bearer(asks_all=False) | Basic(asks_all=False) if token or not authorization:
            return _SEND_NONE
        case Basic() if terms.takes_logins and _is_basic(authorization):
            return Send(tuple(authorization))
    error = None
    if token is not None:
        # What it is good for is another registry, or one that wants no credentials.
        error = INSUFFICIENT if token.authorization is None else INVALID
    elif authorization and not _is_basic(authorization):
        error = INVALID
    return Unauthorized(asked_scopes(relay, method), error)


def _admit_as_ours(
    relay: Relay, method: str, authorization: Sequence[bytes], demand: Demand | None
) -> Verdict:
    """The same where no credentials of clients are wanted: none of theirs goes on."""
    if not is_of_registry(relay):
        return _SEND_NONE
    if relay.kind is Kind.API:
        return _welcome(authorization, _front_token(authorization))
    account, scopes = relay.to.terms.auth, asked_scopes(relay, method)
    match demand:
        case None:
            return Unknown()
        case Unusable(why=why):
            return Refused(502, f"the registry '{relay.registry}' {why}")
        case Bearer() | Basic() if isinstance(account, Account) and not scopes:
            # Rules about repositories do not see what a registry may read in it.
            return Refused(
                403,
                f"the registry '{relay.registry}' is asked with our account for what the "
                "distribution specification knows, and this path is nothing of that",
            )
        case Bearer():
            return Ours(scopes)
        case Basic() if isinstance(account, Account):
            return Send((basic(account),))
        case Basic(asks_all=True):
            return Refused(
                403,
                f"the registry '{relay.registry}' wants a password and is asked without one here "
                "(auth: anonymous)",
            )
    return _SEND_NONE


def _welcome(authorization: Sequence[bytes], token: FrontToken | None) -> Verdict:
    """The API check: it sends clients to the token endpoint, which tells who may log in."""
    if token is not None:
        return Welcome()
    wrong = bool(authorization) and not _is_basic(authorization)
    return Unauthorized((), INVALID if wrong else None)


def basic(account: Account) -> bytes:
    """A user name and password as an ``Authorization`` value (RFC 7617)."""
    text = f"{account.username}:{account.password}"
    # The bytes of clients that write something else than UTF-8 go on as they came.
    return b"Basic " + b64encode(text.encode(errors="surrogateescape"))


def _is_basic(authorization: Sequence[bytes]) -> bool:
    return bool(authorization) and authorization[0].partition(b" ")[0].lower() == b"basic"


def _front_token(authorization: Sequence[bytes]) -> FrontToken | None:
    if len(authorization) != 1:
        return None
    match = _CREDENTIALS.fullmatch(authorization[0])
    if match is None or match[1].lower() != b"bearer":
        return None
    return unwrap(match[2].decode("ascii"))


def is_of_registry(relay: Relay) -> bool:
    """Whether it is a request of the registry API, and not one for some page of a site."""
    return relay.kind is not Kind.OTHER or is_under_v2(visible_path(relay.target.encode("ascii")))


def asked_scopes(relay: Relay, method: str) -> tuple[Scope, ...]:
    """What a token must be for to let a request pass, by the names here."""
    if relay.repository is None:
        path = visible_path(relay.target.encode("ascii"))
        return (CATALOG,) if path == _CATALOG_PATH else ()
    actions: tuple[str, ...] = (PULL,)
    if method in ("POST", "PUT", "PATCH"):
        actions = (PULL, PUSH)
    elif method == "DELETE":
        actions = (PULL, DELETE)
    source = _mount_source(relay) if method == "POST" else None
    own = Scope("repository", relay.repository, actions)
    if source is None or source == relay.repository:
        return (own,)
    return (own, Scope("repository", source, (PULL,)))


def _mount_source(relay: Relay) -> str | None:
    """The repository that a blob is to be mounted from (distribution-spec §Mounting a blob)."""
    if relay.kind is not Kind.UPLOADS or "from=" not in relay.target:
        return None
    query = parse_qsl(relay.target.partition("?")[2])
    name = next((value for key, value in query if key == "from"), "")
    return name if is_repository(name) else None


def challenge(realm: str, service: str, wanted: Unauthorized) -> bytes:
    """The challenge that sends a client to the token endpoint (RFC 6750 §3)."""
    parameters = [("realm", realm), ("service", service)]
    if wanted.scopes:
        parameters.append(("scope", " ".join(map(str, wanted.scopes))))
    if wanted.error:
        parameters.append(("error", wanted.error))
    return str(Challenge("bearer", tuple(parameters))).encode("ascii")


def contradicted(relay: Relay, method: str, authenticate: Sequence[bytes]) -> Unauthorized:
    """What a client is told where the registry itself has answered 401, in these lines.

    The registry knows best what it wants a token for; its names become those here.
    """
    bearer = [each for each in parse_challenges(authenticate) if each.scheme == "bearer"]
    scopes = asked_scopes(relay, method)
    for each in bearer[:1]:
        error = each.get("error")
        try:
            named = parse_scopes([each.get("scope") or ""])
        except ValueError:
            named = ()
        found = tuple(here(scope, relay.to, relay.repository) for scope in named)
        return Unauthorized(found or scopes, error if error in (INVALID, INSUFFICIENT) else None)
    return Unauthorized(scopes)


def answer(
    verdict: Unauthorized | Welcome | Refused, relay: Relay, realm: str, service: str
) -> Answer:
    """The answer to a request that does not go on."""
    match verdict:
        case Welcome():
            found = api_ok(under_v2=True, rule=relay.rule, kind=relay.kind)
        case Refused(status=status, message=message):
            found = refuse(status, message, under_v2=True, rule=relay.rule, kind=relay.kind)
        case Unauthorized():
            found = refuse(
                401,
                "a token is needed: the challenge says where to get it",
                under_v2=True,
                rule=relay.rule,
                kind=relay.kind,
                extra=((b"WWW-Authenticate", challenge(realm, service, verdict)),),
            )
    return replace(found, registry=relay.registry)
