"""How a set of addresses is written: one address, a CIDR, or a range ``first-last``.

An IPv4-mapped IPv6 address (``::ffff:a.b.c.d``, RFC 4291 §2.5.5.2) counts as its IPv4 address
everywhere, because a dual-stack socket reports IPv4 clients that way.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, NamedTuple, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_MAPPED_FIRST = int(IPv6Address("::ffff:0:0"))
_MAPPED_LAST = int(IPv6Address("::ffff:ffff:ffff"))


class Span(NamedTuple):
    """The addresses from `first` to `last`, both included, as numbers in host byte order."""

    version: Literal[4, 6]
    first: int
    last: int

    def __str__(self) -> str:
        kind = IPv4Address if self.version == 4 else IPv6Address
        if self.first == self.last:
            return str(kind(self.first))
        return f"{kind(self.first)}-{kind(self.last)}"

    @property
    def shortest(self) -> str:
        """The shortest way to write it: one address, a CIDR where it is one, or a range."""
        bits = (32 if self.version == 4 else 128) - (self.last - self.first).bit_length()
        kind = IPv4Network if self.version == 4 else IPv6Network
        try:
            network = kind((self.first, bits))
        except ValueError:
            return str(self)
        is_whole = int(network.broadcast_address) == self.last and self.first != self.last
        return str(network) if is_whole else str(self)

    @property
    def start(self) -> Address:
        """Its first address."""
        return IPv4Address(self.first) if self.version == 4 else IPv6Address(self.first)


def parse_address(text: str) -> Address:
    """Read one address, without a zone; raises `ValueError` for anything else."""
    if "%" in text:
        raise ValueError(f"{text!r} has a zone, which has no meaning beyond one machine")
    address = ip_address(text)
    return unmapped(address)


def unmapped(address: Address) -> Address:
    """The IPv4 address that an IPv4-mapped IPv6 address stands for; others as they are."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_span(text: str) -> Span:
    """Read an address, a CIDR or a range; raises `ValueError` that says what to write instead."""
    if "/" in text:
        return _parse_cidr(text)
    first, dash, last = text.partition("-")
    if dash:
        return _parse_range(first.strip(), last.strip())
    return _span(*[_parse_end(text)] * 2)


def _parse_cidr(text: str) -> Span:
    base, _, length = text.partition("/")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is no CIDR: write an address, a slash and the number of leading bits, "
            "as in 10.0.0.0/8 or 2001:db8::/32"
        ) from None
    if not length.isascii() or not length.isdigit():
        raise ValueError(f"{text!r} has a netmask: did you mean {network}?")
    first = _parse_end(base)
    if first != network.network_address:
        raise ValueError(f"{text!r} has host bits set: did you mean {network}?")
    return _span(first, network.broadcast_address)


def _parse_range(first: str, last: str) -> Span:
    low, high = unmapped(_parse_end(first)), unmapped(_parse_end(last))
    if low.version != high.version:
        raise ValueError(f"'{first}-{last}' mixes IPv4 and IPv6: write two ranges")
    if int(low) > int(high):
        raise ValueError(f"'{first}-{last}' ends before it begins: did you mean {last}-{first}?")
    return _span(low, high)


def _parse_end(text: str) -> Address:
    """An address as it is written: of a CIDR, the whole of it tells whether it is a mapped one."""
    try:
        if "%" not in text:
            return ip_address(text)
    except ValueError:
        pass
    raise ValueError(
        f"{text!r} is no IP address: write one as in 192.168.0.1 or 2001:db8::1, "
        "a CIDR as in 10.0.0.0/8, or a range as in 10.0.0.1-10.0.0.9"
    )


def _span(first: Address, last: Address) -> Span:
    low, high = int(first), int(last)
    if isinstance(first, IPv4Address):
        return Span(4, low, high)
    if low >= _MAPPED_FIRST and high <= _MAPPED_LAST:
        return Span(4, low - _MAPPED_FIRST, high - _MAPPED_FIRST)
    return Span(6, low, high)
