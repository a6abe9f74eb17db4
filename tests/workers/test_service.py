"""The parent of the workers: who is started when, and how all of them change together."""

import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.protocols.amp import Command

from regroute.config.faults import Fault, Faulty
from regroute.listeners import Listeners, Opened
from regroute.load import Origin, load_from
from regroute.workers import channel
from regroute.workers.launch import Learned, Link
from regroute.workers.service import (
    FIRST_DELAY,
    LAST_DELAY,
    PATIENCE,
    PING_TIME,
    SOON,
    STOP_TIME,
    Workers,
)

from ..logs.press import said
from ..making import checked
from ..ports import free_port

FAULT = Fault("rules.yaml", 3, 1, "the disk is full")


class Double:
    """A worker that does at once what it is told, or when it is let."""

    def __init__(self, number: int, ended: Callable[[str], None], learned: Learned) -> None:
        self.number = number
        self.learned = learned
        self.pid = 100 + number
        self.told: list[str] = []
        self.faults: Sequence[Fault] = ()
        self.is_slow = False
        self.waiting: list[Deferred[Any]] = []
        self._ended = ended

    def _do(self, what: str, answer: object = None) -> Deferred[Any]:
        self.told.append(what)
        done: Deferred[Any] = Deferred()
        if self.is_slow:
            self.waiting.append(done)
        else:
            done.callback(answer)
        return done

    def lend(self, position: int, each: socket.socket) -> Deferred[Any]:
        return self._do(f"lend {position}")

    def prepare(self, origin: int) -> Deferred[Sequence[Fault]]:
        rules = load_from(channel.read_origin(origin)).rules.rules
        return self._do(f"prepare {rules[0].name}", self.faults)

    def tell(self, command: type[Command]) -> Deferred[Any]:
        return self._do(command.__name__.lower())

    def kill(self) -> None:
        self.told.append("kill")
        self.end("by signal 9")

    def end(self, why: str = "with status 1") -> None:
        """End, whatever it is doing."""
        waiting, self.waiting = self.waiting, []
        for asked in waiting:
            asked.errback(ConnectionLost())
        self._ended(why)


class Bed:
    """Two workers, or more, with the rules in `directory`."""

    def __init__(self, directory: Path, count: int = 2) -> None:
        self.clock = Clock()
        self.launched: list[Double] = []
        self.faults: Sequence[Fault] = ()
        self.is_slow = False
        self.ready = 0
        self.cannot_launch = False
        self._file = directory / "rules.yaml"
        self._listen = f"listen: [{{port: {free_port()}, host: 127.0.0.1}}]\n"
        self._listen += "limits: {drain: 2s, lame_duck: 1s}\n"
        self.listeners = Listeners({}, directory, count)
        origin = self.origin("one")
        self.workers = Workers(
            load_from(origin), origin, count, self.listeners, self._launch, self._note, self.clock
        )
        self.workers.privilegedStartService()

    def _launch(
        self, number: int, block: int, ended: Callable[[str], None], learned: Learned
    ) -> Link:
        if self.cannot_launch:
            raise OSError(11, "Resource temporarily unavailable")
        double = Double(number, ended, learned)
        double.faults, double.is_slow = self.faults, self.is_slow
        self.launched.append(double)
        return double

    def _note(self) -> None:
        self.ready += 1

    def origin(self, rule: str) -> Origin:
        """A configuration with a rule of this name."""
        self._file.write_text(f"{self._listen}rules: [{{name: {rule}, to: https://a.example}}]")
        return Origin.on_disk(self._file, "rules.yaml")

    def start(self) -> "Bed":
        self.workers.startService()
        return self

    def prepare(self, rule: str) -> Deferred[None]:
        origin = self.origin(rule)
        after = load_from(origin)
        return self.workers.prepare(after, origin, self.listeners.open(after))

    def stop(self) -> None:
        if not self.workers.running:
            self.listeners.close()
            return
        self.workers.stopService()
        for double in self.launched:
            if self.workers.slots[double.number - 1].link is double:
                double.end("with status 0")


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    bed = Bed(tmp_path)
    yield bed
    bed.stop()
    assert bed.clock.getDelayedCalls() == []


def fault_of(prepared: Deferred[None]) -> str:
    """The faults that a preparation failed with."""
    failures: list[str] = []
    prepared.addErrback(
        lambda failure: failures.append(str(failure.check(Faulty) and failure.value))
    )
    (faults,) = failures
    return faults


def test_a_new_worker_is_lent_its_sockets_and_serves_by_what_is_in_force(bed: Bed) -> None:
    bed.start()
    assert [double.told for double in bed.launched] == [["lend 0", "prepare one", "commit"]] * 2


