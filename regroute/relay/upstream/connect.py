"""Connecting to a registry: its name, its addresses one after another, and TLS."""

from __future__ import annotations

import os
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from itertools import zip_longest
from select import EPOLLIN, EPOLLOUT
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from zope.interface import implementer

from ...metrics.events import uncounted
from ...origins import Origin, split_url
from ...web.streams import Encrypted, Plain, Stream
from ...web.transport import SocketTransport, address_of
from .ask import Unreachable

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from ...web.transport import Poller

STAGGER = 0.25
"""How long one address is tried before the next one is too, in seconds (RFC 8305 §5)."""

InetAddress: TypeAlias = IPv4Address | IPv6Address


class Place(NamedTuple):
    """Where to connect to: an origin, and by which authorities its certificate is judged."""

    origin: str
    authorities: str | None

    @property
    def at(self) -> Origin:
        """The origin, read."""
        return split_url(self.origin + "/")[0]


@lru_cache(maxsize=64)
def _context(authorities: str | None) -> ssl.SSLContext:
    """Names and chains are checked in the handshake, before a byte of a request is sent."""
    context = ssl.create_default_context(cadata=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def interleaved(addresses: Iterable[InetAddress]) -> list[InetAddress]:
    """The addresses, both families in turn: of one that leads nowhere all may be (RFC 8305 §4)."""
    families: dict[type[InetAddress], list[InetAddress]] = {}
    for address in addresses:
        families.setdefault(type(address), []).append(address)
    turns = zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None]


class Connected(Protocol):
    """Who waits for a connection."""

    def __call__(self, transport: SocketTransport) -> None: ...


@implementer(IResolutionReceiver)
class Connecting:
    """One connection in the making; it calls `connected` or `failed`, once.

    It has so many `seconds` for all of it.
    """

    def __init__(
        self,
        place: Place,
        seconds: float,
        connected: Connected,
        failed: Callable[[Unreachable], None],
        resolver: IHostnameResolver,
        poller: Poller,
        clock: IReactorTime,
    ) -> None:
        self._place = place
        self._connected = connected
        self._failed = failed
        self._resolver = resolver
        self._poller = poller
        self._clock = clock
        self._addresses: deque[InetAddress] = deque()
        self._resolution: IHostResolution | None = None  # while it is under way
        self._attempts: list[_Attempt] = []
        self._trouble = "it has no address"
        self._next: IDelayedCall | None = None
        self._is_over = False
        self._late = clock.callLater(seconds, self._time_out)

    def start(self) -> None:
        """Look up the name, where it is one. Nobody is called before another turn."""
        host, port = self._place.at.host.strip("[]"), self._place.at.port
        try:
            version = ip_address(host).version
        except ValueError:
            self._resolver.resolveHostName(self, host, port)
            return
        kind = IPv4Address if version == 4 else IPv6Address
        self._addresses.append(kind("TCP", host, port))
        self._begin()

    # What the resolver tells.

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N803  # the interface's name
        """It has begun."""
        self._resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        """One address more."""
        if isinstance(address, IPv4Address | IPv6Address):
            self._addresses.append(address)

    def resolutionComplete(self) -> None:
        """These are all."""
        self._resolution = None
        self._addresses = deque(interleaved(self._addresses))
        if not self._is_over:
            self._begin()

    def _begin(self) -> None:
        # Who fails at once must not be told while it still asks: it may ask again and again.
        self._next = self._clock.callLater(0, self._try_next)

    # One address after another.

    def _try_next(self) -> None:
        if self._next is not None:
            if self._next.active():
                self._next.cancel()
            self._next = None
        while self._addresses:
            address = self._addresses.popleft()
            try:
                attempt = _Attempt(self, address, self._place, self._poller)
                attempt.start()
            except OSError as error:
                self._trouble = _words(error)
                continue
            self._attempts.append(attempt)
            if self._addresses:
                self._next = self._clock.callLater(self._stagger(), self._try_next)
            return
        if not self._attempts:
            self._fail(Unreachable(502, self._trouble))

    def _stagger(self) -> float:
        """How long to wait for an address alone: each gets its turn in what time there is."""
        left = self._late.getTime() - self._clock.seconds()
        return min(STAGGER, left / (len(self._addresses) + 1))

    def lose(self, attempt: _Attempt, trouble: str) -> None:
        """One attempt has failed."""
        self._trouble = trouble
        self._attempts.remove(attempt)
        self._try_next()

    def win(self, attempt: _Attempt, stream: Stream) -> None:
        """One attempt has connected: it is the one."""
        self._attempts.remove(attempt)
        self._stop()
        host = address_of(attempt.socket.getsockname())
        transport = SocketTransport(stream, attempt.address, host, self._poller, self._clock)
        self._connected(transport)

    def _time_out(self) -> None:
        is_resolving = self._resolution is not None
        what = "it has no address yet" if is_resolving else "it does not answer"
        self._fail(Unreachable(504, f"{what}: connecting takes too long"))

    def _fail(self, why: Unreachable) -> None:
        if not self._is_over:
            self._stop()
            self._failed(why)

    def cancel(self) -> None:
        """Nobody waits any more."""
        if not self._is_over:
            self._stop()

    def _stop(self) -> None:
        self._is_over = True
        if self._resolution is not None:
            self._resolution.cancel()
            self._resolution = None
        for timer in (self._late, self._next):
            if timer is not None and timer.active():
                timer.cancel()
        for attempt in self._attempts:
            attempt.abort()
        self._attempts.clear()


