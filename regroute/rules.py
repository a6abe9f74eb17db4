"""Rules, compiled: which one decides about a request, and what its candidates are."""

from collections.abc import Sequence
from dataclasses import dataclass

from .clients import Clients
from .conditions import Conditions, OneOf
from .networks.table import AddressTable
from .query import Query


@dataclass(frozen=True)
class Registry:
    """A destination: scheme, host and port in `origin`, and the prefix of its repositories."""

    name: str
    origin: str
    prefix: str = ""


@dataclass(frozen=True)
class To:
    """Redirect to one of the candidates, with the request's own path and query."""

    candidates: tuple[Registry, ...]
    status: int


@dataclass(frozen=True)
class Fixed:
    """Redirect to one fixed location, whatever the request's path is."""

    location: str
    status: int


@dataclass(frozen=True)
class Deny:
    """Refuse."""

    message: str
    status: int


@dataclass(frozen=True)
class Ok:
    """Answer the API check here."""


Outcome = To | Fixed | Deny | Ok


@dataclass(frozen=True)
class Rule:
    """One rule. `position` counts from 0 in the list of rules, `line` from 1 in the file."""

    name: str
    position: int
    line: int
    conditions: Conditions
    outcome: Outcome

    @property
    def methods(self) -> frozenset[str] | None:
        """The methods that it speaks of; None if of all."""
        condition = self.conditions.by_key.get("method")
        return condition.values if isinstance(condition, OneOf) else None


@dataclass(frozen=True)
class Decision:
    """The rule that decides, or None with the methods that a rule would have been there for."""

    query: Query
    rule: Rule | None
    candidates: tuple[Registry, ...] = ()
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class RuleSet:
    """Everything that one configuration decides, immutable: a reload replaces it whole."""

    rules: tuple[Rule, ...]
    clients: Clients
    networks: AddressTable

    def decide(self, query: Query) -> Decision:
        """The first rule whose conditions all hold. Pure, and never waits."""
        networks = self.networks.lookup(query.client)
        for rule in self.rules:
            if rule.conditions.hold(query, networks):
                match rule.outcome:
                    case To(candidates=candidates):
                        return Decision(query, rule, candidates)
                    case Deny(status=405):
                        return Decision(query, rule, allow=self._allowed(query, networks))
                return Decision(query, rule)
        return Decision(query, None, allow=self._allowed(query, networks))

    def _allowed(self, query: Query, networks: frozenset[str]) -> tuple[str, ...]:
        """The methods with which a rule would have served this request: GET and HEAD first."""
        allowed: set[str] = set()
        denied: set[str] = set()
        for rule in self.rules:
            if rule.conditions.hold(query, networks, but=("method",)):
                if rule.methods is None:
                    break
                if isinstance(rule.outcome, Deny):
                    denied |= rule.methods
                else:
                    allowed |= rule.methods - denied
        return tuple(sorted(allowed, key=_usual_order))


def _usual_order(method: str) -> tuple[int, str]:
    usual: Sequence[str] = ("GET", "HEAD")
    return (usual.index(method) if method in usual else len(usual), method)


def unreachable(rules: Sequence[Rule]) -> list[tuple[Rule, Rule]]:
    """Each rule that nothing can reach, with the earlier rule that covers it."""
    found = []
    for position, rule in enumerate(rules):
        for earlier in rules[:position]:
            if earlier.conditions.covers(rule.conditions):
                found.append((rule, earlier))
                break
    return found