def test_the_start_is_over_when_the_last_worker_serves(bed: Bed) -> None:
    bed.is_slow = True
    bed.start()
    first, second = bed.launched
    for double in (first, second):
        for _ in range(3):
            assert bed.ready == 0
            double.waiting.pop(0).callback(())
    assert bed.ready == 1


def test_a_worker_that_has_ended_is_started_again_at_once(bed: Bed) -> None:
    bed.start()
    bed.clock.advance(SOON)
    with capturedLogs() as logs:
        bed.launched[1].end("by signal 9")
        bed.clock.advance(0)
    assert said(logs)[0] == "worker 2 has ended by signal 9; it starts again in 0 s"
    assert [double.number for double in bed.launched] == [1, 2, 2]
    assert bed.launched[2].told == ["lend 0", "prepare one", "commit"]
    assert bed.ready == 1


def test_a_worker_that_ends_again_and_again_waits_longer_and_longer(bed: Bed) -> None:
    bed.start()
    delay = FIRST_DELAY
    for _ in range(12):
        bed.launched[-1].end()
        assert bed.workers.slots[1].delay == pytest.approx(min(delay, LAST_DELAY))
        bed.clock.advance(bed.workers.slots[1].delay)
        delay *= 2
    bed.clock.advance(SOON)
    bed.launched[-1].end()
    assert bed.workers.slots[1].delay == 0
    bed.clock.advance(0)


def test_a_worker_that_cannot_be_started_is_tried_again(bed: Bed) -> None:
    bed.start()
    bed.cannot_launch = True
    bed.launched[0].end()
    bed.clock.advance(FIRST_DELAY)
    bed.cannot_launch = False
    bed.clock.advance(2 * FIRST_DELAY)
    assert [double.number for double in bed.launched] == [1, 2, 1]


def test_a_worker_that_cannot_serve_says_why_and_is_tried_again(bed: Bed) -> None:
    bed.faults = [FAULT]
    with capturedLogs() as logs:
        bed.start()
    assert f"worker 1: {FAULT}" in said(logs)
    assert bed.launched[0].told[-1] == "kill"
    assert bed.ready == 0
    bed.faults = []
    bed.clock.advance(FIRST_DELAY)
    assert bed.ready == 1


def test_a_reload_swaps_when_all_workers_are_ready_for_it(bed: Bed) -> None:
    bed.start()
    for double in bed.launched:
        double.is_slow = True
    prepared = bed.prepare("two")
    first, second = bed.launched
    first.waiting.pop().callback(())
    assert not prepared.called
    second.waiting.pop().callback(())
    assert prepared.called
    assert [double.told[3:] for double in bed.launched] == [["prepare two"]] * 2
    bed.workers.commit()
    assert [double.told[-1] for double in bed.launched] == ["commit"] * 2


def test_a_fault_of_one_worker_leaves_all_as_they_were(bed: Bed) -> None:
    bed.start()
    bed.launched[1].faults = [FAULT]
    assert fault_of(bed.prepare("two")) == str(FAULT)
    bed.workers.abandon()
    for double in bed.launched:
        assert double.told[3:] == ["prepare two", "abandon"]
    bed.launched[0].end()
    bed.clock.advance(FIRST_DELAY)
    assert bed.launched[2].told == ["lend 0", "prepare one", "commit"]


def test_a_worker_that_ends_while_it_gets_ready_is_a_fault(bed: Bed) -> None:
    bed.start()
    bed.launched[0].is_slow = True
    prepared = bed.prepare("two")
    bed.launched[0].end()
    assert "worker 1 has ended while it got ready" in fault_of(prepared)
    bed.workers.abandon()


def test_a_worker_that_starts_during_a_reload_gets_what_comes_of_it(bed: Bed) -> None:
    bed.start()
    bed.launched[0].is_slow = True
    bed.prepare("two")
    bed.launched[1].end()
    bed.clock.advance(FIRST_DELAY)
    new = bed.launched[2]
    assert new.told == []
    bed.launched[0].waiting.pop().callback(())
    bed.workers.commit()
    assert new.told == ["lend 0", "prepare two", "commit"]


def test_files_that_changed_after_a_start_do_not_reach_a_new_worker(bed: Bed) -> None:
    bed.start()
    bed.origin("changed")
    bed.launched[0].end()
    bed.clock.advance(FIRST_DELAY)
    assert "prepare one" in bed.launched[2].told


