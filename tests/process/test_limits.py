"""More clients than there is room for, slow ones and greedy ones: what good ones notice of them."""

import resource
import selectors
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from ..ports import free_port
from ..web.answers import read_answers
from .daemon import PATIENCE, Daemon, eventually, launched
from .talk import (
    GET,
    answered,
    cpu_seconds,
    hang_up,
    nobody_fails,
    read_to_the_end,
    reload,
    resident_bytes,
)

HOME = "https://one.example/"
MIB = 1 << 20
FEW_DESCRIPTORS = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh"]
ROOM = 100
"""How many clients there is room for with 200 descriptors: half of them are kept for the rest."""


def configuration(port: int, limits: str = "", more: str = "", listen: str = "") -> str:
    return (
        f"listen: [{{port: {port}}}{listen}]\naccess_log: none\nlimits: {{{limits}}}\n{more}\n"
        f"rules: [{{to: '{HOME.rstrip('/')}'}}]\n"
    )


@contextmanager
def limited(
    directory: Path,
    limits: str = "",
    more: str = "",
    listen: str = "",
    launcher: Sequence[str] = (),
) -> Iterator[Daemon]:
    """A daemon with these limits."""
    port = free_port()
    text = configuration(port, limits, more, listen)
    with launched(text, directory, port, launcher=launcher) as daemon:
        yield daemon
        assert "Traceback" not in daemon.log()


def connect(daemon: Daemon, source: str = "127.0.0.1") -> socket.socket:
    """A new connection from one of this host's addresses."""
    return socket.create_connection(
        ("127.0.0.1", daemon.port), timeout=PATIENCE, source_address=(source, 0)
    )


class Crowd:
    """Clients that ask once and keep their connections; some have to wait for their answers."""

    def __init__(self, daemon: Daemon, size: int) -> None:
        self._daemon = daemon
        self._selector = selectors.DefaultSelector()
        self.served: list[socket.socket] = []
        self.waiting: set[socket.socket] = set()
        self.join(size)

    def join(self, size: int) -> None:
        """Let so many more come."""
        for _ in range(size):
            client = self._daemon.connect()
            client.sendall(GET)
            self.waiting.add(client)
            self._selector.register(client, selectors.EVENT_READ)

    def look(self, seconds: float) -> int:
        """Take the answers that come meanwhile, and say how many there are of them by now."""
        for key, _ in self._selector.select(seconds):
            client = key.fileobj
            assert isinstance(client, socket.socket)
            (answer,) = read_answers(client.recv(65536))
            assert (answer.status, answer.closes) == (302, False)
            self._selector.unregister(client)
            self.waiting.remove(client)
            self.served.append(client)
        return len(self.served)

    def comes_to_serve(self, count: int) -> bool:
        """Whether so many have their answers at last, and nobody else in the second after that."""
        return eventually(lambda: self.look(0.1) >= count) and self.look(1) == count

    def comes_to_leave_waiting(self, count: int) -> bool:
        """Whether all but so many have their answers at last."""
        return eventually(lambda: self.look(0.1) >= 0 and len(self.waiting) <= count)

    def leave(self, count: int) -> None:
        """Let the first of those that have their answers go."""
        for client in self.served[:count]:
            client.close()
        del self.served[:count]

    def close(self) -> None:
        self._selector.close()
        for client in (*self.served, *self.waiting):
            client.close()


@contextmanager
def crowding(daemon: Daemon, size: int) -> Iterator[Crowd]:
    crowd = Crowd(daemon, size)
    try:
        yield crowd
    finally:
        crowd.close()


# More clients than there is room for.


