"""What credentials a registry asks for, by its answer to ``GET /v2/`` or by a 401."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...origins import Origin, split_url
from .challenges import Challenge, parse_challenges

UNAUTHORIZED = 401
_OK = range(200, 300)
# What is answered in place of the one who would know: it says nothing about credentials.
_SILENT = (408, 425, 429, *range(500, 600))
_LONGEST_REALM = 2048
_LONGEST_SERVICE = 256


@dataclass(frozen=True)
class Open:
    """It asks nobody who they are.

    It `is_certain` of that only if it has welcomed the question. One that has answered 403, 404 or
    a redirect has asked for nothing either, but may not be a registry at all: requests go to it as
    they are, and what it says to them is for the client to see.
    """

    is_certain: bool = True


@dataclass(frozen=True)
class Bearer:
    """It wants a token of its realm, at `origin` and there at `target`.

    Not of everyone if it does not ask all (`asks_all`): its API check has asked for nothing, as
    where pulls are for everybody and pushes are not. Who comes without goes on to it without.
    """

    origin: str
    target: str
    service: str | None = None
    asks_all: bool = True

    @property
    def realm(self) -> str:
        """The realm's URL."""
        return self.origin + self.target


@dataclass(frozen=True)
class Basic:
    """It wants a user name and a password with each request (RFC 7617); `asks_all` as above."""

    asks_all: bool = True


@dataclass(frozen=True)
class Unusable:
    """It wants something that it does not get from here; `why` is a sentence's predicate."""

    why: str


Demand = Open | Bearer | Basic | Unusable


def serves_some(demand: Demand) -> bool:
    """Whether a registry that asks for credentials has also served someone without."""
    return isinstance(demand, Bearer | Basic) and not demand.asks_all


def read_demand(registry: str, status: int, authenticate: Sequence[bytes]) -> Demand | None:
    """What the registry of this origin asks for; None if the answer says nothing about it.

    `authenticate` are the values of its ``WWW-Authenticate`` lines.
    """
    if status == UNAUTHORIZED:
        return _read_challenges(split_url(registry)[0], parse_challenges(authenticate))
    if status in _SILENT:
        return None
    return Open(is_certain=status in _OK)


def _read_challenges(registry: Origin, challenges: tuple[Challenge, ...]) -> Demand:
    """The best of what it offers: a token is good for less than a password is."""
    unusable = Unusable(
        "answers 401 without a challenge that is known here (Bearer or Basic): "
        "with challenge: keep clients see what it wants"
    )
    for challenge in challenges:
        if challenge.scheme == "bearer":
            try:
                return _read_bearer(registry, challenge)
            except ValueError as error:
                unusable = Unusable(f"sends clients to a realm that is not gone to: {error}")
    if any(challenge.scheme == "basic" for challenge in challenges):
        return Basic()
    return unusable


def _read_bearer(registry: Origin, challenge: Challenge) -> Bearer:
    """The realm, if credentials may go there; raises `ValueError` that says why not."""
    realm, service = challenge.get("realm") or "", challenge.get("service")
    if len(realm) > _LONGEST_REALM:
        raise ValueError("it is longer than any URL needs to be")
    origin, target = split_url(realm)
    if registry.is_secure and not origin.is_secure:
        raise ValueError("it is http, and the registry is https")
    if origin.is_within and not registry.is_within:
        raise ValueError(
            f"{origin.host} is an address of this network, and the registry is not at such a one"
        )
    if service is not None and (len(service) > _LONGEST_SERVICE or not service.isprintable()):
        raise ValueError("the service that it is for is no short text")
    return Bearer(str(origin), target, service)