def test_a_worker_that_gives_no_sign_of_life_is_ended(bed: Bed) -> None:
    bed.start()
    hung, healthy = bed.launched
    hung.is_slow = True
    for _ in range(PATIENCE):
        bed.clock.advance(PING_TIME)
    assert "kill" not in hung.told
    bed.clock.advance(PING_TIME)
    assert hung.told[-1] == "kill"
    assert "kill" not in healthy.told
    bed.clock.advance(0)
    assert bed.launched[2].number == hung.number


def test_a_stop_waits_for_every_worker_and_starts_none(bed: Bed) -> None:
    bed.start()
    stopped = bed.workers.stopService()
    assert [double.told[-1] for double in bed.launched] == ["stop"] * 2
    bed.launched[0].end("with status 0")
    assert not stopped.called
    bed.launched[1].end("with status 0")
    assert stopped.called
    assert len(bed.launched) == 2


def test_a_stop_leaves_no_socket_open_at_which_nobody_accepts(bed: Bed) -> None:
    bed.start()
    (address,) = {each.getsockname() for (each,) in bed.listeners.of(0).values()}
    bed.workers.stopService()
    socket.create_connection(address).close()
    bed.clock.advance(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    for double in bed.launched:
        double.end("with status 0")


def test_a_worker_that_does_not_stop_is_ended(tmp_path: Path) -> None:
    bed = Bed(tmp_path).start()
    stopped = bed.workers.stopService()
    bed.clock.advance(1 + 2 + STOP_TIME)
    assert [double.told[-1] for double in bed.launched] == ["kill"] * 2
    assert stopped.called


def test_a_clock_that_is_set_ends_nobody(bed: Bed) -> None:
    bed.start()
    bed.clock.advance(3600)
    bed.clock.advance(3600)
    assert all("kill" not in double.told for double in bed.launched)


def test_a_fault_of_ours_in_telling_a_worker_is_logged_and_it_starts_anew(bed: Bed) -> None:
    bed.is_slow = True
    with capturedLogs() as logs:
        bed.start()
        bed.launched[0].waiting.pop().errback(ValueError("odd"))
    assert "a worker does not do what it is told" in said(logs)
    assert bed.launched[0].told[-1] == "kill"
    for _ in range(3):
        bed.launched[1].waiting.pop(0).callback(())
    bed.is_slow = False
    bed.clock.advance(FIRST_DELAY)
    assert bed.ready == 1


def test_nothing_is_reloaded_once_the_workers_have_stopped(bed: Bed) -> None:
    bed.start()
    bed.workers.stopService()
    for double in bed.launched:
        double.end("with status 0")
    origin = bed.origin("two")
    prepared = bed.workers.prepare(load_from(origin), origin, Opened())
    assert "has stopped serving" in fault_of(prepared)
    bed.workers.abandon()
    assert [double.told[-1] for double in bed.launched] == ["stop"] * 2


def test_each_worker_has_a_socket_of_its_own_for_a_port(bed: Bed) -> None:
    ((one,),), ((two,),) = (bed.listeners.of(server).values() for server in (0, 1))
    assert one is not two
    assert one.getsockname() == two.getsockname()


def test_a_port_that_another_program_shares_is_taken_all_the_same() -> None:
    port = free_port()
    listeners = Listeners({}, Path("/"), 2)
    with socket.create_server(("127.0.0.1", port)) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        text = f"listen: [{{port: {port}}}]\nrules: [{{to: https://a.example}}]"
        with pytest.raises(Faulty, match="Address already in use"):
            listeners.open(checked(text))


def test_a_registry_is_known_to_be_open_if_all_workers_know_it(bed: Bed) -> None:
    bed.start()
    one, two = bed.launched
    one.learned("https://a.example", True)
    assert bed.workers.known_open == frozenset()
    two.learned("https://a.example", True)
    two.learned("https://b.example", True)
    assert bed.workers.known_open == {"https://a.example"}
    one.learned("https://a.example", False)
    assert bed.workers.known_open == frozenset()


def test_a_new_worker_knows_nothing_of_what_the_one_before_it_knew(bed: Bed) -> None:
    """Whatever that still says, for its last words may come after its end."""
    bed.start()
    one, two = bed.launched
    for each in (one, two):
        each.learned("https://a.example", True)
    one.end()
    assert bed.workers.known_open == {"https://a.example"}, "those that serve know it"
    bed.clock.advance(FIRST_DELAY)
    assert len(bed.launched) == 3
    one.learned("https://a.example", True)
    assert bed.workers.known_open == frozenset()
    two.end()
    bed.launched[2].end()
    assert bed.workers.known_open == frozenset(), "nobody serves"
