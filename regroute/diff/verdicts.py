"""When two decisions about one request are the same answer to its client, and what each is called.

Names and positions of rules do not count: a client cannot see them.
"""

from typing import NamedTuple, TypeAlias

from ..answers import Relay
from ..choose import choose, locate
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
"""What makes out a verdict: the rule's position, the registry, and whether a method is missing."""
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
        if before.status != after.status or (ours.origin, ours.terms) != (
            theirs.origin,
            theirs.terms,
        ):
            return False
        return ours.prefix == theirs.prefix or locate(ours, old.query) == locate(theirs, new.query)
    if before == after and old.allow == new.allow:
        return True
    one, other = choose(old), choose(new)
    if isinstance(one, Relay) or isinstance(other, Relay):
        return False
    return (one.status, one.fields, one.body) == (other.status, other.fields, other.body)


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
    return decision.rule.position, registry, False