class _Attempt:
    """A socket that is being connected to one address; raises `OSError` where there is none."""

    def __init__(
        self, connecting: Connecting, address: InetAddress, place: Place, poller: Poller
    ) -> None:
        self.address = address
        self.mask = EPOLLOUT
        self._connecting = connecting
        self._place = place
        self._poller = poller
        self._encrypted: Encrypted | None = None
        self.socket = socket.socket(
            socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
        )
        self.fd = self.socket.fileno()

    def start(self) -> None:
        """Begin; raises `OSError` where there is no hope."""
        try:
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(BlockingIOError):
                self.socket.connect((self.address.host, self.address.port))
            self._poller.enter(self)
        except OSError:
            self.socket.close()
            raise

    def ready(self, event: int) -> None:
        """Connected, or refused; or a step further in the handshake."""
        if self._encrypted is not None:
            self._shake_hands(self._encrypted)
            return
        if code := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._lose(OSError(code, os.strerror(code)))
            return
        try:
            self.socket.getpeername()
        except OSError:
            # The event was that of another socket, which had the descriptor before.
            return
        if not self._place.at.is_secure:
            self._connecting.win(self, Plain(self.socket))
            return
        context = _context(self._place.authorities)
        host = self._place.at.host.strip("[]")
        self._encrypted = Encrypted(self.socket, context, uncounted, host)
        self._shake_hands(self._encrypted)

    def _shake_hands(self, encrypted: Encrypted) -> None:
        try:
            encrypted.shake_hands()
        except OSError as error:
            self._lose(error)
            return
        if not encrypted.is_handshaking:
            self._connecting.win(self, encrypted)
            return
        self.mask = EPOLLIN | (EPOLLOUT if encrypted.is_clogged else 0)
        self._poller.watch(self, self.mask)

    def _lose(self, error: OSError) -> None:
        self.abort()
        self._connecting.lose(self, _words(error))

    def sweep(self, now: float) -> None:
        """Nothing: there is a time for all attempts together."""

    def abort(self) -> None:
        """Give up."""
        self._poller.forget(self)
        with suppress(OSError):
            self.socket.close()


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails: {error.reason or error}"
    return f"cannot connect: {(error.strerror or str(error)).lower()}"
