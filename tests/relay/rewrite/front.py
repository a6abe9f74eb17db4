"""A front before one registry that it relays to, with and without a prefix."""

from ipaddress import IPv4Address

from regroute.answers import Refusal, Relay
from regroute.choose import choose
from regroute.query import Query
from regroute.relay.rewrite.names import Names

from ...making import checked

SHA256 = "sha256:" + "0123456789abcdef" * 4
FRONT = "http://front.example:10000"
HUB = "https://registry.example"

RULES = {
    prefix: checked(
        f"registries: {{hub: {{url: '{HUB}/{prefix}', mode: relay}}}}\n"
        "rules: [{method: [GET, HEAD, POST, PUT, PATCH, DELETE], to: hub}]"
    ).rules
    for prefix in ("", "library", "a/b")
}
"""The front's rules, by the registry's prefix."""


def relayed(prefix: str, target: str, method: str = "GET") -> Relay | None:
    """The relay of a request to the front; None if the front refuses it."""
    client = IPv4Address("192.0.2.1")
    try:
        query = Query.of(client, method, target.encode(), b"front.example:10000", "")
    except Refusal:
        return None
    relay = choose(RULES[prefix].decide(query))
    assert isinstance(relay, Relay)
    return relay


def names(prefix: str, target: str) -> Names:
    """The names for a request that is relayed."""
    relay = relayed(prefix, target)
    assert relay is not None
    return Names.of(relay, FRONT)