@pytest.mark.parametrize("limits", ["", "connections: 5000"], ids=["auto", "more than there are"])
def test_at_the_descriptor_limit_some_wait_and_all_are_served_in_the_end(
    tmp_path: Path, limits: str
) -> None:
    with (
        limited(tmp_path, limits, launcher=FEW_DESCRIPTORS) as daemon,
        crowding(daemon, 400) as crowd,
    ):
        before = daemon.log()
        assert crowd.comes_to_serve(ROOM)
        assert len(crowd.waiting) == 300
        # Nobody is served or closed in a second, nor is anything done.
        used = cpu_seconds(daemon.process.pid)
        assert crowd.look(1) == ROOM
        assert cpu_seconds(daemon.process.pid) - used < 0.1
        # Those that are there live on.
        assert [answered(client) for client in crowd.served] == [HOME] * ROOM
        while crowd.waiting:
            due = len(crowd.waiting) - min(60, len(crowd.waiting))
            crowd.leave(60)
            assert crowd.comes_to_leave_waiting(due)
        assert [answered(client) for client in crowd.served] == [HOME] * len(crowd.served)
        crowd.leave(len(crowd.served))
        assert eventually(daemon.answers)
        assert daemon.log() == before


def test_a_reload_succeeds_while_there_is_no_room_for_clients(tmp_path: Path) -> None:
    with limited(tmp_path, launcher=FEW_DESCRIPTORS) as daemon, crowding(daemon, 150) as crowd:
        assert crowd.comes_to_serve(ROOM)
        port = free_port()
        both = configuration(daemon.port, listen=f", {{port: {port}}}")
        assert "listen changed" in reload(daemon, both)
        assert crowd.look(0) == ROOM
        assert [answered(client) for client in crowd.served] == [HOME] * ROOM
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            crowd.leave(ROOM)
            assert answered(client) == HOME
        assert crowd.comes_to_leave_waiting(0)


def test_sigterm_finds_an_end_while_clients_wait(tmp_path: Path) -> None:
    with limited(tmp_path, launcher=FEW_DESCRIPTORS) as daemon, crowding(daemon, 150) as crowd:
        assert crowd.comes_to_serve(ROOM)
        daemon.terminate()
        assert daemon.status() == 0
        assert all(read_to_the_end(client) == b"" for client in crowd.served)


def test_the_limit_of_connections_holds_and_follows_reloads(tmp_path: Path) -> None:
    with limited(tmp_path, "connections: 5") as daemon, crowding(daemon, 12) as crowd:
        assert crowd.comes_to_serve(5)
        reload(daemon, configuration(daemon.port, "connections: 8"))
        assert crowd.comes_to_serve(8)
        # Fewer are allowed than there are: nobody is sent away, and nobody comes in.
        reload(daemon, configuration(daemon.port, "connections: 2"))
        assert [answered(client) for client in crowd.served] == [HOME] * 8
        crowd.leave(6)
        assert crowd.look(1) == 2
        crowd.leave(1)
        assert crowd.comes_to_serve(2)
        reload(daemon, configuration(daemon.port, "connections: auto"))
        assert crowd.comes_to_serve(5)
        assert not crowd.waiting


def test_the_limit_counts_connections_whose_proxy_header_is_still_to_come(tmp_path: Path) -> None:
    trusted = "clients: {trusted_proxies: 127.0.0.1}"
    port = free_port()
    listen = f", {{port: {port}, proxy_protocol: true}}"
    with limited(tmp_path, "connections: 5", trusted, listen) as daemon, ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            for _ in range(5)
        ]
        # The kernel keeps those who have sent nothing to itself; and once the last one is
        # answered, all have been accepted.
        for client in silent:
            client.sendall(b"PROXY")
        silent[-1].sendall(b" UNKNOWN\r\n")
        assert answered(silent[-1]) == HOME
        with crowding(daemon, 3) as crowd:
            assert crowd.comes_to_serve(0)
            for client in silent[:2]:
                client.close()
            assert crowd.comes_to_serve(2)
            for client in silent[2:-1]:
                client.sendall(b" UNKNOWN\r\n")
                assert answered(client) == HOME
            assert crowd.look(1) == 2
            silent[2].close()
            assert crowd.comes_to_serve(3)


