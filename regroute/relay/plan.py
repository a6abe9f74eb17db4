"""How a request is to be relayed: all of it that its head, the rules and the registry decide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .rewrite.names import Names
from .token.credentials import Send, Verdict, admit
from .token.gate import Arrival
from .upstream.connect import Place
from .upstream.request import is_looping, render, upstream_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..answers import Relay
    from ..logs.access_log import Again
    from ..networks.spans import Address
    from ..respond import Response
    from ..web.strict import Head
    from .token.demand import Demand
    from .token.front import Front

_SAFE = (b"GET", b"HEAD", b"OPTIONS")


class Plan:
    """A request that is to be relayed, by one rule set.

    `front` is how the client sees us; `forwarded` what the registry is told of who asks; `is_there`
    says of a repository whether it is at the same registry.
    """

    __slots__ = (
        "_bare",
        "_carried",
        "_demand",
        "_request",
        "_verdict",
        "again",
        "arrival",
        "has_body",
        "head",
        "is_looping",
        "is_once",
        "names",
        "place",
        "relay",
        "response",
        "shown",
    )

    def __init__(
        self,
        head: Head,
        response: Response,
        relay: Relay,
        front: Front,
        forwarded: bytes | None,
        is_there: Callable[[str], bool],
    ) -> None:
        self.head = head
        self.response = response
        self.names = Names.of(relay, front.origin)
        self.relay = relay = replace(relay, target=self.names.asking(is_there))
        self.place = Place(relay.to.origin, relay.to.terms.authorities)
        self.has_body = head.is_chunked or head.content_length > 0
        self.is_once = self.has_body or head.method not in _SAFE
        """Whether it cannot be sent twice."""
        self.is_looping = is_looping(head)
        readable = self.names.may_want_body
        fields = upstream_fields(head, relay, forwarded, as_is=readable)
        self._bare = self._request = render(head.method, relay.target.encode("ascii"), fields)
        self._carried: Send | None = None
        lines = head.lines(b"authorization")
        self.arrival = Arrival(relay, head.method.decode("ascii"), lines, front)
        self._demand: Demand | None = None
        self._verdict: Verdict | None = None
        self.shown: tuple[int, str | None, int] | None = None
        """The status, Location and size that `again` records."""
        self.again: Again = _unrecorded

    def judge(self, demand: Demand | None) -> Verdict:
        """What it may carry of credentials, where the registry asks for this."""
        if self._verdict is None or demand is not self._demand:
            relay, method, lines, _ = self.arrival
            self._verdict = admit(relay, method, lines, demand)
            self._demand = demand
        return self._verdict

    def request(self, send: Send) -> bytes:
        """Its head for the registry."""
        if send is not self._carried:
            lines = b"".join(b"authorization: %b\r\n" % each for each in send.authorization)
            self._carried, self._request = send, self._bare[:-2] + lines + b"\r\n"
        return self._request


def _unrecorded(time: float, client: Address | str | None, microseconds: int) -> None:
    """Nothing has been answered yet."""


class Plans:
    """Plans that are remembered, for each client by the very bytes of its heads.

    A client is its connection's other end, and whether it speaks TLS. What is remembered is
    forgotten with the rules.
    """

    MOST = 4096
    MOST_BYTES = 16 * 2**20
    BYTES_A_FIELD = 100
    """What a field takes beside its bytes: a head may have thousands of empty ones."""

    def __init__(self) -> None:
        self._by_client: dict[tuple[str | None, bool], dict[bytes, Plan]] = {}
        self._count = self._size = 0

    def of(self, client: tuple[str | None, bool]) -> dict[bytes, Plan]:
        """What is remembered for a client."""
        found = self._by_client.get(client)
        if found is None:
            if len(self._by_client) >= self.MOST:
                self._by_client.clear()
            found = self._by_client[client] = {}
        return found

    def keep(self, client: tuple[str | None, bool], raw: bytes, plan: Plan) -> None:
        """Remember a plan."""
        size = 5 * len(raw) + self.BYTES_A_FIELD * len(plan.head.fields)
        if self._count >= self.MOST or self._size + size > self.MOST_BYTES:
            for plans in self._by_client.values():
                plans.clear()
            self._count = self._size = 0
        self._count += 1
        self._size += size
        self.of(client)[raw] = plan
