"""From a decision to its answer: which candidate is taken, and where that sends the client."""

from collections.abc import Set

from .answers import Answer, Reason, Relay, api_ok, escaped, redirect, refuse
from .oci import Kind
from .query import Query
from .registry import Account, Mode, Registry
from .rules import Decision, Deny, Fixed, Ok, To

_NONE: Set[str] = frozenset()


def choose(decision: Decision, known_open: Set[str] = _NONE) -> Answer | Relay:
    """The answer that a decision comes to, or the relay to who has it.

    `known_open` are the origins of registries that are known to ask nobody for credentials.
    """
    query, rule = decision.query, decision.rule
    under_v2, kind = query.target.under_v2, query.asked.kind
    if rule is None:
        status, message, reason = 404, "no rule serves this request", Reason.NO_RULE
        if decision.allow:
            status, message, reason = 405, "this method is not served here", Reason.METHOD
        allow = decision.allow
        return refuse(status, message, under_v2=under_v2, allow=allow, kind=kind, reason=reason)
    match rule.outcome:
        case To(status=status):
            registry = decision.candidates[0]
            if is_relayed(registry, query, known_open):
                if query.target.may_be_misread:
                    # A redirect lets clients ask for what they could ask for anyway.
                    return refuse(
                        400,
                        "a registry may read this path in another way: it must not have // or ; "
                        "where that makes it one under /v2",
                        under_v2=under_v2,
                        kind=kind,
                        reason=Reason.PATH,
                    )
                target = target_at(registry, query.target.asked, query.repository)
                return Relay(registry, target, rule.name, query.asked.kind, query.repository)
            location = locate(registry, query)
            return redirect(location, status, rule=rule.name, registry=registry.name, kind=kind)
        case Fixed(location=location, status=status):
            return redirect(location, status, rule=rule.name, kind=kind)
        case Deny(message=message, status=status):
            allow = decision.allow
            return refuse(
                status, message, under_v2=under_v2, allow=allow, rule=rule.name, kind=kind
            )
        case Ok():
            return api_ok(under_v2=under_v2, rule=rule.name, kind=kind)


def is_relayed(registry: Registry, query: Query, known_open: Set[str] = _NONE) -> bool:
    """Whether a request that is sent on to a registry is relayed, or else redirected."""
    terms = registry.terms
    if terms.mode is Mode.REDIRECT:
        return False
    if query.method not in ("GET", "HEAD"):
        # A redirect that changes no method is followed by few.
        return True
    if terms.redirects_blobs and query.asked.kind is Kind.BLOBS:
        return False
    if terms.mode is Mode.RELAY:
        return True
    if registry.origin in known_open:
        return False
    # Whoever needs credentials there has none where they are ours.
    follows = any(pattern.matches(query.user_agent) for pattern in terms.redirected)
    return isinstance(terms.auth, Account) or not follows


def locate(registry: Registry, query: Query) -> str:
    """The request's path and query at a registry.

    Scheme and host are the registry's alone: its origin ends where the path's first ``/`` begins.
    """
    return registry.origin + target_at(registry, query.target.sent, query.repository)


def target_at(registry: Registry, sent: bytes, repository: str | None) -> str:
    """The path and query there, of those that a client sends.

    On the path of a repository the prefix goes after ``/v2/``.
    """
    if repository and registry.repository(repository) != repository:
        v2, rest = sent[1:].split(b"/", 1)
        sent = b"/%s/%s/%s" % (v2, registry.prefix.encode("ascii"), rest)
    return escaped(sent)
