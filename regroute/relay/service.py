"""All that relays, in one process: who answers which request, by the configuration in force."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.http import datetimeToString

from ..answers import Answer, Reason, Refusal, Relay, refuse
from ..clients import peer_address
from ..logs.access_log import entry_of
from ..registry import Mode
from ..respond import Response, registry_of, respond, respond_for, said_by
from ..target import ABSOLUTE, is_under_v2, visible_path, without_authority
from ..web import wire
from .awaited import Awaited
from .forward import Forward
from .plan import Plan, Plans
from .token.credentials import Send
from .token.endpoint import Caller, Endpoint
from .token.front import Front, Names, token_path
from .token.gate import Gate
from .token.learn import Learn
from .token.own_tokens import OwnTokens
from .troubles import Troubles
from .upstream.pool import Pool
from .upstream.questions import Questions
from .upstream.request import forwarded_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IHostnameResolver, IReactorTime
    from twisted.python.failure import Failure

    from ..answers import Fields
    from ..check import Checked
    from ..logs.access_log import Again, Entry
    from ..metrics.events import Count
    from ..networks.spans import Address
    from ..rules import RuleSet
    from ..web.exchange import Asking, Exchange
    from ..web.strict import Head
    from ..web.transport import Poller
    from .upstream.ask import Unreachable
    from .upstream.response import ResponseHead

SWEEP_TIME = 0.1
"""How far apart late answers are looked for, in seconds."""

_log = Logger()


class Relaying(Service):
    """Answers what is to be relayed; `rules` are those in force when they are asked for.

    `tell_open` is told the origins of the registries that are known to ask nobody for credentials,
    whenever these change.
    """

    def __init__(
        self,
        rules: Callable[[], RuleSet],
        tell_open: Callable[[frozenset[str]], object],
        resolver: IHostnameResolver,
        poller: Poller,
        clock: IReactorTime,
        count: Count,
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._pool = Pool(resolver, poller, clock, count)
        self._troubles = Troubles(count, clock)
        ask = Questions(self._pool, clock).ask
        self._learn = Learn(ask, clock, tell_open)
        self._own_tokens = OwnTokens(ask, clock)
        tell = self._troubles.tell
        self._endpoint = Endpoint(ask, self._learn, tell)
        self._gate = Gate(self._learn, self._own_tokens, tell)
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = clock
        self._realm: str | None = None
        self._token_path = token_path(None)
        self._login: Sequence[str] = ()
        self._names = Names(())
        self._planned_by: RuleSet | None = None
        self._plans = Plans()
        self._recalled: Plan | None = None  # of the head that is about to be answered

    def apply(self, checked: Checked) -> None:
        """Go by this configuration from now on."""
        token = checked.config.token
        self._realm, self._token_path, self._login = (
            token.realm,
            token_path(token.realm),
            token.login,
        )
        self._names = Names.of(each for listener in checked.certificates for each in listener)
        self._troubles.forget()
        self._learn.follow(
            registry
            for registry in checked.rules.registries
            if registry.terms.mode is not Mode.REDIRECT
        )

    def startService(self) -> None:
        """Begin to look for what is late."""
        Service.startService(self)
        self._sweeping.start(SWEEP_TIME, now=False)
        self._learn.startService()

    def stopService(self) -> None:
        """End all connections to registries."""
        Service.stopService(self)
        if self._sweeping.running:
            self._sweeping.stop()
        self._learn.stopService()
        self._own_tokens.stop()
        self._pool.close()

    def _sweep(self) -> None:
        try:
            self._pool.sweep()
        except Exception:
            # One request's fault must not let all others wait for ever.
            _log.failure("a late answer could not be ended")

    # Who answers what.

    def recall(self, peer: str | None, is_secure: bool, raw: bytes) -> Head | None:
        """The head of a request that has come before, from the same client."""
        rules = self._rules()
        if rules is not self._planned_by:
            self._planned_by = rules
            self._plans = Plans()
        plan = self._recalled = self._plans.of((peer, is_secure)).get(raw)
        return None if plan is None else plan.head

    def exchange(self, head: Head, raw: bytes, peer: str | None, client: Asking) -> Exchange | None:
        """Who answers a request over time; None where it is answered at once."""
        plan, self._recalled = self._recalled, None
        if plan is None or plan.head is not head:
            rules = self._rules()
            if not rules.relays:
                return None
            if self.is_own(head.target):
                return self._give_token(rules, head, peer, client)
            response = respond(rules, peer, head.method, head.target, head.lines)
            if not isinstance(response.answer, Relay):
                return None
            plan = self._plan(rules, head, response, response.answer, peer, client.is_secure)
            self._plans.keep((peer, client.is_secure), raw, plan)
        return Forward(plan, client, self._pool, self)

    def is_own(self, target: bytes) -> bool:
        """Whether a target is the token endpoint, whatever the rules say of it."""
        return (
            self._rules().challenges and visible_path(without_authority(target)) == self._token_path
        )

    def _give_token(
        self, rules: RuleSet, head: Head, peer: str | None, client: Asking
    ) -> Exchange | None:
        """Who answers a request to the token endpoint."""
        try:
            address = rules.clients.address(peer, head.lines)
        except Refusal:
            # Whose request it is cannot be told, and the rules have an answer to that.
            return None
        method = head.method.decode("ascii")

        def ask(body: bytes) -> Deferred[Answer]:
            caller = Caller(address, method, head.target, head.lines, body)
            return self._endpoint.answer(self._rules(), self._login, caller)

        def give(answer: Answer, began: float) -> None:
            self._give(head, Response(answer, address), answer, client, began)

        return Awaited(ask, give)

    def _plan(
        self,
        rules: RuleSet,
        head: Head,
        response: Response,
        relay: Relay,
        peer: str | None,
        is_secure: bool,
    ) -> Plan:
        front = self._front(rules, head, peer, is_secure)
        forwarded = (
            forwarded_of(response.client, front.host, front.scheme)
            if relay.to.terms.forwarded
            else None
        )
        is_there = partial(self._is_at, relay, rules, response, head)
        return Plan(head, response, relay, front, forwarded, is_there)

    def _front(self, rules: RuleSet, head: Head, peer: str | None, is_secure: bool) -> Front:
        """How a client sees us; what its scheme is, a proxy of ours may say."""
        protos = head.lines(b"x-forwarded-proto")
        is_believed = peer is None or rules.clients.trusts(peer_address(peer))
        proto = protos[0] if len(protos) == 1 and is_believed else None
        absolute = ABSOLUTE.fullmatch(head.target)
        # RFC 9112 §3.2.2: the authority of an absolute-form target takes the place of Host.
        host = absolute["authority"] if absolute else next(iter(head.lines(b"host")), b"")
        return Front(self._realm, self._names if is_secure else None, host, proto)

    def _is_at(
        self, relay: Relay, rules: RuleSet, response: Response, head: Head, repository: str
    ) -> bool:
        """Whether a repository, by its name here, is at the registry of a relay."""
        assert response.client is not None
        found = registry_of(rules, response.client, repository, *said_by(head.lines))
        return found == relay.registry

    # What a forward asks for.

    def clear(self, forward: Forward) -> None:
        """Say what a request may carry, now or later."""
        plan = forward.plan
        verdict = plan.judge(self._learn.known(plan.relay.to))
        if isinstance(verdict, Send):
            forward.go(verdict)
            return
        admission = self._gate.admit(plan.arrival)
        if isinstance(admission, Deferred):
            admission.addCallback(partial(self._admitted, forward))
            admission.addErrback(partial(self._fail, forward))
        else:
            self._admitted(forward, admission)

    def _admitted(self, forward: Forward, admission: Send | Answer) -> None:
        plan = forward.plan
        if plan.relay.to.terms.mode is Mode.AUTO and plan.relay.to.origin in self._learn.open:
            # It has just been learned that a redirect is enough.
            again = self._again(plan)
            if isinstance(again, Answer):
                forward.answer(again)
                return
        if isinstance(admission, Send):
            forward.go(admission)
        else:
            forward.answer(admission)

    def _fail(self, forward: Forward, failure: Failure) -> None:
        """A fault of ours: nobody else would ever answer."""
        head, relay = forward.plan.head, forward.plan.relay
        # The target alone: fields may hold credentials.
        _log.failure(
            "no relay of {method} {target}", failure, method=head.method, target=head.target
        )
        under_v2 = is_under_v2(relay.target)
        forward.answer(refuse(500, "internal error", under_v2=under_v2, reason=Reason.INTERNAL))

    def _again(self, plan: Plan) -> Answer | Relay:
        """What a request comes to by what is known by now."""
        head, client = plan.head, plan.response.client
        assert client is not None
        return respond_for(self._rules(), client, head.method, head.target, head.lines)

    def is_contradicted(self, forward: Forward, head: ResponseHead) -> bool:
        """Whether what a request carried was ours, and it would carry something else by now."""
        authenticate = head.lines(b"www-authenticate")
        return self._gate.is_contradicted(forward.plan.arrival, forward.sent, authenticate)

    def challenge(self, forward: Forward, head: ResponseHead) -> Fields | Answer | None:
        """The fields of a 401 that sends the client to the token endpoint here, or an answer."""
        authenticate = head.lines(b"www-authenticate")
        told = self._gate.challenge(forward.plan.arrival, forward.sent, authenticate)
        if isinstance(told, Answer):
            return told
        if told == authenticate:
            return None
        kept = (field for field in head.end_to_end if field[0].lower() != b"www-authenticate")
        return (*kept, *((b"WWW-Authenticate", each) for each in told))

    def give(self, forward: Forward, answer: Answer) -> None:
        """Give a client an answer of our own."""
        plan = forward.plan
        response = Response(answer, plan.response.client)
        self._give(plan.head, response, answer, forward.client, forward.began)

    def _give(
        self, head: Head, response: Response, answer: Answer, client: Asking, began: float
    ) -> None:
        if client.is_recording:
            self._record(client.remember(_entry(head, response)), response.client, began)
        persists = client.may_persist
        fields = wire.answer_fields(answer, datetimeToString(self._clock.seconds()))
        body = b"" if head.method == b"HEAD" else answer.body
        client.send(wire.render_head(answer.status, fields, close=not persists) + body)
        client.finish(persists=persists)

    def record(self, forward: Forward, status: int) -> None:
        """Record a registry's answer, as far as it has been sent."""
        client, plan = forward.client, forward.plan
        if not client.is_recording:
            return
        shown = (status, forward.location, forward.size)
        if shown != plan.shown:
            entry = _entry(plan.head, plan.response)
            entry = entry._replace(status=status, location=shown[1], size=shown[2])
            plan.shown, plan.again = shown, client.remember(entry)
        self._record(plan.again, plan.response.client, forward.began)

    def trouble(self, forward: Forward, why: Unreachable) -> None:
        """Tell of an answer that has not come, or not to its end."""
        self._troubles.tell(forward.plan.relay.to, why)

    def _record(self, again: Again, client: Address | None, began: float) -> None:
        again(self._clock.seconds(), client, int((perf_counter() - began) * 1e6))


def _entry(head: Head, response: Response) -> Entry:
    return entry_of(response, head.method, head.target, head.lines, head.version)
