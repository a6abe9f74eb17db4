"""Where relayed requests get what they may carry of credentials, or their answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from twisted.internet.defer import Deferred

from ...answers import Answer, Refusal, Relay, refuse
from ...registry import Visitors
from ..upstream.ask import Unreachable
from .credentials import (
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
    challenge,
    contradicted,
    is_of_registry,
)
from .demand import Bearer
from .front import Front
from .grants import Denied
from .learn import Learn
from .own_tokens import OwnTokens


class Arrival(NamedTuple):
    """A request that is to be relayed; `authorization` are the values of its field lines."""

    relay: Relay
    method: str
    authorization: Sequence[bytes]
    front: Front


Admission: TypeAlias = Send | Answer


class Gate:
    """Lets requests pass, with the credentials that they go on with, by what has been learned."""

    def __init__(self, learn: Learn, own_tokens: OwnTokens) -> None:
        self._learn = learn
        self._own_tokens = own_tokens

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
            verdict = Refused(unreachable.status, unreachable.message)
        except Denied as denied:
            verdict = Refused(denied.status, f"the registry '{relay.registry}' gives no token")
        return self._conclude(arrival, verdict)

    def _conclude(self, arrival: Arrival, verdict: Verdict) -> Admission:
        if isinstance(verdict, Send):
            return verdict
        assert isinstance(verdict, Unauthorized | Welcome | Refused)
        relay, front = arrival.relay, arrival.front
        try:
            return answer(verdict, relay, front.url_for(relay.target), front.service)
        except Refusal as refusal:
            status, message = refusal.status, refusal.message
            return refuse(status, message, under_v2=True, rule=relay.rule, kind=relay.kind)

    def challenge(self, arrival: Arrival, sent: Send, authenticate: Sequence[bytes]) -> list[bytes]:
        """The ``WWW-Authenticate`` values of a registry's 401, as its client gets to see them.

        `authenticate` are the registry's, and `sent` what the request went on with. Clients that do
        what the registry says get them as they are, all others are sent to the token endpoint.
        """
        relay, front = arrival.relay, arrival.front
        if relay.to.terms.keeps_challenge or not is_of_registry(relay):
            return list(authenticate)
        self._learn.contradict(relay.to, authenticate)
        wanted = contradicted(relay, arrival.method, authenticate)
        if wanted.error == INVALID and relay.to.terms.auth is not Visitors.CLIENT:
            for each in sent.authorization:
                self._own_tokens.forget(each)
        try:
            return [challenge(front.url_for(relay.target), front.service, wanted)]
        except Refusal:
            return []
