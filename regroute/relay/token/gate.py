"""Where relayed requests get what they may carry of credentials, or their answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from twisted.internet.defer import Deferred

from ...answers import Answer, Refusal, Relay, refuse
from ...registry import Account, Registry, Visitors
from ..upstream.ask import Unreachable
from .credentials import (
    INSUFFICIENT,
    INVALID,
    Ours,
    Refused,
    Send,
    Unauthorized,
    Unknown,
    Verdict,
    Welcome,
    admit,
    answer,
    basic,
    challenge,
    contradicted,
    is_of_registry,
)
from .demand import UNAUTHORIZED, Basic, Bearer, read_demand, serves_some
from .front import Front
from .grants import Denied
from .learn import Learn
from .own_tokens import FAILURE_TIME, OwnTokens, not_accepted


class Arrival(NamedTuple):
    """A request that is to be relayed; `authorization` are the values of its field lines."""

    relay: Relay
    method: str
    authorization: Sequence[bytes]
    front: Front


Admission: TypeAlias = Send | Answer


class Gate:
    """Lets requests pass, with the credentials that they go on with, by what has been learned.

    `tell` is told why a request has no answer, and of which registry's.
    """

    def __init__(
        self, learn: Learn, own_tokens: OwnTokens, tell: Callable[[Registry, Unreachable], None]
    ) -> None:
        self._learn = learn
        self._own_tokens = own_tokens
        self._tell = tell

    def admit(self, arrival: Arrival) -> Admission | Deferred[Admission]:
        """What a request goes on with, or its answer. A Deferred does not fail.

        At once where nothing has to be asked first.
        """
        relay, method, authorization, _ = arrival
        verdict = admit(relay, method, authorization, self._learn.known(relay.to))
        if isinstance(verdict, Unknown | Ours):
            return Deferred.fromCoroutine(self._admit(arrival, verdict))
        return self._conclude(arrival, verdict)

    async def _admit(self, arrival: Arrival, verdict: Verdict) -> Admission:
        relay, method, authorization, _ = arrival
        try:
            demand = await self._learn.demand(relay.to)
            verdict = admit(relay, method, authorization, demand)
            if isinstance(verdict, Ours):
                assert isinstance(demand, Bearer)
                got = self._own_tokens.authorization(relay.to, demand, verdict.scopes)
                return Send((got if isinstance(got, bytes) else await got,))
        except Unreachable as unreachable:
            self._tell(relay.to, unreachable)
            verdict = Refused(unreachable.status, unreachable.message)
        except Denied as denied:
            if serves_some(demand):
                return Send()
            verdict = Refused(denied.status, f"the registry '{relay.registry}' gives no token")
        return self._conclude(arrival, verdict)

    def _conclude(self, arrival: Arrival, verdict: Verdict) -> Admission:
        return verdict if isinstance(verdict, Send) else self._answer(arrival, verdict)

    def _answer(self, arrival: Arrival, verdict: Verdict) -> Answer:
        assert isinstance(verdict, Unauthorized | Welcome | Refused)
        relay, front = arrival.relay, arrival.front
        try:
            return answer(verdict, relay, front.url_for(relay.target), front.service)
        except Refusal as refusal:
            status, message = refusal.status, refusal.message
            return refuse(status, message, under_v2=True, rule=relay.rule, kind=relay.kind)

    def is_contradicted(self, arrival: Arrival, sent: Send, authenticate: Sequence[bytes]) -> bool:
        """Learn from a registry's 401, with these ``WWW-Authenticate`` values, to what was `sent`.

        Whether that was for us to choose, and something else would be sent by now.
        """
        relay, method, authorization, _ = arrival
        if not _is_challenged_here(relay):
            return False
        self._learn.contradict(relay.to, authenticate)
        if relay.to.terms.auth is Visitors.CLIENT:
            return False
        error = contradicted(relay, method, authenticate).error
        for each in sent.authorization if error != INSUFFICIENT else ():
            # Not all registries say that it is the token: it is asked for anew, and not at once.
            self._own_tokens.forget(each, 0.0 if error == INVALID else FAILURE_TIME)
        verdict = admit(relay, method, authorization, self._learn.known(relay.to))
        if isinstance(verdict, Ours):
            return not any(self._own_tokens.has(each) for each in sent.authorization)
        return verdict != sent

    def challenge(
        self, arrival: Arrival, sent: Send, authenticate: Sequence[bytes]
    ) -> list[bytes] | Answer:
        """The ``WWW-Authenticate`` values of a registry's 401, as its client gets to see them; or
        the answer in its place.

        `authenticate` are the registry's, and `sent` what the request went on with. Clients that do
        what the registry says get them as they are, all others are sent to the token endpoint.
        """
        relay, front = arrival.relay, arrival.front
        if not _is_challenged_here(relay):
            return list(authenticate)
        if _refuses_account(relay, sent, authenticate):
            unreachable = not_accepted(relay.to)
            self._tell(relay.to, unreachable)
            return self._answer(arrival, Refused(unreachable.status, unreachable.message))
        wanted = contradicted(relay, arrival.method, authenticate)
        try:
            return [challenge(front.url_for(relay.target), front.service, wanted)]
        except Refusal:
            return []


def _is_challenged_here(relay: Relay) -> bool:
    return not relay.to.terms.keeps_challenge and is_of_registry(relay)


def _refuses_account(relay: Relay, sent: Send, authenticate: Sequence[bytes]) -> bool:
    """Whether a registry that wants passwords does not take ours."""
    account = relay.to.terms.auth
    return (
        isinstance(account, Account)
        and sent.authorization == (basic(account),)
        and read_demand(relay.to.origin, UNAUTHORIZED, authenticate) == Basic()
    )
