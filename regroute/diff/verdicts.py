"""When two decisions about one request are the same answer to its client, and what each is called.

Names and positions of rules do not count: a client cannot see them.
"""

from typing import NamedTuple, TypeAlias

from ..answers import Relay
from ..choose import choose, is_relayed, locate
from ..registry import Mode
from ..rules import Decision, To


class Verdict(NamedTuple):
    """Where an answer comes from: the rule, the registry, if any, and the status."""

    rule: str | None
    registry: str | None
    status: int | None

    def __str__(self) -> str:
        place = self.rule or "no rule"
        to = f" → {self.registry}" if self.registry else ""
        return f"{place}{to} {self.status or 'relayed'}"


Source: TypeAlias = tuple[int | None, str | None, bool]
"""What makes out a verdict: the rule's position, the registry, and whether the request is relayed,
or, where there is no rule, whether a method is missing.
"""
Sources: TypeAlias = tuple[Source, Source]


class Outcome(NamedTuple):
    """What is told of an answer: where it comes from, and where it sends the client."""

    verdict: Verdict
    location: str | None


def is_same_answer(old: Decision, new: Decision) -> bool:
    """Whether two decisions about one request send its client the same bytes."""
    before, after = old.rule and old.rule.outcome, new.rule and new.rule.outcome
    if isinstance(before, To) and isinstance(after, To):
        # Most answers are redirects, and these tell themselves apart without being made.
        ours, theirs = old.candidates[0], new.candidates[0]
        if ours.origin != theirs.origin or _ways(old, before) != _ways(new, after):
            return False
        return ours.prefix == theirs.prefix or locate(ours, old.query) == locate(theirs, new.query)
    if before == after and old.allow == new.allow:
        return True
    one, other = choose(old), choose(new)
    if isinstance(one, Relay) or isinstance(other, Relay):
        return False
    return (one.status, one.fields, one.body) == (other.status, other.fields, other.body)


def _ways(decision: Decision, outcome: To) -> tuple[object, ...]:
    """How a client is sent on, as far as it can tell: first where nothing is known of the registry,
    then where it is known to ask nobody for credentials.
    """
    registry = decision.candidates[0]
    terms = registry.terms
    if terms.mode is Mode.REDIRECT:
        return outcome.status, outcome.status
    relayed = (terms.auth, terms.keeps_challenge)
    return tuple(
        relayed if is_relayed(registry, decision.query, known_open) else outcome.status
        for known_open in (frozenset[str](), frozenset({registry.origin}))
    )


def outcome_of(decision: Decision) -> Outcome:
    """What is told of the answer that a decision comes to."""
    answer = choose(decision)
    if isinstance(answer, Relay):
        return Outcome(Verdict(answer.rule, answer.registry, None), None)
    return Outcome(Verdict(answer.rule, answer.registry, answer.status), answer.location)


def source_of(decision: Decision) -> Source:
    """What tells verdicts of one rule set apart, without making an answer."""
    registry = decision.candidates[0].name if decision.candidates else None
    if decision.rule is None:
        return None, registry, bool(decision.allow)
    relayed = bool(decision.candidates) and is_relayed(decision.candidates[0], decision.query)
    return decision.rule.position, registry, relayed
