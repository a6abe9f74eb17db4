"""Which credentials belong where: what must be true of every request that any host ever got."""

from collections.abc import Iterable, Iterator

from .captured import Asked, audience
from .upstreams import UPSTREAMS, Upstream

_BY_USER = {each.account.user: each for each in UPSTREAMS if each.account is not None}


def misplaced(asked: Iterable[Asked]) -> list[str]:
    """The requests that brought a credential to a host that it is not for, in words."""
    return [
        f"{fault} at {each.host}: {each.method} {each.target}"
        for each in asked
        for fault in _faults(each)
    ]


def _faults(asked: Asked) -> Iterator[str]:
    for user, _ in asked.passwords:
        if asked.host != _BY_USER[user].login_host:
            yield f"the password of {user}"
    if asked.bearer is not None and audience(asked.bearer) != asked.host:
        yield f"a token for {audience(asked.bearer)}"
    refresh = asked.refresh_token
    if refresh is not None and asked.host != _issuer(refresh).realm:
        yield f"a refresh token of {_issuer(refresh).realm}"
    if asked.cookie is not None:
        yield "a cookie"
    if asked.host in _STORAGES and asked.authorization is not None:
        yield "a credential"


def _issuer(refresh_token: str) -> Upstream:
    """Whose token server gave this out, which writes the name of its service into it."""
    return next(each for each in UPSTREAMS if f"refresh-{each.name}-" in refresh_token)


_STORAGES = {each.storage for each in UPSTREAMS if each.storage is not None}
