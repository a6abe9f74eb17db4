"""Pairs of configurations, and the clients at every edge of their networks."""

import json
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from regroute.answers import Answer, Relay
from regroute.check import Checked
from regroute.config.faults import Faulty
from regroute.networks.spans import Address

from ..making import checked
from ..test_rules import NETWORKS, Data, one_or_more, rule_data

SPANS = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.1.2.0-10.2.0.9", "0.0.0.0/0", "10.0.0.0/9"]
SPANS += ["10.128.0.0/9", "255.255.255.255", "2001:db8::/32", "2001:db8::1", "::/0"]
REGISTRIES = {
    "k8s": "https://registry.k8s.io",
    "mirror": "http://mirror.example:5000",
    "team": "http://mirror.example:5000/library",
    "hub": {"url": "https://registry.k8s.io", "mode": "relay"},
    "shared": {"url": "https://registry.k8s.io", "mode": "relay", "auth": "anonymous"},
    "blobs": {"url": "https://registry.k8s.io", "mode": "relay", "blobs": "redirect"},
    "auto": {"url": "https://registry.k8s.io", "mode": "auto"},
}


def configuration(*rules: str, more: str = "") -> Checked:
    """The configuration of some rules, one a line, beside the registries."""
    lines = [f"registries: {json.dumps(REGISTRIES)}", more, "rules:"]
    return checked("\n".join([*lines, *(f"  - {rule}" for rule in rules)]))


def _living(rules: list[Data], networks: Data) -> Checked:
    """The configuration of those rules that something can reach."""
    more = f"networks: {json.dumps(networks)}"
    lines = [json.dumps(rule) for rule in rules]
    try:
        return configuration(*lines, more=more)
    except Faulty as faulty:
        dead = {fault.line - 4 for fault in faulty.faults}
        return configuration(
            *(line for place, line in enumerate(lines) if place not in dead), more=more
        )


_networks = st.fixed_dictionaries({name: one_or_more(*SPANS) for name in NETWORKS})
_rules = st.lists(rule_data(), min_size=1, max_size=4)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Checked, Checked]:
    """Two configurations that have much in common, as those have that someone edits."""
    rules, networks = draw(_rules), draw(_networks)
    edited = draw(_rules)
    kept = draw(st.lists(st.sampled_from(rules), max_size=3))
    if draw(st.booleans()):
        registry = draw(st.sampled_from(list(REGISTRIES)))
        kept = [rule | {"to": registry} if "to" in rule else rule for rule in kept]
    others = draw(st.just(networks) | _networks)
    return _living(rules, networks), _living([*kept, *edited], others)


def edges(*configurations: Checked) -> set[Address]:
    """The first and last address of every interval of theirs, and their neighbours."""
    found: set[Address] = set()
    for configuration in configurations:
        for version, starts in configuration.rules.networks.starts.items():
            kind, top = (IPv4Address, 2**32) if version == 4 else (IPv6Address, 2**128)
            numbers = {number for start in starts for number in (start - 1, start, start + 1)}
            numbers |= {number - 1 for number in numbers} | {top - 1}
            found |= {kind(number) for number in numbers if 0 <= number < top}
    return found


def seen(answer: Answer | Relay) -> tuple[object, ...]:
    """What the client gets to see of an answer; of a relay, where it leads and on what terms."""
    if isinstance(answer, Relay):
        return answer.url, answer.to.terms.auth, answer.to.terms.keeps_challenge
    return answer.status, answer.fields, answer.body


def verdict(answer: Answer | Relay) -> tuple[str | None, str | None, int | None]:
    """Where an answer comes from; a relayed one has the status that the registry gives it."""
    return answer.rule, answer.registry, answer.status if isinstance(answer, Answer) else None


def without_mapped(addresses: Iterable[Address]) -> set[Address]:
    """Less the IPv4-mapped ones, which no client has: it has the IPv4 address."""
    return {
        address
        for address in addresses
        if isinstance(address, IPv4Address) or address.ipv4_mapped is None
    }
