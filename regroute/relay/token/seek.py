"""Which registry a token is for: the one that the rules lead its requests to.

A token is asked for before the requests that it is for, by the same client. So the rules are asked
about requests that could be among them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from ...answers import Relay
from ...choose import choose
from ...networks.spans import Address
from ...origins import normal_origin
from ...query import Query
from ...registry import Registry, Visitors
from ...rules import Decision, Deny, RuleSet, To
from .scope import ANY, DELETE, PUSH, Scope, there

_NO_DIGEST = "sha256:" + 64 * "0"
_PULLS = (
    ("GET", "manifests/latest"),
    ("GET", f"blobs/{_NO_DIGEST}"),
    ("GET", "tags/list"),
    ("GET", f"referrers/{_NO_DIGEST}"),
)
_PUSHES = (("PUT", "manifests/latest"), ("POST", "blobs/uploads/"))
_DELETIONS = (("DELETE", "manifests/latest"), ("DELETE", f"blobs/{_NO_DIGEST}"))
_REQUESTS = {
    PUSH: (_PUSHES,),
    DELETE: (_DELETIONS,),
    ANY: (_PULLS, _PUSHES, _DELETIONS),
}

# What conditions say about the client, whatever it asks for.
_OF_CLIENT = frozenset(("client", "host", "user_agent"))


class Asker(NamedTuple):
    """Who asks, as far as rules can see it. `namespace` is the registry that a mirror's client
    means.
    """

    client: Address
    host: bytes
    user_agent: str
    namespace: str | None = None

    def query(self, method: str, path: str) -> Query:
        """A request of this client; raises `Refusal` where its host is invalid."""
        target = path if self.namespace is None else f"{path}?ns={quote(self.namespace, safe='')}"
        return Query.of(self.client, method, target.encode(), self.host, self.user_agent)


@dataclass(frozen=True)
class Sought:
    """The registry that a token is for, with the scopes by their names here and there.

    No registry: the requests are not relayed, or with no credentials of clients.
    """

    registry: Registry | None
    scopes: tuple[Scope, ...] = ()
    scopes_there: tuple[Scope, ...] = ()


class Barred(Exception):
    """There is no token for what is asked; `rule` is the one that says so."""

    def __init__(self, message: str, rule: str | None = None) -> None:
        super().__init__(message, rule)
        self.message = message
        self.rule = rule


class _Found(NamedTuple):
    scope: Scope
    registry: Registry

    @property
    def origin(self) -> str:
        """What two scopes have to share for one token."""
        return normal_origin(self.registry.origin)


def seek(rules: RuleSet, asker: Asker, scopes: Sequence[Scope]) -> Sought:
    """The one registry for all of these scopes; raises `Barred` and `Refusal`.

    What rules do not serve is left out as long as something is left, for a token may be for less
    than what is asked (distribution's token specification): who comes with it is told the rest.
    """
    found: list[_Found] = []
    barred: list[Barred] = []
    for scope in scopes:
        try:
            registry = _seek_one(rules, asker, scope)
        except Barred as error:
            barred.append(error)
        else:
            if registry is not None:
                found.append(_Found(scope, registry))
    if not found:
        if len(barred) == len(scopes) > 0:
            raise barred[0]
        return Sought(None)
    chosen = _agree(found)
    return Sought(
        chosen[0].registry,
        tuple(each.scope for each in chosen),
        tuple(there(each.scope, each.registry) for each in chosen),
    )


def _agree(found: list[_Found]) -> list[_Found]:
    """Those at one registry. Where a blob is to be mounted from a repository elsewhere, these are
    the ones at the registry that is pushed to: it gets the blob by an upload instead. (Where that
    token was refused, containerd 1.6 gave up the push.)
    """
    if len({each.origin for each in found}) == 1:
        return found
    pushed = {each.origin for each in found if not each.scope.only_pulls}
    if len(pushed) == 1:
        return [each for each in found if each.origin in pushed]
    one, other = next(
        (one, other) for one in found for other in found if one.origin != other.origin
    )
    raise Barred(
        f"{_called(one)} and {_called(other)}: a token is for one registry, and nothing can be "
        "mounted from one into another; ask for one token each"
    )


def _called(found: _Found) -> str:
    return f"'{found.scope.name}' is at '{found.registry.name}'"


def _seek_one(rules: RuleSet, asker: Asker, scope: Scope) -> Registry | None:
    """The registry for one scope, None if no request needs a token; raises `Barred`."""
    found: dict[str, Registry] = {}
    barred: list[Barred] = []
    is_served = False
    for requests in _requests(scope):
        try:
            registry = _first_relay(rules, asker, requests)
        except Barred as error:
            barred.append(error)
        else:
            is_served = True
            if registry is not None:
                found.setdefault(normal_origin(registry.origin), registry)
    if len(found) > 1:
        names = " and others to ".join(f"'{registry.name}'" for registry in found.values())
        raise Barred(
            f"some requests for '{scope.name}' go to {names}: a token is for one registry; ask "
            "for one action each"
        )
    if not found and not is_served and barred:
        raise barred[0]
    return next(iter(found.values()), None)


def _requests(scope: Scope) -> Iterator[Sequence[tuple[str, str]]]:
    """Requests that a token of this scope may be for, by kinds of action; method and path."""
    if not scope.is_repository:
        yield (("GET", "/v2/_catalog" if scope.name == "catalog" else "/v2/"),)
        return
    kinds = [kind for action in scope.actions for kind in _REQUESTS.get(action, (_PULLS,))]
    for kind in dict.fromkeys(kinds):
        yield tuple((method, f"/v2/{scope.name}/{end}") for method, end in kind)


def _first_relay(
    rules: RuleSet, asker: Asker, requests: Sequence[tuple[str, str]]
) -> Registry | None:
    """The registry that the first of these requests needs a token for; None if none needs one but
    some is served; raises `Barred` where none is.
    """
    barred: list[Barred] = []
    for method, path in requests:
        decision = rules.decide(asker.query(method, path))
        choice = choose(decision, rules.open)
        if isinstance(choice, Relay) and choice.to.terms.auth is Visitors.CLIENT:
            return choice.to
        if (error := _barred(decision)) is not None:
            barred.append(error)
    if len(barred) == len(requests):
        raise barred[0]
    return None


def _barred(decision: Decision) -> Barred | None:
    rule = decision.rule
    if rule is None:
        return Barred("no rule serves this")
    return Barred(rule.outcome.message, rule.name) if isinstance(rule.outcome, Deny) else None


def logins(rules: RuleSet, asker: Asker, named: Sequence[str]) -> tuple[Registry, ...]:
    """The registries that a login without a scope is tried at, in this order.

    Those that are `named`, or else the one of the API check and after it all others that rules may
    lead this client to. A registry that is asked as nobody or with our own account is none of them.
    """
    found: dict[str, Registry] = {}
    for registry in _named(rules, named) if named else _in_reach(rules, asker):
        if _takes_login(registry):
            # One of several at the same origin is enough.
            found.setdefault(normal_origin(registry.origin), registry)
    return tuple(found.values())


def _named(rules: RuleSet, names: Sequence[str]) -> Iterator[Registry]:
    known = {registry.name: registry for registry in rules.registries}
    return (known[name] for name in names if name in known)


def _in_reach(rules: RuleSet, asker: Asker) -> Iterator[Registry]:
    first = choose(rules.decide(asker.query("GET", "/v2/")), rules.open)
    if isinstance(first, Relay):
        yield first.to
    yield from _reach(rules, asker)


def _takes_login(registry: Registry) -> bool:
    return registry.terms.challenges and registry.terms.auth is Visitors.CLIENT


def _reach(rules: RuleSet, asker: Asker) -> Iterator[Registry]:
    """The registries that some request of this client may be sent to, in the order of the rules."""
    query = asker.query("GET", "/v2/")
    networks = rules.networks.lookup(query.client)
    # Of the requests with these methods none comes any further.
    decided: set[str] = set()
    for rule in rules.rules:
        conditions = rule.conditions.by_key
        about_client = conditions.keys() & _OF_CLIENT
        if not all(conditions[key].holds(query, networks) for key in about_client):
            continue
        if rule.methods is not None and rule.methods <= decided:
            continue
        if isinstance(rule.outcome, To):
            yield from rule.outcome.candidates
        if conditions.keys() - about_client <= {"method"}:
            if rule.methods is None:
                return
            decided |= rule.methods
