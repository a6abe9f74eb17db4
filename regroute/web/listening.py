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
Sockets: TypeAlias = tuple[socket.socket, ...]
"""What one server has in one place; several only where systemd passes several by one name."""


def place_of(listener: Listener, base: Path) -> Place:
    """Where a listener listens; a relative path begins at `base`."""
    if listener.unix is not None:
        return UnixPlace(str(base / listener.unix))
    if listener.socket is not None:
        return PassedPlace(listener.socket)
    assert listener.port is not None
    return TcpPlace(listener.port, listener.host)


def open_sockets(
    place: Place,
    passed: Mapping[str, Sequence[int]],
    beside: Sequence[socket.socket] = (),
    servers: int = 1,
    *,
    shared: bool = False,
) -> list[Sockets]:
    """The listening sockets of a place, for each of the servers.

    Of a TCP port each has its own, and the kernel shares connections out among them; other sockets
    are one and the same. A TCP port may be opened `beside` sockets of our own that it overlaps,
    which are about to be closed, or where some are that are `shared`. Raises `OSError` whose
    `strerror` says what is wrong.
    """
    match place:
        case TcpPlace(port=port, host=host):
            return [(each,) for each in _open_tcp(port, host, beside, servers, shared)]
        case UnixPlace(path=path, mode=mode):
            return [(_open_unix(path, mode),)] * servers
        case PassedPlace(name=name):
            if name not in passed:
                known = ", ".join(sorted(passed)) or "none at all"
                raise OSError(errno.ENOENT, f"systemd passed no socket of this name, but {known}")
            return [tuple(map(listening_socket, passed[name]))] * servers


def _open_tcp(
    port: int,
    host: Address | None,
    beside: Sequence[socket.socket],
    servers: int,
    shared: bool,
) -> list[socket.socket]:
    opened: list[socket.socket] = []
    alone = [each for each in beside if not _is_shared(each)]
    try:
        for each in alone:
            _share(each, True)
        # Not shared at first: whoever else has the port must be noticed, even if he shares it.
        first = _bind_first(port, host, shared=shared or bool(beside))
        opened.append(first)
        _share(first, servers > 1)
        name = first.getsockname()
        opened += [_bind(name[0], name[1], shared=True) for _ in range(servers - 1)]
    except OSError:
        for each in opened:
            each.close()
        raise
    finally:
        for each in alone:
            _share(each, False)
    return opened


def _bind_first(port: int, host: Address | None, *, shared: bool) -> socket.socket:
    if host is not None:
        return _bind(str(host), port, shared=shared)
    try:
        return _bind("::", port, shared=shared)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return _bind("0.0.0.0", port, shared=shared)


def _is_shared(bound: socket.socket) -> bool:
    return bool(bound.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))


def _share(bound: socket.socket, allowed: bool) -> None:
    """Whether other sockets of this user may be bound to the same port."""
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, allowed)


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
    bound.setblocking(False)
    # Accepted sockets inherit it.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


def _is_dead(path: str) -> bool:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED
