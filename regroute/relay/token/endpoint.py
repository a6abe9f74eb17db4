"""The token endpoint: where clients get tokens for all registries that are relayed.

It asks the registry's own realm, or tries a password at the registry itself, and gives out what
comes of it as a front token. What a registry refuses is refused here too: nobody who has named
himself is nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from twisted.internet.defer import Deferred

from ...answers import Answer, Reason, Refusal, granted, refuse
from ...networks.spans import Address
from ...origins import normal_origin
from ...registry import Account, Registry
from ...respond import Lines, said_by
from ...rules import RuleSet
from ...target import parse_target
from ..upstream.ask import Ask, Question, Unreachable
from .credentials import basic
from .demand import Basic, Bearer, Demand, Open, Unusable, serves_some
from .form import TokenRequest, read_request
from .grants import USER_AGENT, Denied, Grant, read_grant, refresh_question, token_question
from .learn import Learn
from .scope import Scope
from .seek import Asker, Barred, Sought, logins, seek
from .tokens import unwrap_refresh, wrap, wrap_refresh

LIFE = 300
"""How long a token is good for that no realm has a word on, in seconds: after that a client has its
password tried anew, or is told what a registry asks for by then."""

_METHODS = ("GET", "POST")
# The realm of the passwords that are sent here (RFC 7617 §2): browsers show it.
_CHALLENGE = ((b"WWW-Authenticate", b'Basic realm="registries", charset="UTF-8"'),)


@dataclass(frozen=True)
class Caller:
    """A request to the endpoint, of a client that is known."""

    client: Address
    method: str
    target: bytes
    lines: Lines = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class Endpoint:
    """Answers requests for tokens. `tell` is told why there is no word from a registry."""

    def __init__(
        self, ask: Ask, learn: Learn, tell: Callable[[Registry, Unreachable], None]
    ) -> None:
        self._ask = ask
        self._learn = learn
        self._tell = tell

    def answer(self, rules: RuleSet, login: Sequence[str], caller: Caller) -> Deferred[Answer]:
        """The answer to a request, which has to do with the registries of these rules.

        `login` are the names of those that clients log in to, if they are few (`TokenFields`).
        Cancelling it asks no more.
        """
        return Deferred.fromCoroutine(self._answer(rules, login, caller))

    async def _answer(self, rules: RuleSet, login: Sequence[str], caller: Caller) -> Answer:
        try:
            wanted = read_request(
                caller.method,
                caller.target,
                caller.lines(b"authorization"),
                caller.lines(b"content-type"),
                caller.body,
            )
            return await self._grant(rules, login, wanted, _asker(caller, wanted))
        except Refusal as refusal:
            return _refuse(refusal.status, refusal.message, refusal.reason)
        except Barred as barred:
            reason = Reason.TOKEN if barred.rule is None else None
            return _refuse(403, barred.message, reason, rule=barred.rule)
        except Unreachable as unreachable:
            return _unreachable(unreachable)

    async def _grant(
        self, rules: RuleSet, login: Sequence[str], wanted: TokenRequest, asker: Asker
    ) -> Answer:
        if not wanted.scopes and not wanted.is_anonymous:
            return await self._log_in(logins(rules, asker, login), wanted)
        sought = seek(rules, asker, wanted.scopes)
        registry = sought.registry
        if registry is None:
            return _give_nothing()
        if not registry.terms.takes_logins:
            # Clients log in to others: what they bring is for those.
            wanted = replace(wanted, account=None, refresh_token=None)
        try:
            demand = await self._learn.demand(registry)
            return await self._ask_for_token(registry, demand, wanted, sought)
        except Denied as denied:
            if wanted.is_anonymous and serves_some(demand) and denied.status != 429:
                return _give_nothing(registry)
            return _deny(registry, denied, wanted)
        except Unreachable as unreachable:
            self._tell(registry, unreachable)
            return replace(_unreachable(unreachable), registry=registry.name)

    async def _log_in(self, registries: Sequence[Registry], wanted: TokenRequest) -> Answer:
        """Try a login where it may be meant, until one registry accepts it: nobody says which."""
        refused: list[Registry] = []
        silent: list[Unreachable] = []
        for registry in registries:
            try:
                demand = await self._learn.demand(registry)
                if isinstance(demand, Open) or not _concerns(wanted, registry):
                    continue
                return await self._ask_for_token(registry, demand, wanted, Sought(registry))
            except Denied as denied:
                if denied.status == 429:
                    return _deny(registry, denied, wanted)
                refused.append(registry)
            except Unreachable as unreachable:
                self._tell(registry, unreachable)
                silent.append(unreachable)
        if silent:
            # It may be right there, so nobody can say that it is wrong.
            raise silent[0]
        if not refused:
            return _unauthorized("no login is needed: no registry here asks clients for one")
        names = ", ".join(f"'{registry.name}'" for registry in refused)
        return _unauthorized(f"the credentials are not accepted by {names}")

    async def _ask_for_token(
        self, registry: Registry, demand: Demand, wanted: TokenRequest, sought: Sought
    ) -> Answer:
        """The answer to a client who wants in at this registry; raises `Denied`, `Unreachable`."""
        match demand:
            case Open():
                return _give_nothing(registry)
            case Basic():
                return await self._try_password(registry, wanted.account, sought.scopes)
            case Bearer():
                grant = await self._ask_realm(registry, demand, wanted, sought)
                return _give(registry, grant, sought.scopes)
            case Unusable(why=why):
                raise Unreachable(502, f"the registry '{registry.name}' {why}")

    async def _ask_realm(
        self, registry: Registry, demand: Bearer, wanted: TokenRequest, sought: Sought
    ) -> Grant:
        secret = _refresh_secret(wanted, registry)
        scopes = sought.scopes_there
        if secret is None:
            question = token_question(
                registry, demand, scopes, wanted.account, offline=wanted.offline
            )
            return read_grant(registry, await self._ask(question))
        question = refresh_question(registry, demand, scopes, secret)
        reply = await self._ask(question)
        if reply.status == 400:
            # RFC 6749 §5.2: invalid_grant.
            raise Denied(401)
        return read_grant(registry, reply)

    async def _try_password(
        self, registry: Registry, account: Account | None, scopes: Sequence[Scope]
    ) -> Answer:
        """A password is wrapped after the registry itself has accepted it, and never before."""
        if account is None:
            raise Denied(401)
        authorization = basic(account)
        origin = normal_origin(registry.origin)
        fields = ((b"user-agent", USER_AGENT), (b"authorization", authorization))
        reply = await self._ask(Question(registry, origin, b"GET", b"/v2/", fields))
        if reply.status in (401, 403, 429):
            self._learn.contradict(registry, reply.lines(b"www-authenticate"))
            raise Denied(reply.status)
        if reply.status != 200:
            raise Unreachable(
                502, f"the registry '{registry.name}' answers its API check with {reply.status}"
            )
        return _document(registry, authorization.decode("ascii"), LIFE, scopes)


def _asker(caller: Caller, wanted: TokenRequest) -> Asker:
    host, user_agent = said_by(caller.lines)
    if (named := parse_target(caller.target).host) is not None:
        # RFC 9112 §3.2.2: the authority of an absolute-form target takes the place of Host.
        host = named.encode("ascii")
    return Asker(caller.client, host, user_agent, wanted.namespace)


def _concerns(wanted: TokenRequest, registry: Registry) -> bool:
    """Whether credentials may be this registry's: a refresh token says whose it is."""
    return wanted.refresh_token is None or _refresh_secret(wanted, registry) is not None


