"""What the lane remembers: plain heads and their answers, under one rule set.

A head is read by `strict` and answered by `respond`, as in the tree; there is no other way to an
answer. What is remembered is right for every client of the same networks, for nothing else of a
client decides, and it is forgotten with its rule set.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from twisted.logger import Logger

from ..answers import Refusal, Relay
from ..clients import peer_address
from ..logs.access_log import Again, Entry, entry_of
from ..networks.spans import Address
from ..respond import Lines, respond
from ..rules import RuleSet
from . import wire
from .connection import SETTLED
from .strict import END, Head, read_head

REMEMBERED = 16_384
"""How many heads with their answers are remembered at the most."""
REMEMBERED_BYTES = 16 * 2**20
"""How many bytes these may be, as far as they grow with what clients send."""

# What makes a head more than its own end: a body, or another protocol.
_NOT_PLAIN = {b"content-length", b"transfer-encoding", b"expect", b"upgrade"}
_DATE = b"Thu, 01 Jan 1970 00:00:00 GMT"

_log = Logger()


class Served(NamedTuple):
    """The answer to one head: its bytes around the date, and what is recorded of it.

    The client is the peer where `is_peer`, or else `client`: whom a proxy of ours has named.
    """

    before: bytes
    after: bytes
    closes: bool
    again: Again
    client: Address | None
    is_peer: bool


class Memory:
    """Heads and their answers under one rule set, for each set of networks that a client is in.

    `is_own` says of a target that it is no matter of the rules.
    """

    def __init__(
        self,
        rules: RuleSet,
        remember: Callable[[Entry], Again],
        is_own: Callable[[bytes], bool],
    ) -> None:
        self.rules = rules
        self._remember = remember
        self._is_own = is_own
        self._by_peer: dict[str, dict[bytes, Served]] = {}
        self._by_networks: dict[frozenset[str], dict[bytes, Served]] = {}
        self.count = 0
        self.size = 0  # in bytes

    def answers_for(self, peer: str) -> dict[bytes, Served]:
        """What is remembered for a peer, by the socket's text of its address."""
        found = self._by_peer.get(peer)
        if found is None:
            if len(self._by_peer) >= REMEMBERED:
                self._by_peer.clear()
            networks = self.rules.networks.lookup(peer_address(peer))
            found = self._by_peer[peer] = self._by_networks.setdefault(networks, {})
        return found

    def recognise(self, data: bytes, peer: str, head_size: float) -> Served | None:
        """The answer to one whole, plain head; None for whatever else it is."""
        if not data.endswith(END) or data.find(END) < len(data) - len(END):
            return None
        if len(data) > head_size:
            return None
        try:
            head = read_head(data)
            if not _is_plain(head) or self._is_own(head.target):
                return None
            lines = _unsettled(head).lines
            response = respond(self.rules, peer, head.method, head.target, lines)
        except Refusal:
            return None
        except Exception:
            # Its first line alone: fields may hold credentials.
            line = data.partition(b"\r\n")[0]
            _log.failure("the lane has no answer to {line}", line=line)
            return None
        answer = response.answer
        if isinstance(answer, Relay):
            return None
        wired = wire.render_head(
            answer.status, wire.answer_fields(answer, _DATE), close=not head.persists
        )
        before, _, after = wired.partition(_DATE)
        served = Served(
            before,
            after if head.method == b"HEAD" else after + answer.body,
            not head.persists,
            self._remember(entry_of(response, head.method, head.target, lines, head.version)),
            response.client,
            is_peer=not self._names_client(lines, peer),
        )
        if served.is_peer or response.client != peer_address(peer):
            self._keep(self.answers_for(peer), data, served)
        return served

    def _names_client(self, lines: Lines, peer: str) -> bool:
        """Whether a proxy of ours says whom it speaks for: that holds for this head alone."""
        clients = self.rules.clients
        named = lines(clients.header.encode("ascii"))
        return bool(named) and clients.trusts(peer_address(peer))

    def _keep(self, answers: dict[bytes, Served], head: bytes, served: Served) -> None:
        # The entry has the head's parts and the Location once more.
        size = 2 * len(head) + 2 * len(served.before) + len(served.after)
        # All are forgotten where they become too many: whoever floods us has few that matter.
        if self.count >= REMEMBERED or self.size + size > REMEMBERED_BYTES:
            self.forget()
        self.count += 1
        self.size += size
        answers[head] = served

    def forget(self) -> None:
        """Forget all heads, those too that connections have at hand."""
        for each in self._by_networks.values():
            each.clear()
        self.count = self.size = 0


def _unsettled(head: Head) -> Head:
    """A head with what the rules may see of it, as in the tree."""
    return replace(head, fields=tuple(field for field in head.fields if field[0] not in SETTLED))


def _is_plain(head: Head) -> bool:
    """Whether there is no more to a head than itself."""
    return (
        head.version == b"1.1"
        and head.method in (b"GET", b"HEAD")
        and all(name not in _NOT_PLAIN for name, _ in head.fields)
    )
