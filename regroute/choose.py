"""From a decision to its answer: which candidate is taken, and where that sends the client."""

from .answers import Answer, Reason, api_ok, escaped, redirect, refuse
from .query import Query
from .rules import Decision, Deny, Fixed, Ok, Registry, To


def choose(decision: Decision) -> Answer:
    """The answer that a decision comes to."""
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


def locate(registry: Registry, query: Query) -> str:
    """The request's path and query at a registry.

    Scheme and host are the registry's alone: its origin ends where the path's first ``/`` begins.
    On a repository path the prefix goes after ``/v2/``, unless the repository is under it already,
    as it is where a client follows the registry's own ``Link`` to the next page of tags.
    """
    sent = query.target.sent
    repository = query.repository
    if registry.prefix and repository and not repository.startswith(registry.prefix + "/"):
        v2, rest = sent[1:].split(b"/", 1)
        sent = b"/%s/%s/%s" % (v2, registry.prefix.encode("ascii"), rest)
    return registry.origin + escaped(sent)
