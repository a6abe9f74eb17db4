"""From a configuration to the immutable rule set that decides by it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .clients import Clients
from .conditions import ClientIn, Condition, Conditions, Like, Not, OneOf
from .config.registries import RegistryFields
from .config.schema import ConditionFields, Config, NotFields, RuleFields
from .config.urls import parse_registry
from .networks.ranges import Ranges
from .networks.spans import Address, Span
from .networks.table import AddressTable
from .pattern import Pattern
from .registry import Account, Mode, Registry, Terms, Visitors
from .rules import Deny, Fixed, Ok, Outcome, Rule, RuleSet, To


def rule_name(fields: RuleFields, position: int) -> str:
    """A rule's name, or the one that it has by its position, which counts from 0."""
    return fields.name or f"rule-{position + 1}"


@dataclass(frozen=True)
class Names:
    """What the names in a configuration stand for."""

    networks: Mapping[str, Ranges]
    registries: Mapping[str, Registry]

    def client_in(self, entries: Iterable[Span | str]) -> ClientIn:
        """The condition that a client is in one of these spans and named networks.

        Spans are sets of addresses too; each has its own text for a name.
        """
        sets = {str(entry): self._ranges(entry) for entry in entries}
        spans = (span for ranges in sets.values() for span in ranges.spans)
        return ClientIn(frozenset(sets), Ranges.of(spans))

    def _ranges(self, entry: Span | str) -> Ranges:
        return Ranges.of([entry]) if isinstance(entry, Span) else self.networks[entry]

    def registry(self, destination: str) -> Registry:
        """The registry with this name or URL."""
        if "://" in destination:
            return parse_registry(destination, destination)
        return self.registries[destination]


def compile_terms(
    fields: RegistryFields,
    auth: Visitors | Account,
    authorities: str | None,
    *,
    takes_logins: bool,
) -> Terms:
    """How a registry is relayed; `authorities` are in PEM."""
    mode = Mode(fields.mode)
    if mode is Mode.REDIRECT:
        # The rest says nothing, and two that are redirected to are alike.
        return Terms()
    return Terms(
        mode=mode,
        auth=auth,
        takes_logins=takes_logins,
        keeps_challenge=fields.challenge == "keep",
        redirects_blobs=fields.blobs == "redirect",
        forwarded=fields.forwarded,
        redirected=tuple(Pattern(text, crosses=True) for text in fields.redirected),
        connect=fields.connect,
        idle=fields.idle,
        connections=fields.connections,
        authorities=authorities,
    )


def compile_rule(fields: RuleFields, names: Names, position: int, line: int) -> Rule:
    """Compile one rule; raises `KeyError` for a network or registry that has no meaning."""
    methods = fields.method
    if not methods and fields.deny is None:
        methods = ("GET", "HEAD")
    conditions = _conditions(fields, methods, names)
    name = rule_name(fields, position)
    return Rule(name, position, line, Conditions(conditions), _outcome(fields, names))


def compile_table(config: Config, networks: Mapping[str, Ranges]) -> AddressTable:
    """The table of all sets of addresses that `config` names or writes out."""
    entries = [*config.clients.trusted_proxies]
    for fields in config.rules:
        entries += _spans(fields)
    written = {str(entry): Ranges.of([entry]) for entry in entries if isinstance(entry, Span)}
    return AddressTable.of({**networks, **written})


def compile_rules(
    config: Config, rules: Iterable[Rule], names: Names, table: AddressTable
) -> RuleSet:
    """The rule set of compiled rules, with whom it trusts and the table of all its networks."""
    trusted = names.client_in(config.clients.trusted_proxies)

    def trusts(address: Address) -> bool:
        return not trusted.names.isdisjoint(table.lookup(address))

    return RuleSet(tuple(rules), Clients(config.clients.header, trusts), table)


def _spans(fields: ConditionFields) -> list[Span | str]:
    inner = _spans(fields.excluded) if fields.excluded else []
    return [*fields.client, *inner]


def _conditions(
    fields: ConditionFields, methods: tuple[str, ...], names: Names
) -> dict[str, Condition]:
    """The conditions that are given, the cheap ones first. A new condition gets a line here."""
    given: dict[str, Condition | None] = {
        "method": _one_of("method", methods),
        "client": names.client_in(fields.client) if fields.client else None,
        "kind": _one_of("kind", fields.kind),
        "host": _one_of("host", fields.host),
        "path": _like("path", fields.path, prefix=True),
        "repository": _like("repository", fields.repository),
        "reference": _like("reference", fields.reference),
        "user_agent": _like("user_agent", fields.user_agent, crosses=True),
        "namespace": _one_of("namespace", fields.namespace),
        "not": _not(fields.excluded, names),
    }
    return {key: condition for key, condition in given.items() if condition is not None}


def _not(fields: NotFields | None, names: Names) -> Condition | None:
    if fields is None:
        return None
    return Not(Conditions(_conditions(fields, fields.method, names)))


def _one_of(part: str, values: tuple[str, ...]) -> Condition | None:
    return OneOf(part, frozenset(values)) if values else None


def _like(
    part: str, texts: tuple[str, ...], *, crosses: bool = False, prefix: bool = False
) -> Condition | None:
    patterns = tuple(Pattern(text, crosses=crosses, prefix=prefix) for text in texts)
    return Like(part, patterns) if patterns else None


def _outcome(fields: RuleFields, names: Names) -> Outcome:
    if fields.to is not None:
        return To((names.registry(fields.to),), fields.status or 302)
    if fields.location is not None:
        return Fixed(fields.location, fields.status or 302)
    if fields.deny is not None:
        return Deny(fields.deny, fields.status or 403)
    return Ok()
