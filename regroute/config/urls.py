"""URLs of destinations, as a configuration writes them."""

import re

from ..answers import Refusal
from ..networks.spans import parse_address
from ..oci import REPOSITORY
from ..registry import Registry, Terms
from ..target import parse_host

_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
ORIGIN = rf"https?://(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?"
"""The expression for an origin, in editors too."""

_REDIRECTED = Terms()


def parse_registry(url: str, name: str, terms: Terms = _REDIRECTED) -> Registry:
    """Read a destination; raises `ValueError` that says what it may consist of."""
    match = re.fullmatch(rf"({ORIGIN})(?:/(.*))?", url)
    if match is None:
        raise ValueError(
            f"'{url}' is no destination: write http(s)://host, with a port and a repository prefix "
            "if need be, and without user, query or fragment"
        )
    origin, prefix = match[1], (match[2] or "").removesuffix("/")
    check_origin(origin)
    if prefix and not re.fullmatch(REPOSITORY, prefix):
        raise ValueError(
            f"'{prefix}' is no repository prefix: its components are lower-case letters and "
            "digits, with . _ or - between them, separated by /"
        )
    return Registry(name, origin, prefix, terms)


def check_origin(origin: str) -> None:
    """Raise `ValueError` for what only looks like an origin."""
    try:
        host = parse_host(origin.partition("://")[2].encode())
        if re.fullmatch(r"(?:.*\.)?[0-9]+", host):
            parse_address(host)
    except (Refusal, ValueError):
        raise ValueError(f"'{origin}' has no valid host: write a name or an address") from None
    if (port := re.search(r":([0-9]+)$", origin)) and not 1 <= int(port[1]) <= 65535:
        raise ValueError(f"{port[1]} is no port: write a number from 1 to 65535")
