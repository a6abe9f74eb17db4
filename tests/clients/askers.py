"""Who asked a registry: the client, which was redirected, or the front, which relayed."""

from .conftest import ADDRESSES
from .programs import Program
from .upstreams import Estate, Upstream
from .ways import ACCOUNT, ANONYMOUS, BLOBS, KEEP, Way

CLIENT, FRONT = "elsewhere", "fronts"
"""The labels of their machines."""

_READING = ("GET", "HEAD")
_LABELS = {address: label for label, address in ADDRESSES.items()}


def askers(estate: Estate, since: int, upstream: Upstream) -> dict[str, set[str]]:
    """Who asked each of the registry's hosts, but for the version of its API.

    That the front may ask for by itself, to learn what credentials the registry wants."""
    found: dict[str, set[str]] = {}
    for asked in estate.asked(since):
        if not (asked.host == upstream.name and asked.path == "/v2/"):
            found.setdefault(asked.host, set()).add(_LABELS[asked.client])
    return found


def with_kept_tokens(
    found: dict[str, set[str]], way: Way, upstream: Upstream
) -> dict[str, set[str]]:
    """The same, as if no front had kept a token of its own from an earlier pull."""
    if way in (ANONYMOUS, ACCOUNT) and upstream.realm is not None:
        return {upstream.realm: {FRONT}, **found}
    return found


def promised(way: Way, upstream: Upstream, program: Program) -> dict[str, set[str]]:
    """Who asks each of them for a pull by a way."""
    relayed = way.relays(upstream.asks_nobody, program.name)
    expected = {upstream.name: {FRONT if relayed else CLIENT}}
    if upstream.realm is not None:
        expected[upstream.realm] = {FRONT if relayed and way != KEEP else CLIENT}
    if way == BLOBS:
        # For blobs the client is redirected, and has to get a token of its own.
        expected = {host: {FRONT, CLIENT} for host in expected}
    if upstream.storage is not None:
        # The heavy bytes never take the way through the front.
        expected[upstream.storage] = {CLIENT}
    return expected


def writers(estate: Estate, since: int, upstream: Upstream) -> set[str]:
    """Who changed anything at the registry."""
    return {
        _LABELS[asked.client]
        for asked in estate.asked(since)
        if asked.host == upstream.name and asked.method not in _READING
    }
