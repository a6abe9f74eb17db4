"""The request that goes to a registry, from the one that has come."""

from ...answers import Fields, Relay
from ...networks.spans import Address
from ...web.strict import Head
from .hops import end_to_end

VIA = b"1.1 regroute"
MOST_HOPS = 4
"""How many times a request may have come through a regroute: more is one that relays to itself."""

# What is said anew for the next hop.
_OURS = frozenset({b"host", b"content-length", b"authorization"})


def is_looping(head: Head) -> bool:
    """Whether a request has been here too often."""
    return b",".join(head.lines(b"via")).count(VIA) > MOST_HOPS


def authority(origin: str) -> bytes:
    """The ``Host`` of an origin: a port stands in it where it is not the scheme's own."""
    scheme, _, place = origin.partition("://")
    own = ":443" if scheme == "https" else ":80"
    return place.removesuffix(own).encode("ascii")


def upstream_fields(
    head: Head, relay: Relay, forwarded: bytes | None, *, as_is: bool = False
) -> Fields:
    """The fields of a request at its registry, but for credentials.

    All that are end-to-end are kept, in their order and with their repetitions: docker says in six
    lines what it accepts. `forwarded` is added, if given. The body is to come `as_is`, not
    compressed, where it has to be read.
    """
    ours = _OURS | {b"accept-encoding"} if as_is else _OURS
    kept = tuple(field for field in end_to_end(head.fields) if field[0] not in ours)
    added: Fields = ((b"via", VIA),)
    if forwarded is not None:
        added = ((b"forwarded", forwarded), *added)
    if head.is_chunked:
        added = (*added, (b"transfer-encoding", b"chunked"))
    elif lengths := head.lines(b"content-length"):
        added = (*added, (b"content-length", lengths[0]))
    return ((b"host", authority(relay.to.origin)), *kept, *added)


def render(method: bytes, target: bytes, fields: Fields) -> bytes:
    """A request's head."""
    lines = [b"%s %s HTTP/1.1" % (method, target)]
    lines += [b"%s: %s" % field for field in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def forwarded_of(client: Address | None, host: bytes, scheme: str) -> bytes:
    """Who asks, and what for, as ``Forwarded`` says it (RFC 7239 §4)."""
    if client is None:
        node = b"unknown"
    elif client.version == 6:
        node = b'"[%s]"' % str(client).encode("ascii")
    else:
        node = str(client).encode("ascii")
    # What is no token is quoted; a host has neither quotes nor backslashes in it.
    asked = b';host="%s"' % host if host else b""
    return b"for=%s%s;proto=%s" % (node, asked, scheme.encode("ascii"))