def _refresh_secret(wanted: TokenRequest, registry: Registry) -> str | None:
    """The refresh token for this registry, if the client has brought one; raises `Refusal`."""
    if wanted.refresh_token is None:
        return None
    refresh = unwrap_refresh(wanted.refresh_token)
    if refresh is None:
        raise Refusal(401, "the refresh token is none of this server's", Reason.LOGIN)
    # One of another registry's is not for this one, which takes the client for nobody.
    return refresh.secret if refresh.origin == normal_origin(registry.origin) else None


def _give_nothing(registry: Registry | None = None) -> Answer:
    """A token for requests that need none: clients want one all the same."""
    return _document(registry, None, LIFE, ())


def _give(registry: Registry, grant: Grant, scopes: Sequence[Scope]) -> Answer:
    origin = normal_origin(registry.origin)
    more = {} if grant.issued_at is None else {"issued_at": grant.issued_at}
    try:
        if grant.refresh_token is not None:
            more["refresh_token"] = wrap_refresh(origin, grant.refresh_token)
        return _document(registry, f"Bearer {grant.token}", grant.expires_in, scopes, more)
    except ValueError:
        raise Unreachable(502, f"the realm of '{registry.name}' gives too long a token") from None


def _document(
    registry: Registry | None,
    authorization: str | None,
    life: int,
    scopes: Sequence[Scope],
    more: dict[str, str] | None = None,
) -> Answer:
    origin = None if registry is None else normal_origin(registry.origin)
    token = wrap(origin, authorization)
    said: dict[str, str | int] = {"token": token, "access_token": token, "expires_in": life}
    if scopes:
        said["scope"] = " ".join(map(str, scopes))
    answer = granted({**said, **(more or {})})
    return replace(answer, registry=None if registry is None else registry.name)


def _deny(registry: Registry, denied: Denied, wanted: TokenRequest) -> Answer:
    name = f"the registry '{registry.name}'"
    if denied.status == 429:
        answer = _refuse(429, f"{name} is asked for too many tokens: try again later", Reason.LOGIN)
    elif wanted.is_anonymous:
        how = ": log in" if registry.terms.takes_logins else ", and logins here are for others"
        answer = _unauthorized(f"{name} wants to know who you are{how}")
    elif denied.status == 403:
        answer = _refuse(403, f"{name} grants nothing for these credentials", Reason.LOGIN)
    else:
        answer = _unauthorized(f"the credentials are not accepted by '{registry.name}'")
    return replace(answer, registry=registry.name)


def _unreachable(why: Unreachable) -> Answer:
    return _refuse(why.status, why.message, Reason.UNREACHABLE)


def _unauthorized(message: str) -> Answer:
    return _refuse(401, message, Reason.LOGIN)


def _refuse(status: int, message: str, reason: Reason | None, rule: str | None = None) -> Answer:
    # Clients read the registry API's errors here too, though the path is none of it.
    return refuse(
        status,
        message,
        under_v2=True,
        allow=_METHODS,
        rule=rule,
        reason=reason,
        extra=_CHALLENGE if status == 401 else (),
    )
