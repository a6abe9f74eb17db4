"""Who may ask the admin listener. A page in a browser must not, whatever name it has come by.

A web page may send requests to any address that its visitor's machine reaches, and may read the
answers if its own name comes to stand for that address (DNS rebinding). Then the browser says that
name in ``Host``: no name but ``localhost`` is ours.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from ..answers import Reason, Refusal
from ..target import Target, parse_host


def guard(
    method: bytes, target: Target, hosts: Sequence[bytes], has_origin: bool, *, is_local: bool
) -> None:
    """Refuse a request that a browser may have sent for someone else; raises `Refusal`.

    `hosts` are its Host fields. `is_local`: it has come over a Unix socket, which no browser does.
    """
    if not is_local:
        _check_host(target, hosts)
    if method == b"POST" and has_origin:
        raise Refusal(403, "Origin is given: a browser has no business here", Reason.FIELD)


def _check_host(target: Target, hosts: Sequence[bytes]) -> None:
    if not hosts:
        raise Refusal(
            400, "Host is missing: send the address that you have connected to", Reason.HOST
        )
    host = parse_host(hosts[0]) if target.host is None else target.host
    if not _is_ours(host):
        raise Refusal(
            421,
            "the Host is a name: ask for an IP address or localhost, as in 127.0.0.1",
            Reason.HOST,
        )


def _is_ours(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        IPv6Address(host[1:-1]) if host.startswith("[") else IPv4Address(host)
    except ValueError:
        return False
    return True