def test_where_descriptors_are_gone_for_another_reason_nobody_is_lost_either(
    tmp_path: Path,
) -> None:
    with limited(tmp_path) as daemon:
        pid = daemon.process.pid
        before = daemon.log()
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (40, hard))
        with crowding(daemon, 100) as crowd:
            assert eventually(lambda: crowd.look(0.1) > 10)
            assert eventually(lambda: "accepting pauses: Too many open files" in daemon.log())
            assert crowd.look(1) < 40
            used = cpu_seconds(pid)
            assert crowd.look(2) < 40
            assert cpu_seconds(pid) - used < 0.2
            there = list(crowd.served)
            assert [answered(client) for client in there] == [HOME] * len(there)
            # As some leave, others come in.
            crowd.leave(10)
            assert eventually(lambda: crowd.look(0.1) > len(there) - 5)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
            assert crowd.comes_to_leave_waiting(0)
        assert daemon.log().removeprefix(before).count("\n") == 1


# Clients that never read, and heads that never end.


def test_clients_that_send_and_never_read_cost_little_and_hold_nobody_up(tmp_path: Path) -> None:
    many = GET * 1000
    with limited(tmp_path) as daemon, ExitStack() as stack:
        before = resident_bytes(daemon.process.pid)
        greedy = [stack.enter_context(daemon.connect()) for _ in range(64)]
        for client in greedy:
            client.setblocking(False)
        with nobody_fails(daemon.connect):
            assert eventually(lambda: send_on(greedy, many) == 0)
            for _ in range(30):
                assert daemon.answers()
                send_on(greedy, many)
        assert resident_bytes(daemon.process.pid) - before < 60 * MIB


def test_clients_that_never_read_are_left_alone_until_they_do(tmp_path: Path) -> None:
    """Over a Unix socket, for which the kernel keeps a few hundred answers and not ten thousand."""
    many = GET * 1000
    path = tmp_path / "http.sock"
    with limited(tmp_path, listen=f", {{unix: {path}}}") as daemon, ExitStack() as stack:
        pid = daemon.process.pid
        before = resident_bytes(pid)
        greedy = [stack.enter_context(connect_to_path(path)) for _ in range(64)]
        for client in greedy:
            client.setblocking(False)

        def are_stuck() -> bool:
            """Whether the daemon takes no more from them, and has nothing left to do."""
            used = cpu_seconds(pid)
            sent = sum(send_on(greedy, many) for _ in range(10) if daemon.answers())
            return sent == 0 and cpu_seconds(pid) - used < 0.1

        assert eventually(are_stuck)
        assert resident_bytes(pid) - before < 60 * MIB
        received = 0
        while received < MIB:
            greedy[0].settimeout(PATIENCE)
            received += len(greedy[0].recv(65536))
            greedy[0].setblocking(False)
            send_on(greedy[:1], many)
        assert eventually(are_stuck)


