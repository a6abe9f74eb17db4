"""How a request is to be relayed: all of it that only its head and the rules decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .connect import Place
from .request import render

if TYPE_CHECKING:
    from ..answers import Fields, Relay
    from ..respond import Response
    from ..web.strict import Head

_SAFE = (b"GET", b"HEAD", b"OPTIONS")


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """A request's head, where it is to go, and what it is there, but for credentials.

    `is_once` says that it cannot be sent twice.
    """

    head: Head
    response: Response
    relay: Relay
    place: Place
    request: bytes
    has_body: bool
    is_once: bool


def plan_of(head: Head, response: Response, relay: Relay, fields: Fields) -> Plan:
    """Plan a request with these fields."""
    has_body = head.is_chunked or head.content_length > 0
    return Plan(
        head,
        response,
        relay,
        Place(relay.to.origin, relay.to.terms.authorities),
        render(head.method, relay.target.encode("ascii"), fields),
        has_body,
        has_body or head.method not in _SAFE,
    )


class Plans:
    """Plans that are remembered, for each client by the very bytes of its heads.

    A client is its connection's other end. What is remembered is forgotten with the rules.
    """

    MOST = 4096
    MOST_BYTES = 16 * 2**20

    def __init__(self) -> None:
        self._by_peer: dict[str | None, dict[bytes, Plan]] = {}
        self._count = self._size = 0

    def of(self, peer: str | None) -> dict[bytes, Plan]:
        """What is remembered for a client."""
        found = self._by_peer.get(peer)
        if found is None:
            if len(self._by_peer) >= self.MOST:
                self._by_peer.clear()
            found = self._by_peer[peer] = {}
        return found

    def keep(self, peer: str | None, head: bytes, plan: Plan) -> None:
        """Remember a plan."""
        size = 2 * len(head) + len(plan.request)
        if self._count >= self.MOST or self._size + size > self.MOST_BYTES:
            for plans in self._by_peer.values():
                plans.clear()
            self._count = self._size = 0
        self._count += 1
        self._size += size
        self.of(peer)[head] = plan
