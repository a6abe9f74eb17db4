"""The whole core in one call: from a request's parts to its answer."""

from collections.abc import Callable, Sequence

from .answers import Answer, Refusal, refuse
from .choose import choose
from .networks.spans import Address
from .query import Query
from .rules import RuleSet
from .target import means_v2

Lines = Callable[[bytes], Sequence[bytes]]


def respond(rules: RuleSet, peer: str, method: bytes, target: bytes, lines: Lines) -> Answer:
    """The answer to one well-formed request.

    `peer` is the connection's other end as the socket reports it; `lines` gives the values of all
    field lines with a name in lower case.
    """
    try:
        client = rules.clients.address(peer, lines)
    except Refusal as refusal:
        return refuse(refusal.status, refusal.message, under_v2=means_v2(target))
    host = next(iter(lines(b"host")), b"")
    user_agent = b", ".join(lines(b"user-agent")).decode("latin-1")
    return respond_to(rules, client, method.decode("ascii"), target, host, user_agent)


def respond_to(
    rules: RuleSet, client: Address, method: str, target: bytes, host: bytes, user_agent: str
) -> Answer:
    """The answer to a request whose client is known."""
    try:
        query = Query.of(client, method, target, host, user_agent)
    except Refusal as refusal:
        return refuse(refusal.status, refusal.message, under_v2=means_v2(target))
    return choose(rules.decide(query))
