"""The ways that lead from a client to a registry: by no front, or by one with certain terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .front import Front
from .upstreams import BASIC, HUB, OPEN, UPSTREAMS, Upstream

_FIRST_PORT = 8001

_EVERY_METHOD = "[GET, HEAD, POST, PUT, PATCH, DELETE]"
_WRITING = "[POST, PUT, PATCH, DELETE]"


@dataclass(frozen=True)
class Way:
    """A way by its name, and the terms that a registry has in the front's configuration for it."""

    name: str
    terms: str = ""

    @property
    def host(self) -> str:
        return f"{self.name}.front.test"

    def front(self, upstream: Upstream) -> Front:
        """What a client asks that goes this way to the registry."""
        if self == DIRECT:
            return Front(upstream.name, 443, secure=True)
        return Front(self.host, port(upstream), secure=True)

    def relays(self, asks_nobody: bool, client: str) -> bool:
        """Whether the front itself asks the registry for what the client wants."""
        if self == AUTO:
            return not asks_nobody and client != "containerd"
        return self not in (DIRECT, REDIRECT)

    def leads_to(self, upstream: Upstream) -> bool:
        """Whether there is this way to the registry."""
        return self != ACCOUNT or upstream.account is not None


DIRECT = Way("direct")
REDIRECT = Way("redirect")
RELAY = Way("relay", "mode: relay, ca: {ca}")
KEEP = Way("keep", "mode: relay, challenge: keep, ca: {ca}")
BLOBS = Way("blobs", "mode: relay, blobs: redirect, ca: {ca}")
AUTO = Way("auto", "mode: auto, ca: {ca}")
ANONYMOUS = Way("anonymous", "mode: relay, auth: anonymous, ca: {ca}")
ACCOUNT = Way(
    "account",
    "mode: relay, auth: {{username: {account.user}, password_file: {password}}}, ca: {ca}",
)

WAYS = (DIRECT, REDIRECT, RELAY, KEEP, BLOBS, AUTO, ANONYMOUS, ACCOUNT)

PUSHING = dict.fromkeys((DIRECT, REDIRECT, RELAY, AUTO), (OPEN, HUB, BASIC))
"""The ways that pushes are tried by, and the registries that they are tried at."""

PULLING = {way: tuple(each for each in UPSTREAMS if way.leads_to(each)) for way in WAYS}
"""The same of pulls."""


def port(upstream: Upstream) -> int:
    """Where all fronts of a registry are: those of another are another regroute's.

    So a login goes nowhere else, whichever registries a regroute tries it at."""
    return _FIRST_PORT + UPSTREAMS.index(upstream)


def configuration(upstream: Upstream, ca: Path, directory: Path) -> str:
    """A configuration with every way to a registry by a host of its own.

    Files that it needs are put into the directory. What has an account of its own is for the
    clients of 10.9.0.0/16 only."""
    password = directory / f"{upstream.label}.password"
    password.write_text("" if upstream.account is None else f"{upstream.account.password}\n")
    given = {"ca": ca, "account": upstream.account, "password": password}
    ways = [way for way in WAYS if way != DIRECT and way.leads_to(upstream)]
    registries = "".join(_registry(way, upstream, given) for way in ways)
    return f"registries:\n{registries}rules:\n{''.join(map(_rules, ways))}"


def _registry(way: Way, upstream: Upstream, given: Mapping[str, object]) -> str:
    terms = way.terms.format(**given)
    return f"  {way.name}: {{url: https://{upstream.name}, {terms}}}\n"


def _rules(way: Way) -> str:
    if way == REDIRECT:
        return (
            f"  - {{host: {way.host}, to: {way.name}}}\n"
            f"  - {{host: {way.host}, method: {_WRITING}, to: {way.name}, status: 307}}\n"
        )
    client = ", client: 10.9.0.0/16" if way == ACCOUNT else ""
    return f"  - {{host: {way.host}{client}, method: {_EVERY_METHOD}, to: {way.name}}}\n"
