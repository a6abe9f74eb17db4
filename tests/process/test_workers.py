"""Workers as processes: who serves, who replaces whom, and what a client sees of it."""

import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..issuers import new_root
from ..ports import free_port
from ..web.handshakes import trust
from .daemon import PATIENCE, Daemon, eventually, launched
from .talk import (
    answered,
    closes,
    cpu_seconds,
    hang_up,
    nobody_fails,
    refuses,
    reload,
    reload_in_vain,
    write,
)
from .test_listeners import activated
from .test_tls import put

ROOT = new_root()
ONE, TWO = "https://one.example/", "https://two.example/"


def configuration(*listeners: str, to: str = ONE, more: str = "access_log: none") -> str:
    listen = "".join(f"  - {{{listener}}}\n" for listener in listeners)
    return f"workers: 2\nlisten:\n{listen}{more}\nrules: [{{to: '{to.rstrip('/')}'}}]\n"


def workers_of(pid: int) -> list[int]:
    """The processes that a process has started and that run."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split() if is_running(int(child))]


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def connections_of(pid: int) -> int:
    """How many connections of clients a process has."""
    inodes = {os.readlink(each.path) for each in os.scandir(f"/proc/{pid}/fd")}
    table = [line.split() for line in Path(f"/proc/{pid}/net/tcp6").read_text().splitlines()[1:]]
    established = "01"
    return sum(line[3] == established and f"socket:[{line[9]}]" in inodes for line in table)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    port = free_port()
    with launched(configuration(f"port: {port}"), tmp_path, port) as daemon:
        assert eventually(lambda: len(workers_of(daemon.process.pid)) == 2)
        workers = workers_of(daemon.process.pid)
        yield daemon
        assert "Traceback" not in daemon.log()
        if daemon.process.poll() is None:
            daemon.terminate()
        daemon.status()
        assert eventually(lambda: not any(map(is_running, workers)))


def test_the_kernel_shares_connections_out_among_the_workers(daemon: Daemon) -> None:
    count = 600
    with ExitStack() as kept:
        for _ in range(count):
            assert answered(kept.enter_context(daemon.connect())) == ONE
        shares = [connections_of(pid) for pid in workers_of(daemon.process.pid)]
    assert sum(shares) == count
    assert min(shares) >= 0.35 * count


def test_a_worker_that_is_killed_ends_its_own_connections_and_is_replaced(daemon: Daemon) -> None:
    victim, other = workers_of(daemon.process.pid)
    with ExitStack() as kept:
        clients = [kept.enter_context(daemon.connect()) for _ in range(100)]
        for client in clients:
            assert answered(client) == ONE
        own = connections_of(victim)
        os.kill(victim, signal.SIGKILL)
        assert daemon.logs("serves again")
        ended = 0
        for client in clients:
            try:
                answered(client)
            except (ConnectionError, AssertionError, OSError):
                ended += 1
    assert ended == own
    assert other in workers_of(daemon.process.pid)
    assert len(workers_of(daemon.process.pid)) == 2


def test_who_comes_while_a_worker_is_replaced_waits_and_is_answered(daemon: Daemon) -> None:
    for _ in range(3):
        os.kill(workers_of(daemon.process.pid)[0], signal.SIGKILL)
        for _ in range(40):
            with daemon.connect() as client:
                assert answered(client) == ONE


def test_a_new_worker_serves_what_is_in_force_whatever_has_become_of_the_file(
    daemon: Daemon,
) -> None:
    write(daemon, "rulse: []")
    for pid in workers_of(daemon.process.pid):
        os.kill(pid, signal.SIGKILL)
    assert daemon.logs("worker 1 serves again")
    assert daemon.logs("worker 2 serves again")
    assert daemon.ask("/").getheader("Location") == ONE


def test_a_reload_takes_all_workers_along(daemon: Daemon) -> None:
    with ExitStack() as kept:
        clients = [kept.enter_context(daemon.connect()) for _ in range(40)]
        assert Counter(map(answered, clients)) == {ONE: 40}
        reload(daemon, configuration(f"port: {daemon.port}", to=TWO))
        assert eventually(lambda: Counter(map(answered, clients)) == {TWO: 40})
        reload_in_vain(daemon, configuration(f"port: {daemon.port}", to="ftp://x"))
        assert Counter(map(answered, clients)) == {TWO: 40}


def test_a_reload_opens_and_closes_listeners_of_all_workers(daemon: Daemon, tmp_path: Path) -> None:
    port, new = daemon.port, free_port()
    path = tmp_path / "http.sock"
    more = configuration(f"port: {port}", f"port: {new}", f"unix: {path}")
    with nobody_fails(daemon.connect):
        for _ in range(3):
            reload(daemon, more)
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", new), timeout=PATIENCE) as client:
                    assert answered(client) == ONE
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(PATIENCE)
                    client.connect(str(path))
                    assert answered(client) == ONE
            reload(daemon, configuration(f"port: {port}"))
            assert eventually(lambda: refuses(new))
            assert not path.exists()


def test_a_port_moves_to_another_host_without_a_loss(daemon: Daemon) -> None:
    port = daemon.port
    with nobody_fails(daemon.connect):
        for _ in range(5):
            reload(daemon, configuration(f"port: {port}, host: 127.0.0.1"))
            reload(daemon, configuration(f"port: {port}"))


def test_a_port_that_is_taken_changes_nothing(daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        logged = reload_in_vain(
            daemon, configuration(f"port: {daemon.port}", f"port: {port}, host: 127.0.0.1", to=TWO)
        )
    assert f"cannot listen: 127.0.0.1 port {port}: Address already in use" in logged
    for _ in range(20):
        assert daemon.ask("/").getheader("Location") == ONE


def test_what_only_a_worker_can_tell_is_a_fault_like_any_other(
    daemon: Daemon, tmp_path: Path
) -> None:
    log = tmp_path / "missing" / "access.log"
    logged = reload_in_vain(
        daemon, configuration(f"port: {daemon.port}", to=TWO, more=f"access_log: {{path: {log}}}")
    )
    fault = f"{daemon.file}:4:20: cannot open the access log: No such file or directory"
    assert logged.count(fault) == 1
    for _ in range(20):
        assert daemon.ask("/").getheader("Location") == ONE


def test_all_lines_of_all_workers_are_in_one_access_log(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "access.log"
    text = configuration(f"port: {port}", more=f"access_log: {{path: {log}}}")
    with launched(text, tmp_path, port) as daemon:
        for number in range(200):
            daemon.ask(f"/{number}")
        moved = log.rename(tmp_path / "moved.log")
        hang_up(daemon, f" reloaded {daemon.file}")
        assert eventually(log.exists)
        for number in range(200, 400):
            daemon.ask(f"/{number}")
        daemon.terminate()
        assert daemon.status() == 0
    lines = moved.read_text().splitlines() + log.read_text().splitlines()
    asked = Counter(line.split('"path":"/')[1].partition('"')[0] for line in lines)
    assert all(asked[str(number)] == 1 for number in range(400))


def test_a_stop_answers_who_asks_and_leaves_no_process_behind(daemon: Daemon) -> None:
    workers = workers_of(daemon.process.pid)
    with daemon.connect() as client:
        assert answered(client) == ONE
        daemon.terminate()
        # Its next answer says that it is the last one.
        assert eventually(lambda: closes(client))
    assert daemon.status() == 0
    assert not any(map(is_running, workers))


def test_workers_end_with_their_parent_however_it_ends(daemon: Daemon) -> None:
    workers = workers_of(daemon.process.pid)
    daemon.process.kill()
    assert eventually(lambda: not any(map(is_running, workers)))


def test_a_worker_that_is_told_to_stop_is_replaced(daemon: Daemon) -> None:
    first = workers_of(daemon.process.pid)[0]
    with nobody_fails(daemon.connect, may_close=True):
        os.kill(first, signal.SIGTERM)
        assert daemon.logs("serves again")


def test_sockets_of_systemd_are_shared_by_all_workers(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as http:
        passed = http.getsockname()[1]
        text = configuration(f"port: {port}", "socket: http")
        with activated(tmp_path, text, port, http=http) as daemon:
            for _ in range(40):
                with socket.create_connection(("127.0.0.1", passed), timeout=PATIENCE) as client:
                    assert answered(client) == ONE
            reload(daemon, configuration(f"port: {port}"))
            reload(daemon, text)
            with socket.create_connection(("127.0.0.1", passed), timeout=PATIENCE) as client:
                assert answered(client) == ONE


def test_workers_at_rest_use_no_processor_time(daemon: Daemon) -> None:
    pids = [daemon.process.pid, *workers_of(daemon.process.pid)]
    assert daemon.ask("/").status == 302
    before = sum(map(cpu_seconds, pids))
    for _ in range(20):
        daemon.ask("/")
    assert sum(map(cpu_seconds, pids)) - before < 1.0


@pytest.mark.parametrize("kind", ["plain", "TLS"])
def test_a_hundred_reloads_under_load_lose_nothing(tmp_path: Path, kind: str) -> None:
    port, secure = free_port(), free_port()
    put(tmp_path, "front", ROOT.issue("front.example"))
    tls = "tls: {certificates: [{certificate: front.pem, key: front.key}]}"
    context = trust(ROOT)

    def connect() -> socket.socket:
        if kind == "plain":
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        connected = socket.create_connection(("127.0.0.1", secure), timeout=PATIENCE)
        return context.wrap_socket(connected, server_hostname="front.example")

    listeners = f"port: {port}", f"port: {secure}, {tls}"
    with (
        launched(configuration(*listeners), tmp_path, port) as daemon,
        nobody_fails(connect),
        nobody_fails(connect),
    ):
        for number in range(100):
            reload(daemon, configuration(*listeners, to=(ONE, TWO)[number % 2]))


@pytest.mark.parametrize("kind", ["plain", "TLS"])
@pytest.mark.parametrize("workers", [1, 2])
def test_restarts_with_sockets_that_somebody_else_holds_lose_nothing(
    tmp_path: Path, workers: int, kind: str
) -> None:
    port = free_port()
    put(tmp_path, "front", ROOT.issue("front.example"))
    tls = ", tls: {certificates: [{certificate: front.pem, key: front.key}]}"
    text = configuration(f"port: {port}", "socket: web" + (tls if kind == "TLS" else ""))
    text = text.replace("workers: 2", f"workers: {workers}")
    context = trust(ROOT)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as web, ExitStack() as load:

        def connect() -> socket.socket:
            connected = socket.create_connection(web.getsockname(), timeout=PATIENCE)
            if kind == "plain":
                return connected
            return context.wrap_socket(connected, server_hostname="front.example")

        for _ in range(10):
            load.enter_context(nobody_fails(connect, may_close=True))
        for restart in range(4):
            with activated(tmp_path, text, port, web=web) as daemon:
                if restart < 3:
                    daemon.terminate()
                    assert daemon.status() == 0
                else:
                    load.close()
