"""The whole core in one call: from a request's parts to its answer."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .answers import Answer, Refusal, Relay, refused
from .choose import choose
from .networks.spans import Address
from .query import Query
from .rules import RuleSet
from .target import means_v2

Lines = Callable[[bytes], Sequence[bytes]]


class Response(NamedTuple):
    """An answer or who has it, and who is known to have asked for it."""

    answer: Answer | Relay
    client: Address | None


def respond(
    rules: RuleSet, peer: str | None, method: bytes, target: bytes, lines: Lines
) -> Response:
    """The answer to one well-formed request.

    `peer` is the connection's other end as the socket reports it, None for a Unix socket's;
    `lines` gives the values of all field lines with a name in lower case.
    """
    try:
        client = rules.clients.address(peer, lines)
    except Refusal as refusal:
        return Response(refused(refusal, under_v2=means_v2(target)), client=None)
    return Response(respond_for(rules, client, method, target, lines), client)


def respond_for(
    rules: RuleSet, client: Address, method: bytes, target: bytes, lines: Lines
) -> Answer | Relay:
    """The same for a client that is known, with the other parts as `respond` has them."""
    return respond_to(rules, client, method.decode("ascii"), target, *said_by(lines))


def said_by(lines: Lines) -> tuple[bytes, str]:
    """The host and the user agent that a request names."""
    host = next(iter(lines(b"host")), b"")
    return host, b", ".join(lines(b"user-agent")).decode("latin-1")


def respond_to(
    rules: RuleSet, client: Address, method: str, target: bytes, host: bytes, user_agent: str
) -> Answer | Relay:
    """The answer to a request whose client is known, or the relay to who has it."""
    try:
        query = Query.of(client, method, target, host, user_agent)
    except Refusal as refusal:
        return refused(refusal, under_v2=means_v2(target))
    return choose(rules.decide(query), rules.open)


def registry_of(
    rules: RuleSet, client: Address, repository: str, host: bytes, user_agent: str
) -> str | None:
    """The name of the registry that the manifests of a repository are at, for a client."""
    target = f"/v2/{repository}/manifests/latest".encode("ascii")
    return respond_to(rules, client, "GET", target, host, user_agent).registry
