"""Relayed requests in the life of a daemon: reloads, stops, workers, and beside redirects."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from ..ports import free_port
from ..relay.upstream.loops import BlackHole
from .daemon import PATIENCE, Daemon, eventually
from .registries import MIB, Registry, Visit, echo, registry, stream
from .relays import ELSEWHERE, configuration, relaying
from .talk import answered, hang_up, nobody_fails, over, read_to_the_end, reload
from .test_workers import workers_of

PATH = "/v2/r/manifests/1"
GET = b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % PATH.encode()
SIZE = MIB


class Gate:
    """A registry whose answers come in two halves, the second one when it is let go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.is_left = threading.Event()

    def __call__(self, visit: Visit) -> None:
        while visit.request() is not None:
            visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + b"a" * (SIZE // 2))
            self.go_on.wait(PATIENCE)
            try:
                visit.say(b"b" * (SIZE // 2))
            except OSError:
                self.is_left.set()
                return


class Stream:
    """A client in the middle of an answer."""

    def __init__(self, connected: socket.socket) -> None:
        self.connected = connected
        connected.sendall(GET)
        self._raw = b""
        while not self._raw.endswith(b"a" * (SIZE // 2)):
            data = connected.recv(65536)
            assert data
            self._raw += data

    def finish(self) -> None:
        """The rest of it comes."""
        while not self._raw.endswith(b"b" * (SIZE // 2)):
            data = self.connected.recv(65536)
            assert data, "it is cut off"
            self._raw += data

    def is_cut_off(self) -> bool:
        """Whether the rest does not come."""
        try:
            while self.connected.recv(65536):
                pass
        except ConnectionResetError:
            return True
        return False


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.go_on.set()


# Reloads.


def test_a_stream_goes_on_under_a_reload_and_what_comes_next_is_under_the_new_rules(
    tmp_path: Path, gate: Gate
) -> None:
    with (
        registry(gate) as there,
        registry(echo) as other,
        relaying(tmp_path, {"r": there.url}) as daemon,
        daemon.connect() as connected,
    ):
        under_way = Stream(connected)
        moved = configuration(daemon.port, {"r": other.url})
        reload(daemon, moved)
        with daemon.connect() as new:
            client = over(new)
            client.request("GET", PATH)
            assert client.getresponse().read() == f"GET {PATH} 0".encode()
        reload(daemon, configuration(daemon.port, {"s": other.url}))
        assert daemon.ask(PATH).getheader("Location") == ELSEWHERE + PATH
        gate.go_on.set()
        under_way.finish()
        # The same connection sees the new rules.
        assert answered(connected, PATH) == ELSEWHERE + PATH


def test_connections_to_a_registry_that_has_gone_from_the_rules_are_not_kept_for_ever(
    tmp_path: Path,
) -> None:
    with registry(echo) as there, relaying(tmp_path, {"r": there.url}) as daemon:
        daemon.ask(PATH)
        assert there.open == 1
        reload(daemon, configuration(daemon.port, {"s": "http://127.0.0.1:9"}))
        daemon.terminate()
        assert daemon.status() == 0
        assert eventually(lambda: there.open == 0)


def test_a_registry_that_starts_anew_fails_nobody(tmp_path: Path) -> None:
    """The connections that were kept have ended in the meantime, and this may not be seen yet."""
    with ExitStack() as stack:
        port = free_port()
        there = Registry(echo, port=port)
        daemon = stack.enter_context(relaying(tmp_path, {"r": there.url}))
        for _ in range(10):
            clients = [over(stack.enter_context(daemon.connect())) for _ in range(5)]
            for client in clients:
                client.request("GET", PATH)
            assert {client.getresponse().read() for client in clients} == {f"GET {PATH} 0".encode()}
            there.close()
            there = Registry(echo, port=port)
        there.close()


# Stops.


def draining(seconds: float) -> str:
    return f"access_log: none\nlimits: {{drain: {seconds:g}s}}"


def test_a_stream_is_finished_before_a_stop(tmp_path: Path, gate: Gate) -> None:
    with (
        registry(gate) as there,
        relaying(tmp_path, {"r": there.url}, more=draining(PATIENCE)) as daemon,
        daemon.connect() as connected,
        daemon.connect() as waiting,
    ):
        under_way = Stream(connected)
        assert answered(waiting) == f"{ELSEWHERE}/"
        daemon.terminate()
        assert eventually(lambda: refuses_to_serve(daemon))
        gate.go_on.set()
        under_way.finish()
        assert read_to_the_end(connected) == b""
        assert read_to_the_end(waiting) == b""
        assert daemon.status() == 0
        assert eventually(lambda: there.open == 0)


def test_a_stream_that_takes_too_long_is_cut_off_at_a_stop(tmp_path: Path, gate: Gate) -> None:
    with (
        registry(gate) as there,
        relaying(tmp_path, {"r": there.url}, more=draining(1)) as daemon,
        daemon.connect() as connected,
    ):
        under_way = Stream(connected)
        daemon.terminate()
        assert under_way.is_cut_off()
        assert daemon.status() == 0
        gate.go_on.set()
        assert gate.is_left.wait(PATIENCE)
        assert eventually(lambda: there.open == 0)


def test_a_lame_duck_relays_on(tmp_path: Path) -> None:
    more = "access_log: none\nlimits: {lame_duck: 2s}"
    with registry(echo) as there, relaying(tmp_path, {"r": there.url}, more=more) as daemon:
        daemon.ask("/")
        daemon.terminate()
        began = time.monotonic()
        statuses = set()
        with suppress(OSError):
            while True:
                statuses.add(daemon.ask(PATH).status)
        assert statuses == {200}
        assert time.monotonic() - began > 1.5
        assert daemon.status() == 0
        assert eventually(lambda: there.open == 0)


def refuses_to_serve(daemon: Daemon) -> bool:
    try:
        daemon.connect().close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("state", ["asking", "connecting", "resolving", "queueing"])
def test_a_stop_does_not_wait_for_registries_that_are_silent(tmp_path: Path, state: str) -> None:
    def be_silent(visit: Visit) -> None:
        visit.wait_for_end()

    port = free_port()
    with ExitStack() as stack:
        there = stack.enter_context(registry(be_silent))
        stack.callback(BlackHole("127.0.0.9", port).close)
        at = {"connecting": f"http://127.0.0.9:{port}", "resolving": "http://nobody.invalid"}
        daemon = stack.enter_context(
            relaying(
                tmp_path, {"r": at.get(state, there.url)}, "connections: 1", more=draining(0.5)
            )
        )
        clients = [stack.enter_context(daemon.connect()) for _ in range(3)]
        for client in clients:
            client.sendall(GET)
        daemon.ask("/")
        daemon.terminate()
        assert daemon.status() == 0


# Workers.


@contextmanager
def working(directory: Path, registries: dict[str, str]) -> Iterator[Daemon]:
    with relaying(directory, registries, more="access_log: none\nworkers: 2") as daemon:
        assert eventually(lambda: len(workers_of(daemon.process.pid)) == 2)
        yield daemon


def test_every_worker_relays(tmp_path: Path, gate: Gate) -> None:
    with (
        registry(echo) as there,
        registry(gate) as slow,
        working(tmp_path, {"r": slow.url, "e": there.url}) as daemon,
        ExitStack() as stack,
    ):
        clients = [over(stack.enter_context(daemon.connect())) for _ in range(40)]
        for client in clients:
            client.request("GET", "/v2/e/manifests/1")
        assert {client.getresponse().read() for client in clients} == {b"GET /v2/e/manifests/1 0"}
        streams = [Stream(stack.enter_context(daemon.connect())) for _ in range(10)]
        gate.go_on.set()
        for each in streams:
            each.finish()
        daemon.terminate()
        assert daemon.status() == 0
        assert eventually(lambda: there.open == 0)


def test_a_worker_that_is_killed_takes_only_its_own_streams_along(
    tmp_path: Path, gate: Gate
) -> None:
    with (
        registry(gate) as there,
        working(tmp_path, {"r": there.url}) as daemon,
        ExitStack() as stack,
    ):
        streams = [Stream(stack.enter_context(daemon.connect())) for _ in range(20)]
        os.kill(workers_of(daemon.process.pid)[0], signal.SIGKILL)
        assert daemon.logs("serves again")
        gate.go_on.set()
        outcomes = []
        for each in streams:
            try:
                each.finish()
                outcomes.append(True)
            except (OSError, AssertionError):
                outcomes.append(False)
        assert 0 < sum(outcomes) < 20
        # What has been cut off has ended at the registry too.
        assert eventually(lambda: there.open <= sum(outcomes))
        client = over(stack.enter_context(daemon.connect()))
        client.request("GET", PATH)
        assert len(client.getresponse().read()) == SIZE


# Beside redirects.


def test_redirects_are_as_they_were_while_relays_run(tmp_path: Path) -> None:
    with (
        registry(stream(64 * MIB)) as there,
        registry(lambda visit: None) as bad,
        relaying(tmp_path, {"r": there.url, "bad": bad.url}) as daemon,
    ):
        stop = threading.Event()

        def relay(path: str) -> None:
            while not stop.is_set():
                daemon.ask(path)

        threads = [
            threading.Thread(target=relay, args=(path,)) for path in (PATH, "/v2/bad/tags/list")
        ]
        for thread in threads:
            thread.start()
        try:
            with nobody_fails(daemon.connect):
                for _ in range(3):
                    hang_up(daemon, f" reloaded {daemon.file}")
                for _ in range(200):
                    assert daemon.ask("/x").getheader("Location") == f"{ELSEWHERE}/x"
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_one_connection_may_ask_for_both_ahead(tmp_path: Path) -> None:
    other = GET.replace(PATH.encode(), b"/x")
    head = b"PUT %b HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" % PATH.encode()
    raw = GET + other + head + b"x" * 100_000 + other
    count = 20
    with (
        registry(echo) as there,
        relaying(tmp_path, {"r": there.url}) as daemon,
        daemon.connect() as connected,
        connected.makefile("rb") as answers,
    ):
        sender = threading.Thread(target=connected.sendall, args=(raw * count,))
        sender.start()
        for _ in range(count):
            for expected in (f"GET {PATH} 0", None, f"PUT {PATH} 100000", None):
                status, size = answers.readline(), 0
                while (line := answers.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length: "):
                        size = int(line.split()[1])
                body = answers.read(size).decode()
                if expected is None:
                    assert status.startswith(b"HTTP/1.1 302 ")
                else:
                    assert (status, body) == (b"HTTP/1.1 200 OK\r\n", expected)
        sender.join()
