"""Listening sockets: where they are, and how they are opened."""

import errno
import os
import socket
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import TypeAlias

from ..config.schema import Listener
from ..networks.spans import Address
from ..systemd import listening_socket

BACKLOG = 4096
"""How many connections the kernel may hold that have not been accepted (it has a bound itself)."""


@dataclass(frozen=True)
class TcpPlace:
    """A TCP port, on one address or on all."""

    port: int
    host: Address | None

    def __str__(self) -> str:
        return f"port {self.port} of {self.host or 'this host'}"


@dataclass(frozen=True)
class UnixPlace:
    """The path of a Unix socket, and who may connect to it."""

    path: str
    mode: int = 0o666

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class PassedPlace:
    """The name of sockets that systemd has opened."""

    name: str

    def __str__(self) -> str:
        return f"the socket '{self.name}'"


Place: TypeAlias = TcpPlace | UnixPlace | PassedPlace


def place_of(listener: Listener, base: Path) -> Place:
    """Where a listener listens; a relative path begins at `base`."""
    if listener.unix is not None:
        return UnixPlace(str(base / listener.unix))
    if listener.socket is not None:
        return PassedPlace(listener.socket)
    assert listener.port is not None
    return TcpPlace(listener.port, listener.host)


def open_sockets(
    place: Place, passed: Mapping[str, Sequence[int]], beside: Sequence[socket.socket] = ()
) -> list[socket.socket]:
    """The listening sockets of a place; several only where systemd passes several by one name.

    A TCP port may be opened `beside` sockets of our own that it overlaps, which are about to be
    closed. Raises `OSError` whose `strerror` says what is wrong.
    """
    match place:
        case TcpPlace(port=port, host=host):
            opened = _open_tcp(port, host, beside)
        case UnixPlace(path=path, mode=mode):
            opened = _open_unix(path, mode)
        case PassedPlace(name=name):
            if name not in passed:
                known = ", ".join(sorted(passed)) or "none at all"
                raise OSError(errno.ENOENT, f"systemd passed no socket of this name, but {known}")
            return [listening_socket(descriptor) for descriptor in passed[name]]
    opened.setblocking(False)
    return [opened]


def _open_tcp(port: int, host: Address | None, beside: Sequence[socket.socket]) -> socket.socket:
    for other in beside:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        if host is not None:
            return _bind(str(host), port, shared=bool(beside))
        try:
            return _bind("::", port, shared=bool(beside))
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            return _bind("0.0.0.0", port, shared=bool(beside))
    finally:
        for other in beside:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)


def _bind(host: str, port: int, *, shared: bool) -> socket.socket:
    is_ipv6 = ":" in host
    # Whether :: takes IPv4 too is for us to say and not for the system's default.
    # Where there is no IPv6, asking for both is a ValueError, and asking for it alone the OSError
    # that it should be.
    is_both = is_ipv6 and IPv6Address(host) == IPv6Address("::") and socket.has_dualstack_ipv6()
    try:
        bound = socket.create_server(
            (host, port),
            family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
            backlog=BACKLOG,
            reuse_port=shared,
            dualstack_ipv6=is_both,
        )
    except OSError as error:
        # Python's own text ends with the address in a form of its own.
        reason = os.strerror(error.errno or 0)
        raise OSError(error.errno, f"{host} port {port}: {reason}") from None
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    # Accepted sockets inherit it.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # HTTP, TLS and PROXY all begin with the client: wait for its first bytes, so that a connection
    # can be accepted, answered and closed without waiting for it in between.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
    return bound


def _open_unix(path: str, mode: int) -> socket.socket:
    """A Unix socket; one that nobody listens to any more is replaced."""
    opened = socket.socket(socket.AF_UNIX)
    try:
        try:
            opened.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_dead(path):
                raise
            Path(path).unlink()
            opened.bind(path)
        os.chmod(path, mode)
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def _is_dead(path: str) -> bool:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED
