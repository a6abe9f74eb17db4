"""Tokens that are fetched here, for registries that are asked as nobody or with our account."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from ...origins import normal_origin
from ...registry import Account, Registry, Visitors
from ..upstream.ask import Ask, Unreachable
from .demand import Bearer
from .grants import Denied, Grant, read_grant, token_question
from .scope import Scope, there
from .shared import Shared

MOST = 1024
"""How many tokens are remembered."""
MARGIN = 10.0
"""How long before a token expires it is no longer used, in seconds: the registry has to find it
good, on its own clock, when the request has come there. Of one that lives shorter, a tenth."""
FAILURE_TIME = 5.0
"""How long a realm that has given no token is not asked for the same again, in seconds."""


@dataclass(frozen=True)
class _Key:
    """What a token is good for, and whose it is."""

    registry: str
    realm: Bearer
    account: Account | Visitors
    scopes: tuple[Scope, ...]


@dataclass(frozen=True)
class _Kept:
    """A token as an ``Authorization`` value, or why there is none; from and until when, by the
    clock.
    """

    since: float
    until: float
    authorization: bytes | None = field(default=None, repr=False)
    reason: Denied | Unreachable | None = None


class OwnTokens:
    """The tokens at hand, and how to get more."""

    def __init__(self, ask: Ask, clock: IReactorTime) -> None:
        self._ask = ask
        self._clock = clock
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._asking: Shared[_Key, bytes] = Shared()

    def authorization(
        self, registry: Registry, demand: Bearer, scopes: Sequence[Scope]
    ) -> bytes | Deferred[bytes]:
        """The ``Authorization`` value for requests of these scopes, by the names here.

        A Deferred fails with `Denied` where there is no token for that, or with `Unreachable`.
        """
        key = _Key(
            normal_origin(registry.origin),
            demand,
            registry.terms.auth,
            tuple(there(scope, registry) for scope in scopes),
        )
        kept = self._kept.get(key)
        if kept is not None and kept.until > self._clock.seconds():
            self._kept.move_to_end(key)
            if kept.authorization is not None:
                return kept.authorization
            assert kept.reason is not None
            return fail(kept.reason)
        return self._asking.get(key, lambda: Deferred.fromCoroutine(self._fetch(key, registry)))

    def has(self, authorization: bytes) -> bool:
        """Whether this value is at hand."""
        now = self._clock.seconds()
        return any(
            kept.authorization == authorization and kept.until > now for kept in self._kept.values()
        )

    def forget(self, authorization: bytes, age: float = 0.0) -> None:
        """The registry does not take this value, whatever its realm has said of its life. One that
        is not of this `age` yet, in seconds, is kept.
        """
        latest = self._clock.seconds() - age
        for key, kept in list(self._kept.items()):
            if kept.authorization == authorization and kept.since <= latest:
                del self._kept[key]

    def stop(self) -> None:
        """Ask no more."""
        self._asking.stop()

    async def _fetch(self, key: _Key, registry: Registry) -> bytes:
        account = key.account if isinstance(key.account, Account) else None
        began = self._clock.seconds()
        try:
            reply = await self._ask(token_question(registry, key.realm, key.scopes, account))
            grant = read_grant(registry, reply)
        except (Denied, Unreachable) as error:
            reason, now = _understand(error, registry), self._clock.seconds()
            self._keep(key, _Kept(now, now + FAILURE_TIME, reason=reason))
            raise reason from None
        authorization = f"Bearer {grant.token}".encode("ascii")
        self._keep(key, _Kept(began, began + _use_time(grant), authorization))
        return authorization

    def _keep(self, key: _Key, kept: _Kept) -> None:
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)


def _understand(error: Denied | Unreachable, registry: Registry) -> Denied | Unreachable:
    """What a client has to know: it cannot change what account is used here."""
    if isinstance(error, Unreachable) or error.status != 401:
        return error
    return not_accepted(registry) if isinstance(registry.terms.auth, Account) else Denied(403)


def not_accepted(registry: Registry) -> Unreachable:
    """Why there is no answer where our account is refused."""
    return Unreachable(
        502, f"the registry '{registry.name}' does not accept the account it is asked with"
    )


def _use_time(grant: Grant) -> float:
    return grant.expires_in - min(MARGIN, grant.expires_in / 10)
