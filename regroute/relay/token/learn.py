"""What each registry asks of those who come to it, learned by asking it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...origins import normal_origin
from ...registry import Mode, Registry
from ..upstream.ask import Ask, Question, Unreachable
from .demand import UNAUTHORIZED, Basic, Bearer, Demand, Open, Unusable, read_demand
from .grants import USER_AGENT
from .shared import Shared

FRESH_TIME = 300.0
"""How long what has been learned is not asked again, in seconds."""
FAILURE_TIME = 5.0
"""How long a registry that has not answered, or with nothing of use, is left alone, in seconds."""
CONTRADICTION_TIME = 3600.0
"""How long a registry that has asked someone for credentials does not count as open again, whatever
its API check says, in seconds: some ask for them at some repositories only."""
LOOK_TIME = 60.0
"""How often it is looked who is to be asked again without an occasion, in seconds."""

_FIELDS = ((b"user-agent", USER_AGENT),)

_log = Logger()


@dataclass(frozen=True)
class _Learned:
    """What a registry asks for; `fresh_until` and `closed_until` are in seconds of the clock."""

    demand: Demand
    learned_at: float
    fresh_until: float
    closed_until: float = 0.0


@dataclass(frozen=True)
class _Failed:
    unreachable: Unreachable
    until: float


class Learn(Service):
    """What each registry asks for, remembered.

    What is no longer fresh goes on to count while it is asked anew: where it is wrong by then, the
    registry itself says so (`contradict`). `tell_open` is called when the origins that are known to
    ask nobody change, with all of them: those of the registries with `Mode.AUTO`.
    """

    def __init__(
        self, ask: Ask, clock: IReactorTime, tell_open: Callable[[frozenset[str]], object]
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._tell_open = tell_open
        self._registries: tuple[Registry, ...] = ()
        self._learned: dict[str, _Learned] = {}
        self._failed: dict[str, _Failed] = {}
        self._asking: Shared[str, Demand] = Shared()
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self.open: frozenset[str] = frozenset()
        """The origins that are known to ask nobody."""

    def startService(self) -> None:
        """Ask those that redirects depend on, now and again and again."""
        Service.startService(self)
        self._looking.start(LOOK_TIME)

    def stopService(self) -> None:
        """Ask no more."""
        Service.stopService(self)
        if self._looking.running:
            self._looking.stop()
        self._asking.stop()

    def follow(self, registries: Iterable[Registry]) -> None:
        """Go by these registries from now on, and forget all others."""
        self._registries = tuple(registries)
        origins = {normal_origin(registry.origin) for registry in self._registries}
        self._learned = {key: self._learned[key] for key in self._learned if key in origins}
        self._failed = {key: self._failed[key] for key in self._failed if key in origins}
        self._tell()
        if self.running:
            self._look()

    def known(self, registry: Registry) -> Demand | None:
        """What a registry asks for, if that is known."""
        learned = self._learned.get(normal_origin(registry.origin))
        if learned is None:
            return None
        if learned.fresh_until <= self._clock.seconds():
            self._refresh(registry)
        return learned.demand

    def demand(self, registry: Registry) -> Deferred[Demand]:
        """What a registry asks for; fails with `Unreachable`."""
        demand = self.known(registry)
        if demand is not None:
            return succeed(demand)
        failed = self._failed.get(normal_origin(registry.origin))
        if failed is not None and failed.until > self._clock.seconds():
            return fail(failed.unreachable)
        return self._learn(registry)

    def contradict(self, registry: Registry, authenticate: Sequence[bytes]) -> None:
        """A registry has answered 401, with these challenges, to what came as it wants."""
        origin, now = normal_origin(registry.origin), self._clock.seconds()
        learned = self._learned.get(origin)
        if learned is None:
            return
        demand = read_demand(origin, UNAUTHORIZED, authenticate)
        if not isinstance(demand, Bearer | Basic):
            return
        of_some = replace(demand, asks_all=False)
        if isinstance(learned.demand, Open):
            until = now + CONTRADICTION_TIME
            self._remember(registry, _Learned(of_some, now, now + FRESH_TIME, until))
        elif learned.demand not in (demand, of_some) and learned.learned_at + FAILURE_TIME <= now:
            # It asks for something else by now, or here: the API check tells which.
            self._refresh(registry)

    def _look(self) -> None:
        soon = self._clock.seconds() + LOOK_TIME
        for registry in self._registries:
            learned = self._learned.get(normal_origin(registry.origin))
            if registry.terms.mode is Mode.AUTO and (not learned or learned.fresh_until <= soon):
                self._refresh(registry)

    def _refresh(self, registry: Registry) -> None:
        """Ask again, for nobody in particular; who has not answered just now is left alone."""
        failed = self._failed.get(normal_origin(registry.origin))
        if failed is None or failed.until <= self._clock.seconds():
            self._learn(registry).addErrback(_ignore)

    def _learn(self, registry: Registry) -> Deferred[Demand]:
        return self._asking.get(
            normal_origin(registry.origin),
            lambda: Deferred.fromCoroutine(self._question(registry)),
        )

    async def _question(self, registry: Registry) -> Demand:
        origin = normal_origin(registry.origin)
        try:
            reply = await self._ask(Question(registry, origin, b"GET", b"/v2/", _FIELDS))
            demand = read_demand(origin, reply.status, reply.lines(b"www-authenticate"))
            if demand is None:
                raise Unreachable(
                    502, f"the registry '{registry.name}' answers its API check with {reply.status}"
                )
        except Unreachable as unreachable:
            until = self._clock.seconds() + FAILURE_TIME
            self._failed[origin] = _Failed(unreachable, until)
            raise
        return self._conclude(registry, demand)

    def _conclude(self, registry: Registry, demand: Demand) -> Demand:
        before, now = self._learned.get(normal_origin(registry.origin)), self._clock.seconds()
        closed_until = before.closed_until if before else 0.0
        if before is not None and isinstance(demand, Open) and closed_until > now:
            demand = before.demand
        fresh_time = FRESH_TIME
        if isinstance(demand, Unusable):
            # Nobody gets anything there, so it is as one that does not answer.
            fresh_time = FAILURE_TIME
            if before is None or before.demand != demand:
                _log.warn("the registry '{name}' {why}", name=registry.name, why=demand.why)
        self._remember(registry, _Learned(demand, now, now + fresh_time, closed_until))
        return demand

    def _remember(self, registry: Registry, learned: _Learned) -> None:
        origin = normal_origin(registry.origin)
        self._failed.pop(origin, None)
        self._learned[origin] = learned
        self._tell()

    def _tell(self) -> None:
        found = frozenset(
            registry.origin
            for registry in self._registries
            if registry.terms.mode is Mode.AUTO
            and (learned := self._learned.get(normal_origin(registry.origin)))
            and learned.demand == Open(is_certain=True)
        )
        if found != self.open:
            self.open = found
            self._tell_open(found)


def _ignore(failure: Failure) -> None:
    """Nobody waits for what is asked in the background; it is asked again in time."""
    failure.trap(Unreachable, CancelledError)
