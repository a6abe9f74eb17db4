"""Rules, compiled: which one decides about a request, and what its candidates are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from .clients import Clients
from .conditions import ClientIn, Conditions, OneOf
from .networks.table import AddressTable
from .oci import Kind
from .query import Query
from .registry import Mode, Registry


@dataclass(frozen=True)
class To:
    """Send on to one of the candidates, with the request's own path and query.

    `status` is for redirects.
    """

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

_REMEMBERED = 1024  # sets of networks whose rules are remembered


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

    def may_concern(self, networks: frozenset[str]) -> bool:
        """Whether it can hold for some request of a client of these networks."""
        condition = self.conditions.by_key.get("client")
        return not isinstance(condition, ClientIn) or not condition.names.isdisjoint(networks)


def may_redirect(rule: Rule, registry: Registry) -> bool:
    """Whether some client may be redirected to a registry by a rule that sends requests there."""
    terms = registry.terms
    if terms.mode is Mode.REDIRECT:
        return True
    if rule.methods is not None and rule.methods.isdisjoint({"GET", "HEAD"}):
        return False
    if terms.mode is Mode.AUTO:
        return True
    kinds = rule.conditions.by_key.get("kind")
    return terms.redirects_blobs and (not isinstance(kinds, OneOf) or Kind.BLOBS in kinds.values)


@dataclass(frozen=True)
class Decision:
    """The rule that decides, or None with the methods that a rule would have been there for."""

    query: Query
    rule: Rule | None
    candidates: tuple[Registry, ...] = ()
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class RuleSet:
    """Everything that one configuration decides, immutable: a reload replaces it whole.

    `open` are the origins of registries that are known to ask nobody for credentials; where that
    changes, the rule set is replaced too.
    """

    rules: tuple[Rule, ...]
    clients: Clients
    networks: AddressTable
    open: frozenset[str] = frozenset()

    @cached_property
    def registries(self) -> tuple[Registry, ...]:
        """All that rules send to, each once, in the order of the rules."""
        found = {
            registry: None
            for rule in self.rules
            if isinstance(rule.outcome, To)
            for registry in rule.outcome.candidates
        }
        return tuple(found)

    @cached_property
    def relays(self) -> bool:
        """Whether any request is relayed."""
        return any(registry.terms.mode is not Mode.REDIRECT for registry in self.registries)

    @cached_property
    def challenges(self) -> bool:
        """Whether clients get their tokens from us."""
        return any(registry.terms.challenges for registry in self.registries)

    def decide(self, query: Query) -> Decision:
        """The first rule whose conditions all hold. Pure, and never waits."""
        return self.decide_in(query, self.networks.lookup(query.client))

    def decide_in(self, query: Query, networks: frozenset[str]) -> Decision:
        """The same where the sets of addresses that hold the client are known."""
        rule = self._first(query, networks)
        if rule is None:
            return Decision(query, None, allow=self._allowed(query, networks))
        match rule.outcome:
            case To(candidates=candidates):
                return Decision(query, rule, candidates)
            case Deny(status=405):
                return Decision(query, rule, allow=self._allowed(query, networks))
        return Decision(query, rule)

    def _first(self, query: Query, networks: frozenset[str]) -> Rule | None:
        for rule in self._candidates(networks):
            if rule.conditions.hold(query, networks):
                return rule
        return None

    def _candidates(self, networks: frozenset[str]) -> tuple[Rule, ...]:
        """The rules that may concern a client of these networks: mostly few of many."""
        found = self._remembered.get(networks)
        if found is None:
            found = tuple(rule for rule in self.rules if rule.may_concern(networks))
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[networks] = found
        return found

    @cached_property
    def _remembered(self) -> dict[frozenset[str], tuple[Rule, ...]]:
        return {}

    def _allowed(self, query: Query, networks: frozenset[str]) -> tuple[str, ...]:
        """The methods with which a rule would have served this request: GET and HEAD first."""
        decisive = {
            method: self._first(replace(query, method=method), networks) for method in self._methods
        }
        return tuple(
            method
            for method, rule in decisive.items()
            if rule is not None and not isinstance(rule.outcome, Deny)
        )

    @cached_property
    def _methods(self) -> tuple[str, ...]:
        """The methods that rules speak of; with any other, none but a denial can be meant."""
        spoken = {method for rule in self.rules for method in rule.methods or ()}
        return tuple(sorted(spoken, key=_usual_order))


def _usual_order(method: str) -> tuple[int, str]:
    usual: Sequence[str] = ("GET", "HEAD")
    return (usual.index(method) if method in usual else len(usual), method)
