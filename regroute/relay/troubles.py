"""Registries that give no answer: each trouble is counted, and the log is told of some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from ..metrics.events import Event

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from ..metrics.events import Count
    from ..registry import Registry
    from .upstream.ask import Unreachable

PAUSE = 10.0
"""How far apart lines about one registry are at least, in seconds: thousands may ask it."""

_EVENTS = {503: Event.UPSTREAM_FULL, 504: Event.UPSTREAM_LATE}

_log = Logger()


class Troubles:
    """Keeps count of troubles; the first one with a registry is told at once."""

    def __init__(self, count: Count, clock: IReactorTime) -> None:
        self._count = count
        self._clock = clock
        # When the next line may be written about a registry, and how much is untold by then.
        self._next: dict[str, tuple[float, int]] = {}

    def tell(self, registry: Registry, why: Unreachable) -> None:
        """There has been trouble with a registry."""
        self._count(_EVENTS.get(why.status, Event.UPSTREAM_FAILED))
        now = self._clock.seconds()
        until, untold = self._next.get(registry.name, (now, 0))
        if now < until:
            self._next[registry.name] = until, untold + 1
            return
        self._next[registry.name] = now + PAUSE, 0
        _log.warn(
            "no answer from {registry} ({origin}): {why}{more}",
            registry=registry.name,
            origin=registry.origin,
            why=why.message,
            more=f"; {untold} more like it since the last line" if untold else "",
        )

    def forget(self) -> None:
        """Other registries count from now on."""
        self._next.clear()
