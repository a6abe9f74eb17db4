"""A front in memory that relays to one registry, whose connections are in memory as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.web.http import datetimeToString

from regroute.answers import Relay
from regroute.relay.forward import Forward
from regroute.relay.plan import Plan
from regroute.relay.token.credentials import Send
from regroute.relay.token.front import Front
from regroute.respond import respond
from regroute.web import wire

from ..making import Books, site_of
from ..web.memory import Client, Turns, rules_of
from .upstream.ends import End, Ends

if TYPE_CHECKING:
    from regroute.answers import Answer, Fields
    from regroute.config.schema import Limits
    from regroute.logs.access_log import Entry
    from regroute.relay.upstream.ask import Unreachable
    from regroute.relay.upstream.response import ResponseHead
    from regroute.web.exchange import Asking
    from regroute.web.strict import Head

RULES = """
registries:
  r: {url: 'https://r.example', mode: relay, challenge: keep}
rules:
  - {path: '/elsewhere*', to: 'https://elsewhere.example'}
  - {method: [GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS], to: r}
"""


class Office:
    """Lets all requests pass as they are, and keeps the books."""

    def __init__(self, desk: Desk) -> None:
        self.entries: list[tuple[bytes, bytes, int, int]] = []
        self._desk = desk

    def clear(self, forward: Forward) -> None:
        """It may carry what it has."""
        lines = forward.plan.head.lines(b"authorization")
        forward.go(Send(tuple(lines)))

    def is_contradicted(self, forward: Forward, head: ResponseHead) -> bool:
        """Never."""
        return False

    def challenge(self, forward: Forward, head: ResponseHead) -> Fields | Answer | None:
        """The registry's own."""
        return None

    def give(self, forward: Forward, answer: Answer) -> None:
        """Send an answer, and write it down."""
        client, head = forward.client, forward.plan.head
        persists = client.may_persist
        fields = wire.answer_fields(answer, datetimeToString(0))
        body = b"" if head.method == b"HEAD" else answer.body
        client.send(wire.render_head(answer.status, fields, close=not persists) + body)
        self.entries.append((head.method, head.target, answer.status, len(body)))
        client.finish(persists=persists)

    def trouble(self, forward: Forward, why: Unreachable) -> None:
        """The client is told."""

    def record(self, forward: Forward, status: int) -> None:
        """Write it down."""
        head = forward.plan.head
        self.entries.append((head.method, head.target, status, forward.size))


class Desk:
    """A client of the front, and the registry behind it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.clock = Turns()
        self.rules = rules_of(RULES)
        self.office = Office(self)
        self.ends = Ends(self.clock.seconds)
        self.books = Books()
        self.site = site_of(lambda: self.rules, self.clock, self._record, limits)
        self.site.relaying = self
        self.client = Client(site=self.site)
        # One clock for both.
        self.client.clock = self.clock

    def _record(self, entry: Entry) -> None:
        self.office.entries.append((entry.method, entry.path, entry.status, entry.size))

    @property
    def entries(self) -> list[tuple[bytes, bytes, int, int]]:
        """What has been recorded of requests: method, target, status and the body's size."""
        return self.office.entries

    # What a site relays with.

    def recall(self, peer: str | None, is_secure: bool, raw: bytes) -> Head | None:
        """Nothing is remembered."""
        return None

    def is_own(self, target: bytes) -> bool:
        """Nobody gets tokens here."""
        return False

    def exchange(self, head: Head, raw: bytes, peer: str | None, client: Asking) -> Forward | None:
        """A relay, where the rules say so."""
        response = respond(self.rules, peer, head.method, head.target, head.lines)
        if not isinstance(response.answer, Relay):
            return None
        front = Front(None, None, b"front.example")
        plan = Plan(head, response, response.answer, front, None, lambda repository: False)
        return Forward(plan, client, self.ends, self.office)

    # What a test does.

    def ask(self, raw: bytes, capacity: int | None = None) -> End:
        """Let the client send a request, and the registry be connected."""
        self.client.send(raw)
        return self.ends.connect(capacity)

    def settle(self) -> None:
        """Let everything happen."""
        self.client.settle()
        for end in self.ends.all:
            end.settle()
        self.client.settle()

    def fail(self, why: Unreachable) -> None:
        """There is no connection for the first who waits."""
        self.ends.fail(why)
        self.client.settle()

    @property
    def received(self) -> bytes:
        """All that the client has been sent and has not read."""
        return bytes(self.client.wire.written)

    @property
    def is_client_open(self) -> bool:
        """Whether the client's connection goes on."""
        return self.client.is_reading
