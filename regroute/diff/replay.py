"""An access log, replayed through the rules of two configurations. Pure; lines go in one by one.

What is kept does not grow with the log: a counter and an example for each move, and a bounded
memory of requests that have been seen.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ..answers import Refusal
from ..check import Checked
from ..config.schema import Config, LogFile
from ..networks.spans import Address, parse_address
from ..query import Query
from ..rules import Decision, RuleSet
from .verdicts import Sources, Verdict, is_same_answer, outcome_of, source_of

# What the daemon refuses before any rule is asked, for something that no log tells.
_STRICT = (400, 408, 414, 431)
# At most some 30 MB: of clients an address each, of requests their texts.
_CLIENTS_REMEMBERED = 32_768
_REQUESTS_REMEMBERED = 16_384
_LONGEST_REMEMBERED = 1024


class Skip(StrEnum):
    """Why a line cannot be replayed."""

    CUT = "the old configuration logs no whole addresses"
    NO_ADDRESS = "no client's address"
    NO_RECORD = "no line of an access log in JSON"
    MALFORMED = "refused for what the log does not tell"


class Recorded(NamedTuple):
    """One request, as far as a line tells it. All texts are Latin-1.

    `status` is that of an answer without a rule.
    """

    client: str
    method: str
    host: str
    path: str
    user_agent: str
    status: int | None


@dataclass(frozen=True)
class Example:
    """A request that moves, and where it was and is sent."""

    client: str
    method: str
    host: str
    path: str
    user_agent: str
    from_location: str | None
    to_location: str | None


@dataclass(frozen=True)
class Move:
    """Requests that get another answer, by where the old and the new one come from."""

    before: Verdict
    after: Verdict
    requests: int
    example: Example


@dataclass(frozen=True)
class Replayed:
    """What came of a log: how many requests were replayed and how many of them change."""

    requests: int
    changed: int
    skipped: Mapping[Skip, int]
    moves: tuple[Move, ...]


def replay(lines: Iterable[bytes], old: Checked, new: Checked) -> Replayed:
    """Replay each line of an access log, as it was written under `old`, through both."""
    if _cuts_addresses(old.config):
        count = sum(1 for _ in lines)
        return Replayed(0, 0, {Skip.CUT: count} if count else {}, ())
    tally = _Tally(old.rules, new.rules)
    for line in lines:
        tally.add(line)
    return tally.replayed()


def _cuts_addresses(config: Config) -> bool:
    log = config.access_log
    return isinstance(log, LogFile) and log.client != "full"


def read_line(line: bytes) -> Recorded | Skip:
    """Read one line of an access log."""
    try:
        fields = json.loads(line)
        client = fields["client"]
        request = fields["method"], fields.get("host", ""), fields["path"]
        agent, status = fields.get("user_agent", ""), fields.get("status")
        if fields.get("rule") is not None:
            # A rule has judged it; such a status is a registry's, by way of a relay.
            status = None
        # Raises for what is no text, and for text that no request has.
        "".join((*request, agent)).encode("latin-1")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Skip.NO_RECORD
    if not isinstance(client, str):
        return Skip.NO_ADDRESS if client is None else Skip.NO_RECORD
    return Recorded(client, *request, agent, status)


class _Place(NamedTuple):
    """A client, and the sets of addresses that hold it under each configuration."""

    address: Address
    old: frozenset[str]
    new: frozenset[str]


class _Move:
    """A move that is being counted."""

    def __init__(self, before: Verdict, after: Verdict, example: Example) -> None:
        self.before = before
        self.after = after
        self.example = example
        self.requests = 0


class _Tally:
    """What has come of the lines so far."""

    def __init__(self, old: RuleSet, new: RuleSet) -> None:
        self._old = old
        self._new = new
        self._requests = 0
        self._skipped: Counter[Skip] = Counter()
        self._moves: dict[Sources, _Move] = {}
        self._places: dict[str, _Place | None] = {}
        self._seen: dict[tuple[object, ...], _Move | None] = {}

    def add(self, line: bytes) -> None:
        """Replay one line."""
        recorded = read_line(line)
        if isinstance(recorded, Skip):
            self._skipped[recorded] += 1
            return
        client, method, host, path, user_agent, status = recorded
        try:
            place = self._places[client]
        except KeyError:
            place = self._find(client)
        if place is None:
            self._skipped[Skip.NO_ADDRESS] += 1
            return
        if status in _STRICT:
            self._add_refused(recorded, place)
            return
        self._requests += 1
        key = (place.old, place.new, method, host, path, user_agent)
        try:
            move = self._seen[key]
        except KeyError:
            move = self._judge(recorded, place)
            if len(line) <= _LONGEST_REMEMBERED:
                if len(self._seen) >= _REQUESTS_REMEMBERED:
                    self._seen.clear()
                self._seen[key] = move
        if move is not None:
            move.requests += 1

    def _find(self, client: str) -> _Place | None:
        try:
            address = parse_address(client)
        except ValueError:
            return None
        place = _Place(
            address, self._old.networks.lookup(address), self._new.networks.lookup(address)
        )
        if len(self._places) >= _CLIENTS_REMEMBERED:
            self._places.clear()
        self._places[client] = place
        return place

    def _add_refused(self, recorded: Recorded, place: _Place) -> None:
        """A refusal that rules have no part in: it stays one where its own target is the reason."""
        if _query(recorded, place) is None:
            self._requests += 1
        else:
            self._skipped[Skip.MALFORMED] += 1

    def _judge(self, recorded: Recorded, place: _Place) -> _Move | None:
        """The move that a request makes; None if its answer stays the same."""
        query = _query(recorded, place)
        if query is None:
            return None
        old = self._old.decide_in(query, place.old)
        new = self._new.decide_in(query, place.new)
        if is_same_answer(old, new):
            return None
        sources = source_of(old), source_of(new)
        move = self._moves.get(sources)
        if move is None:
            move = self._moves[sources] = _new_move(recorded, old, new)
        return move

    def replayed(self) -> Replayed:
        """The result, with the moves of most requests first."""
        moves = sorted(
            (
                Move(move.before, move.after, move.requests, move.example)
                for move in self._moves.values()
            ),
            key=lambda move: -move.requests,
        )
        changed = sum(move.requests for move in moves)
        return Replayed(self._requests, changed, dict(self._skipped), tuple(moves))


def _query(recorded: Recorded, place: _Place) -> Query | None:
    """A recorded request as rules see it; None where it is refused before."""
    try:
        return Query.of(
            place.address,
            recorded.method,
            recorded.path.encode("latin-1"),
            recorded.host.encode("latin-1"),
            recorded.user_agent,
        )
    except Refusal:
        return None


def _new_move(recorded: Recorded, old: Decision, new: Decision) -> _Move:
    before, after = outcome_of(old), outcome_of(new)
    client, method, host, path, user_agent, _ = recorded
    example = Example(client, method, host, path, user_agent, before.location, after.location)
    return _Move(before.verdict, after.verdict, example)