def connect_to_path(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


def send_on(clients: Iterable[socket.socket], data: bytes) -> int:
    """Send what the kernel takes from them at the moment, and say how much that was."""
    sent = 0
    for client in clients:
        with suppress(BlockingIOError):
            sent += client.send(data)
    return sent


def test_heads_that_trickle_end_by_their_deadline_and_hold_nobody_up(tmp_path: Path) -> None:
    with (
        limited(tmp_path, "head: 2s") as daemon,
        ExitStack() as stack,
        nobody_fails(daemon.connect),
    ):
        before = daemon.log()
        slow = {stack.enter_context(connect(daemon)) for _ in range(300)}
        for client in slow:
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")

        def trickle() -> bool:
            ready = selectors.DefaultSelector()
            for client in slow:
                ready.register(client, selectors.EVENT_READ)
            for key, _ in ready.select(0.01):
                ended = key.fileobj
                assert isinstance(ended, socket.socket)
                (answer,) = read_answers(read_to_the_end(ended))
                assert (answer.status, answer.closes) == (408, True)
                slow.remove(ended)
            ready.close()
            for client in slow:
                client.sendall(b"x")
            return not slow

        assert eventually(trickle)
        assert daemon.log() == before


# How long and how large things may be.


def test_who_is_idle_is_closed_but_not_a_trusted_proxy(tmp_path: Path) -> None:
    trusted = "clients: {trusted_proxies: 127.0.0.2}"
    with (
        limited(tmp_path, "idle: 1s", trusted) as daemon,
        connect(daemon, "127.0.0.2") as proxy,
        connect(daemon) as silent,
        connect(daemon) as other,
    ):
        assert answered(other) == HOME
        assert read_to_the_end(silent) == read_to_the_end(other) == b""
        assert answered(proxy) == HOME


def test_the_time_of_a_head_counts_from_its_first_byte(tmp_path: Path) -> None:
    """A connection that has been idle for longer than a head may take has all of that time."""
    with (
        limited(tmp_path, "head: 1s, idle: 60s") as daemon,
        connect(daemon) as idle,
        connect(daemon) as half,
        connect(daemon) as without_body,
    ):
        half.sendall(GET[:-1])
        without_body.sendall(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n1")
        for client in (half, without_body):
            (answer,) = read_answers(read_to_the_end(client))
            assert (answer.status, answer.closes) == (408, True)
        assert answered(idle) == HOME


def test_a_head_may_be_as_large_as_it_is_said(tmp_path: Path) -> None:
    with limited(tmp_path, "head_size: 2KiB") as daemon:

        def status(raw: bytes) -> int:
            with connect(daemon) as client:
                client.sendall(raw)
                client.shutdown(socket.SHUT_WR)
                (answer,) = read_answers(read_to_the_end(client))
                return answer.status

        def sized(size: int) -> bytes:
            begin, end = b"GET / HTTP/1.1\r\nHost: h\r\nX: ", b"\r\n\r\n"
            return begin + b"x" * (size - len(begin) - len(end)) + end

        assert [status(sized(size)) for size in (2047, 2048, 2049, 3000)] == [302, 302, 431, 431]
        assert status(b"GET /" + b"x" * 2048) == 414


def test_a_reload_changes_the_limits_of_new_connections(tmp_path: Path) -> None:
    with limited(tmp_path) as daemon:
        long = b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n" % (b"x" * 3000)
        with daemon.connect() as old:
            old.sendall(long)
            assert old.recv(65536).startswith(b"HTTP/1.1 302 ")
            assert "limits changed" in reload(daemon, configuration(daemon.port, "head_size: 2KiB"))
            with daemon.connect() as new:
                new.sendall(long)
                assert read_answers(read_to_the_end(new))[0].status == 414


def test_what_is_in_flight_at_sigterm_has_the_time_to_drain_and_no_more(tmp_path: Path) -> None:
    with (
        limited(tmp_path, "drain: 1s, head: 60s") as daemon,
        connect(daemon) as half,
        connect(daemon) as unread,
    ):
        half.sendall(GET[:-1])
        unread.setblocking(False)
        assert eventually(lambda: not send_on([unread], GET * 1000))
        assert daemon.answers()
        daemon.terminate()
        assert daemon.status() == 0
        assert read_to_the_end(half) == b""


def test_a_lame_duck_goes_on_as_before_for_a_while(tmp_path: Path) -> None:
    """So that a load balancer can learn first that it goes."""
    with limited(tmp_path, "lame_duck: 4s") as daemon, daemon.connect() as kept:
        assert answered(kept) == HOME
        daemon.terminate()
        hang_up(daemon, " reloaded ")
        assert answered(kept) == HOME
        assert daemon.answers()
        assert daemon.status() == 0
        assert read_to_the_end(kept) == b""
