"""The workers: processes that share the listening sockets and serve by the same configuration.

The parent serves nobody. It owns the sockets and lends them, so that the queue of a worker that
ends waits for the one that takes its place; it starts those that have ended anew; and it takes all
of them to a new configuration in two steps, or none.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, gatherResults
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..check import Checked
from ..config.faults import Fault, Faulty
from ..listeners import Listeners, Opened
from ..load import Origin
from ..metrics.counters import Counters, new_block
from ..server import Process, bind
from ..web.listening import Place, Sockets, place_of
from . import channel
from .launch import Launch, Link

FIRST_DELAY = 0.1
LAST_DELAY = 10.0
"""How long a worker waits for its next start that has ended soon after the last one, in seconds:
twice as long each time."""
SOON = 10.0
"""How soon an end means that something is wrong, in seconds."""
PING_TIME = 5.0
"""How far apart signs of life are asked for, in seconds."""
PATIENCE = 6
"""How many signs of life a worker may leave out: a large configuration takes its time."""
STOP_TIME = 5.0
"""How long after the drain a worker is ended that has not ended by itself, in seconds."""

_log = Logger()


@dataclass
class Slot:
    """The place of one worker, whoever has it at the moment. `number` counts from 1.

    What it counts is in a block of shared memory, with this descriptor, which outlives it.
    """

    number: int
    block: int
    counters: Counters
    link: Link | None = None
    is_serving: bool = False
    open: set[str] = field(default_factory=set)  # the origins that it knows to ask nobody
    started: float = 0.0
    starts: int = 0
    delay: float = 0.0
    silent: int = 0  # how often it has been asked for a sign of life since the last one
    retry: IDelayedCall | None = None
    ended: Deferred[None] = field(default_factory=Deferred)


class Workers(Service):
    """Serves by `count` workers, which `launch` starts; calls `ready` once all of them serve."""

    def __init__(
        self,
        checked: Checked,
        origin: Origin,
        count: int,
        listeners: Listeners,
        launch: Launch,
        ready: Callable[[], object],
        clock: IReactorTime,
    ) -> None:
        self._checked = checked
        self._origin = channel.write_origin(origin)
        self._base = origin.path.parent
        self._listeners = listeners
        self._launch = launch
        self._ready = ready
        self._clock = clock
        self._are_ready = False
        self._is_over = False
        self._next: tuple[Checked, int] | None = None
        # Who starts is not to be in between when the others change their configuration.
        self._lock = DeferredLock()
        self._signs = LoopingCall(self._look_for_life)
        self._signs.clock = clock
        self.slots = [_new_slot(number) for number in range(1, count + 1)]

    # A lifetime.

    def privilegedStartService(self) -> None:
        """Bind, while low ports are still allowed; exits with a message where that fails."""
        Service.privilegedStartService(self)
        bind(self._listeners, self._checked)

    def startService(self) -> None:
        """Start all workers."""
        Service.startService(self)
        for slot in self.slots:
            self._start(slot)
        self._signs.start(PING_TIME, now=False)

    def stopService(self) -> Deferred[None]:
        """Let every worker finish what is in flight."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        limits = self._checked.config.limits
        waiting = []
        for slot in self.slots:
            if slot.retry is not None:
                slot.retry.cancel()
            if slot.link is not None:
                waiting.append(slot.ended)
                slot.link.tell(channel.Stop).addErrback(_is_ended)
        late = limits.lame_duck + limits.drain + STOP_TIME
        timers = [
            # From then on workers close what they have: nobody is to wait where nobody accepts.
            self._clock.callLater(limits.lame_duck, self._listeners.close),
            self._clock.callLater(late, self._kill_all),
        ]
        await gatherResults(waiting)
        for timer in timers:
            if timer.active():
                timer.cancel()
        self._is_over = True
        self._signs.stop()
        self._listeners.close()
        os.close(self._origin)

    def _kill_all(self) -> None:
        for slot in self.slots:
            if slot.link is not None:
                slot.link.kill()

    # Each worker.

    def _start(self, slot: Slot) -> None:
        slot.retry = None
        slot.started = self._clock.seconds()
        slot.silent = 0
        slot.starts += 1
        # Of each worker, so that a late word of the one before it is nothing to this one.
        slot.open = set()
        learned = partial(_note_learned, slot.open)
        try:
            slot.link = self._launch(
                slot.number, slot.block, lambda why: self._end(slot, why), learned
            )
        except OSError as error:
            self._retry(slot, f"cannot be started: {error.strerror}")
            return
        slot.ended = Deferred()
        starting = self._lock.run(self._introduce, slot, slot.link)
        starting.addErrback(self._give_up, slot.link)

    async def _introduce(self, slot: Slot, link: Link) -> None:
        """Tell a new worker what the others know."""
        if slot.link is not link or not self.running:
            return
        await self._lend(link, self._checked, self._listeners.of(slot.number - 1))
        faults = await link.prepare(self._origin)
        for fault in faults:
            _log.error("worker {number}: {fault}", number=slot.number, fault=str(fault))
        if faults:
            link.kill()
            return
        await link.tell(channel.Commit)
        slot.is_serving = True
        if slot.starts > 1:
            _log.info("worker {number} serves again", number=slot.number)
        if not self._are_ready and all(each.is_serving for each in self.slots):
            self._are_ready = True
            self._ready()

    def _give_up(self, failure: Failure, link: Link) -> None:
        """End a worker that cannot be told what it needs; if it has not ended by itself."""
        _is_ended(failure)
        link.kill()

    async def _lend(self, link: Link, checked: Checked, sockets: dict[Place, Sockets]) -> None:
        for position, listener in enumerate(checked.config.listen):
            for each in sockets.get(place_of(listener, self._base), ()):
                await link.lend(position, each)

    def _end(self, slot: Slot, why: str) -> None:
        slot.link, slot.is_serving = None, False
        slot.counters.reset_gauges()
        ended, slot.ended = slot.ended, Deferred()
        ended.callback(None)
        if self.running:
            self._retry(slot, f"has ended {why}")

    def _retry(self, slot: Slot, what: str) -> None:
        was_soon = self._clock.seconds() - slot.started < SOON
        slot.delay = min(max(2 * slot.delay, FIRST_DELAY), LAST_DELAY) if was_soon else 0.0
        _log.error(
            "worker {number} {what}; it starts again in {delay:g} s",
            number=slot.number,
            what=what,
            delay=slot.delay,
        )
        slot.retry = self._clock.callLater(slot.delay, self._start, slot)

    def _look_for_life(self) -> None:
        """End workers whose reactor hangs: their queues wait for those that take their place."""
        for slot in self.slots:
            if slot.link is None:
                continue
            # Counted and not timed: the clock may be set, and the machine sleep.
            if slot.silent >= PATIENCE:
                _log.error("worker {number} hangs, and is ended", number=slot.number)
                slot.link.kill()
                continue
            slot.silent += 1
            asked = slot.link.tell(channel.Ping)
            asked.addCallbacks(lambda _, slot=slot: self._note_life(slot), _is_ended)

    def _note_life(self, slot: Slot) -> None:
        slot.silent = 0

    # What `server.Servers` are asked for.

    @property
    def blocks(self) -> Sequence[Counters]:
        """What all workers have counted."""
        return [slot.counters for slot in self.slots]

    @property
    def known_open(self) -> frozenset[str]:
        """Those that all workers know: each learns it for itself."""
        known = [slot.open for slot in self.slots if slot.is_serving]
        return frozenset(set.intersection(*known)) if known else frozenset()

    def processes(self) -> Sequence[Process]:
        """All workers."""
        return [
            Process(
                slot.number,
                None if slot.link is None else slot.link.pid,
                slot.started,
                slot.is_serving,
                max(slot.starts - 1, 0),
            )
            for slot in self.slots
        ]

    def prepare(self, checked: Checked, origin: Origin, opened: Opened) -> Deferred[None]:
        """Let all workers get ready; fails with `Faulty`, or where one has ended."""
        return Deferred.fromCoroutine(self._prepare(checked, origin, opened))

    async def _prepare(self, checked: Checked, origin: Origin, opened: Opened) -> None:
        await self._lock.acquire()
        if self._is_over:
            self._lock.release()
            message = "the daemon has stopped serving: nothing is reloaded"
            raise Faulty([checked.source.fault((), message)])
        self._next = checked, channel.write_origin(origin)
        # All of them, for what is lent must stay open until it is sent.
        faults = await gatherResults(
            [
                Deferred.fromCoroutine(self._prepare_one(slot, checked, opened))
                for slot in self.slots
            ]
        )
        if found := [fault for each in faults for fault in each]:
            raise Faulty(found)

    async def _prepare_one(self, slot: Slot, checked: Checked, opened: Opened) -> Sequence[Fault]:
        if slot.link is None or not slot.is_serving:
            return ()  # it gets the new one when it is back
        assert self._next is not None
        try:
            await self._lend(slot.link, checked, opened.of(slot.number - 1))
            return await slot.link.prepare(self._next[1])
        except Exception:
            # Perhaps because of what it was given.
            message = f"worker {slot.number} has ended while it got ready: reload again"
            return [checked.source.fault((), message)]

    def commit(self) -> None:
        """Let all workers swap."""
        assert self._next is not None
        os.close(self._origin)
        (self._checked, self._origin), self._next = self._next, None
        self._tell_all(channel.Commit)
        self._lock.release()

    def abandon(self) -> None:
        """Let all workers go on as before."""
        if self._next is not None:
            os.close(self._next[1])
            self._next = None
            self._tell_all(channel.Abandon)
            self._lock.release()

    def reopen(self) -> None:
        """Let all workers go on in the files that have the logs' names now."""
        self._tell_all(channel.Reopen)

    def _tell_all(self, command: Any) -> None:
        for slot in self.slots:
            if slot.link is not None and slot.is_serving:
                slot.link.tell(command).addErrback(_is_ended)


def _new_slot(number: int) -> Slot:
    block = new_block()
    return Slot(number, block, Counters.shared(block))


def _note_learned(found: set[str], origin: str, is_open: bool) -> None:
    if is_open:
        found.add(origin)
    else:
        found.discard(origin)


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def _is_ended(failure: Failure) -> None:
    """That a worker has ended is told by its process; anything else is a fault of ours."""
    if failure.check(ConnectionDone, ConnectionLost) is None:
        _log.failure("a worker does not do what it is told", failure)
