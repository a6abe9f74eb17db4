"""Who is calling: the connection's peer, or whom a trusted proxy names. The one place that knows.

Only a peer in `trusted_proxies` is believed. What it says is read strictly: a value that is no
address refuses the request and is never a guess (RFC 7239; lists are
read from the right, where each proxy appends).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

from .answers import Reason, Refusal
from .networks.spans import Address, parse_address, unmapped

LOOPBACK = IPv4Address("127.0.0.1")

_PORT = r"(?::(?:(?P<port>[0-9]{1,5})|_[A-Za-z0-9._-]+))?"
_ELEMENT = re.compile(rf"(?:\[(?P<v6>[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)\]|(?P<v4>[0-9.]+)){_PORT}")

_LAST_PORT = 65535

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# Some proxies leave out the quotes that an address with a port or brackets needs (RFC 7239 §6).
_VALUE = r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z:\[\]]+|\"(?:[^\"\\]|\\.)*\")"
_PAIR = rf"{_TOKEN}={_VALUE}"
# Each blank has one place to be in, so that no field can make it backtrack.
_FORWARDED = re.compile(rf"[ \t]*(?:{_PAIR}[ \t]*)?(?:;[ \t]*(?:{_PAIR}[ \t]*)?)*", re.DOTALL)
_PARAMETER = re.compile(rf"({_TOKEN})=({_VALUE})", re.DOTALL)


@dataclass(frozen=True)
class Clients:
    """How to tell a client's address: the field to believe, and whom to believe it from."""

    header: str
    trusts: Callable[[Address], bool]

    def address(self, peer: str | None, lines: Callable[[bytes], Sequence[bytes]]) -> Address:
        """The client's address, of the peer's address and the request's field lines by name.

        A peer without an address, at the other end of a Unix socket, is this machine itself, and
        trusted. Raises `Refusal` where a trusted proxy's field cannot be read.
        """
        address = LOOPBACK if peer is None else peer_address(peer)
        if peer is not None and not self.trusts(address):
            return address
        values = [line.decode("latin-1") for line in lines(self.header.encode("ascii"))]
        match self.header:
            case "x-forwarded-for":
                chain = _read_elements(_split_list(values))
            case "forwarded":
                chain = _read_elements(_split_forwarded(values))
            case _:
                return self._single(values) or address
        return self._walk(chain) or address

    def _single(self, values: list[str]) -> Address | None:
        if len(values) > 1:
            raise Refusal(400, f"{self.header} is given more than once", Reason.CLIENT)
        text = values[0].strip(" \t") if values else ""
        if not text:
            return None
        try:
            return parse_address(text)
        except ValueError:
            raise Refusal(400, f"{self.header} is no IP address", Reason.CLIENT) from None

    def _walk(self, chain: Iterator[Address]) -> Address | None:
        """The first address from the right that no proxy of ours has; the last one if all are."""
        address = None
        for address in chain:
            if not self.trusts(address):
                break
        return address


def peer_address(host: str) -> Address:
    """A peer's address as the socket reports it: a zone, as link-local peers have, is left off."""
    return unmapped(ip_address(host.partition("%")[0]))


def _read_elements(elements: Iterator[str]) -> Iterator[Address]:
    for element in elements:
        yield _read_element(element)


def _read_element(text: str) -> Address:
    """An address with or without a port; IPv6 in brackets, or bare where it has no port."""
    match = _ELEMENT.fullmatch(text)
    try:
        if match and int(match["port"] or 0) > _LAST_PORT:
            raise ValueError
        return parse_address((match["v6"] or match["v4"]) if match else text)
    except ValueError:
        raise Refusal(
            400, "the forwarding field names a client that is no IP address", Reason.CLIENT
        ) from None


def _split_list(values: list[str]) -> Iterator[str]:
    """The elements of all lines as one list, from the right; empty ones do not count."""
    for value in reversed(values):
        for element in reversed(value.split(",")):
            if text := element.strip(" \t"):
                yield text


def _split_forwarded(values: list[str]) -> Iterator[str]:
    """What each element of Forwarded says in ``for=``, from the right.

    The list is read from its end without a look at what lies further left, which the client may
    have written. That is sound because a quoted string begins right after a ``=``: no comma
    within one can pass for the end of the element before.
    """
    rest = ",".join(values)
    while rest:
        comma = len(rest)
        while comma >= 0:
            comma = rest.rfind(",", 0, comma)
            if _FORWARDED.fullmatch(rest, comma + 1):
                break
            if comma < 0:
                raise Refusal(400, "Forwarded is malformed", Reason.CLIENT)
        if element := rest[comma + 1 :].strip(" \t"):
            yield _forwarded_for(element)
        rest = rest[: max(comma, 0)]


def _forwarded_for(element: str) -> str:
    named = [value for name, value in _PARAMETER.findall(element) if name.lower() == "for"]
    if len(named) != 1:
        raise Refusal(400, "an element of Forwarded needs exactly one for=", Reason.CLIENT)
    value: str = named[0]
    if value.startswith('"'):
        value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
    if value.count(":") > 1 and not value.startswith("["):
        # Its last group could as well be a port.
        raise Refusal(
            400, "an IPv6 address in Forwarded stands in brackets (RFC 7239 §6)", Reason.CLIENT
        )
    return value
