"""What two configurations differ in besides their rules, as far as it can change answers."""

from collections.abc import Iterator

from ..check import Checked
from ..compile import Names
from ..networks.ranges import Ranges
from ..registry import Terms


def outside(old: Checked, new: Checked) -> Iterator[str]:
    """Each such difference: a comparison of answers to known clients does not see them."""
    before, after = old.config, new.config
    if _trusted(old) != _trusted(new):
        yield "clients.trusted_proxies"
    if before.clients.header != after.clients.header:
        yield f"clients.header ({before.clients.header} → {after.clients.header})"
    if before.listen != after.listen:
        yield "listen"
    if before.limits != after.limits:
        yield "limits"
    if before.token != after.token:
        yield "token"
    for name, registry in new.registries.items():
        known = old.registries.get(name)
        if known is not None and _hidden(known.terms) != _hidden(registry.terms):
            yield f"registries.{name}"


def _hidden(terms: Terms) -> tuple[object, ...]:
    """What of a registry's terms is between it and us alone."""
    return terms.forwarded, terms.connect, terms.idle, terms.connections, terms.authorities


def _trusted(checked: Checked) -> Ranges:
    names = Names(checked.networks, checked.registries)
    return names.client_in(checked.config.clients.trusted_proxies).ranges
