"""All that relays: the connections, and who answers which request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from .forward import Forward
from .pool import Pool
from .request import forwarded_of, upstream_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IHostnameResolver, IReactorTime

    from ..answers import Relay
    from ..respond import Response
    from ..web.exchange import Asking, Exchange
    from ..web.strict import Head
    from ..web.transport import Poller

SWEEP_TIME = 0.1
"""How far apart late answers are looked for, in seconds."""


class Relaying(Service):
    """Answers what is to be relayed."""

    def __init__(
        self, resolver: Callable[[], IHostnameResolver], poller: Poller, clock: IReactorTime
    ) -> None:
        self._clock = clock
        self._pool = Pool(resolver, poller, clock)
        self._sweeping = LoopingCall(self._pool.sweep)
        self._sweeping.clock = clock

    def startService(self) -> None:
        """Begin to look for what is late."""
        Service.startService(self)
        self._sweeping.start(SWEEP_TIME, now=False)

    def exchange(self, head: Head, response: Response, relay: Relay, client: Asking) -> Exchange:
        """Who answers a request that is to be relayed."""
        forwarded = None
        if relay.to.terms.forwarded:
            host = next(iter(head.lines(b"host")), b"")
            forwarded = forwarded_of(response.client, host, is_secure=client.is_secure)
        fields = upstream_fields(head, relay, forwarded)
        if authorization := head.lines(b"authorization"):
            fields = (*fields, (b"authorization", authorization[0]))
        return Forward(head, response, relay, fields, client, self._pool, self._clock)

    def stopService(self) -> None:
        """End all connections to registries."""
        Service.stopService(self)
        if self._sweeping.running:
            self._sweeping.stop()
        self._pool.close()
