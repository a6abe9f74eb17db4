"""Origins of URLs, in one form each (RFC 6454 §4), so that a credential's can be compared."""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address

from .answers import Refusal
from .networks.spans import Address, parse_address
from .target import parse_host

_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65535
_URL = re.compile(r"(?i:(https?))://([^/?#\\@]*)([/?#].*)?", re.DOTALL)
_PRINTABLE = re.compile(r"[!-~]*")
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]*|[0-9]+")


@dataclass(frozen=True)
class Origin:
    """A scheme, a host in lower case without the root's dot, and a port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    @property
    def is_secure(self) -> bool:
        """Whether nobody on the way can read along."""
        return self.scheme == "https"

    @property
    def address(self) -> Address | None:
        """The address that the host is written as."""
        try:
            return parse_address(self.host.strip("[]"))
        except ValueError:
            return None

    @property
    def is_within(self) -> bool:
        """Whether the host is written as an address that has a meaning on this network alone."""
        address = self.address
        if address is None:
            return self.host == "localhost" or self.host.endswith(".localhost")
        return not address.is_global or address.is_multicast


def split_url(text: str) -> tuple[Origin, str]:
    """The origin of an absolute http(s) URL, and its path and query; raises `ValueError`.

    A user, a fragment and what is not printable ASCII make it none; so do numbers that only some
    readers take for an IPv4 address.
    """
    match = _URL.fullmatch(text)
    if match is None or not _PRINTABLE.fullmatch(text):
        raise ValueError("it is no http(s) URL of printable characters and without a user")
    rest = match[3] or "/"
    if "#" in rest:
        raise ValueError("it has a fragment")
    scheme = match[1].lower()
    return _read_authority(scheme, match[2]), rest if rest.startswith("/") else "/" + rest


def _read_authority(scheme: str, authority: str) -> Origin:
    try:
        host = parse_host(authority.encode("ascii")).removesuffix(".")
    except Refusal:
        host = ""
    if not host or "%" in host or "" in host.split("."):
        raise ValueError("it has no valid host")
    port = authority[authority.rfind("]") + 1 :].partition(":")[2] or str(_PORTS[scheme])
    if not port.isdigit() or not 1 <= int(port[:6]) <= _LAST_PORT:
        raise ValueError("it has no valid port")
    origin = Origin(scheme, host, int(port))
    address = origin.address
    if address is None and _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise ValueError("its host is a number that is no address")
    if isinstance(address, IPv6Address) or host.startswith("["):
        return Origin(scheme, f"[{address}]" if ":" in str(address) else str(address), int(port))
    return origin


@lru_cache(maxsize=1024)
def normal_origin(text: str) -> str:
    """The one form of an origin as a registry has it; raises `ValueError` where it is none."""
    return str(split_url(text)[0])
