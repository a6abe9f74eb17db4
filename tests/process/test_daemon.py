"""The daemon as a process: how it starts, reloads and stops."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from ..ports import free_port
from ..web.answers import read_answers
from .daemon import PATIENCE, Daemon, ask, command, configuration, eventually, running

ONE = "rules: [{name: one, to: 'https://one.example'}]"
TWO = "rules: [{name: two, to: 'https://two.example'}]"
REGROUTE = Path(sys.executable).with_name("regroute")
UPLOAD = b"PUT /v2/ HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(ONE, tmp_path) as daemon:
        yield daemon


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the other end closes its half."""
    raw = b""
    while data := connection.recv(65536):
        raw += data
    return raw


def rewrite(daemon: Daemon, rules: str) -> None:
    """Give the daemon another file, in one step as deployments do."""
    new = daemon.file.with_suffix(".new")
    new.write_text(configuration(rules, daemon.port))
    new.rename(daemon.file)


def start(file: Path) -> subprocess.CompletedProcess[str]:
    """Run a daemon that is going to fail, to its end."""
    return subprocess.run(
        command(file), cwd=file.parent, capture_output=True, text=True, timeout=PATIENCE
    )


# Stopping.


def test_sigterm_ends_an_idle_daemon_with_0(daemon: Daemon) -> None:
    with daemon.connect() as idle:
        # The kernel tells nobody of a client that has not said anything yet.
        idle.sendall(b"\r\n")
        assert daemon.answers()
        daemon.terminate()
        assert daemon.status() == 0
        assert idle.recv(1) == b""
    assert "Traceback" not in daemon.log()


def test_sigterm_resets_nobody_whose_request_is_there_already(daemon: Daemon) -> None:
    """While the daemon stands still, the kernel accepts for it."""
    daemon.process.send_signal(signal.SIGSTOP)
    connections = [daemon.connect() for _ in range(50)]
    for connection in connections:
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n")
    daemon.terminate()
    daemon.process.send_signal(signal.SIGCONT)
    for connection in connections:
        (answer,) = read_answers(read_all(connection))
        assert answer.status == 302
        connection.close()
    assert daemon.status() == 0


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_sigterm_stops_accepting_and_finishes_a_request_in_flight(
    daemon: Daemon, times: int
) -> None:
    def refuses() -> bool:
        try:
            daemon.connect().close()
        except ConnectionRefusedError:
            return True
        return False

    with daemon.connect() as connection:
        connection.sendall(UPLOAD + b"half")
        # An answer to another client shows that the first one's bytes have been read before.
        assert daemon.answers()
        for _ in range(times):
            daemon.terminate()
            assert eventually(refuses)
        connection.sendall(b" way")
        (answer,) = read_answers(read_all(connection))
        assert (answer.status, answer.closes) == (405, True)
    assert daemon.status() == 0
    assert "Traceback" not in daemon.log()


# Starting.

FAULTY = "rules:\n  - {clinet: 10.0.0.1/8, to: 'https://one.example'}\n  - {to: nowhere}\n"


def test_a_faulty_file_at_start_is_told_on_stderr(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(FAULTY)
    ended = start(file)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    faults = [line for line in ended.stderr.splitlines() if line.startswith(f"{file}:")]
    assert faults == check(file)
    assert len(faults) >= 2


def test_a_missing_file_is_told_on_stderr(tmp_path: Path) -> None:
    ended = start(tmp_path / "rules.yaml")
    assert ended.returncode == 1
    assert "rules.yaml:1:1: cannot read it: No such file or directory" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file.write_text(configuration(ONE, port, listen="port: {port}, host: 127.0.0.1"))
        ended = start(file)
    assert ended.returncode == 1
    (told,) = [line for line in ended.stderr.splitlines() if "cannot listen" in line]
    assert told.endswith(f"1:10: cannot listen: 127.0.0.1 port {port}: Address already in use")
    assert "Traceback" not in ended.stdout + ended.stderr


def test_the_default_listener_serves_ipv4_and_ipv6(tmp_path: Path) -> None:
    rules = (
        "rules:\n"
        "  - {name: four, client: 127.0.0.1, to: 'https://four.example'}\n"
        "  - {name: six, client: '::1', to: 'https://six.example'}\n"
    )
    with running(rules, tmp_path) as daemon:
        assert daemon.ask("/", host="127.0.0.1").getheader("Location") == "https://four.example/"
        assert daemon.ask("/", host="::1").getheader("Location") == "https://six.example/"


def test_a_listener_with_a_host_serves_that_host_alone(tmp_path: Path) -> None:
    with running(ONE, tmp_path, listen="port: {port}, host: 127.0.0.1") as daemon:
        assert daemon.answers()
        with pytest.raises(ConnectionRefusedError):
            daemon.connect("127.0.0.2")


# Reloading.


def check(file: Path) -> list[str]:
    """What `regroute check` prints about a faulty file."""
    checked = subprocess.run(
        [REGROUTE, "check", file], capture_output=True, text=True, timeout=PATIENCE
    )
    assert checked.returncode == 1
    return checked.stdout.splitlines()


def test_a_reload_takes_force_on_the_next_request_of_the_same_connection(daemon: Daemon) -> None:
    connection = HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
    assert ask(connection, "/v2/a").getheader("Location") == "https://one.example/v2/a"
    kept = connection.sock
    rewrite(daemon, TWO)
    daemon.hang_up()
    assert daemon.logs("reloaded")
    assert ask(connection, "/v2/b").getheader("Location") == "https://two.example/v2/b"
    assert connection.sock is kept
    connection.close()


def test_the_log_says_in_one_line_what_a_reload_changed(daemon: Daemon) -> None:
    rewrite(daemon, TWO)
    daemon.hang_up()
    assert daemon.logs("reloaded")
    (line,) = [line for line in daemon.log().splitlines() if "reloaded" in line]
    assert line.endswith(f"reloaded {daemon.file}: rule two added, rule one removed")


def test_a_faulty_file_changes_nothing_and_is_logged_as_check_prints_it(daemon: Daemon) -> None:
    connection = HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
    ask(connection, "/")
    kept = connection.sock
    rewrite(daemon, FAULTY)
    before = len(daemon.log())
    daemon.hang_up()
    assert daemon.logs("the old rules stay in force")
    lines = daemon.log()[before:].splitlines()
    *logged, _ = [line for line in lines if not line.startswith("{")]
    printed = check(daemon.file)
    assert len(printed) == len(logged) >= 2
    assert all(line.endswith(fault) for line, fault in zip(logged, printed, strict=True))
    assert "Traceback" not in daemon.log()
    assert ask(connection, "/").getheader("Location") == "https://one.example/"
    assert connection.sock is kept
    connection.close()


def test_a_good_file_after_a_faulty_one_takes_force(daemon: Daemon) -> None:
    rewrite(daemon, FAULTY)
    daemon.hang_up()
    assert daemon.logs("the old rules stay in force")
    rewrite(daemon, TWO)
    daemon.hang_up()
    # The line about the faulty one has the word too.
    assert daemon.logs(f" reloaded {daemon.file}")
    assert daemon.ask("/").getheader("Location") == "https://two.example/"


def test_several_sighups_in_a_row_end_with_the_last_file(daemon: Daemon) -> None:
    for number in range(10):
        rewrite(daemon, f"rules: [{{name: last, to: 'https://n{number}.example'}}]")
        daemon.hang_up()
    assert eventually(lambda: daemon.ask("/").getheader("Location") == "https://n9.example/")
    assert 1 <= daemon.log().count("reloaded") <= 10


def test_twenty_reloads_under_load_fail_no_request_and_mix_no_rules(daemon: Daemon) -> None:
    """Each rule set sends both paths to its own host: no answer may be neither's."""
    sets = [
        "rules:\n"
        f"  - {{name: a, path: /a, to: 'https://{name}.example'}}\n"
        f"  - {{name: b, to: 'https://{name}.example', status: {status}}}\n"
        for name, status in [("red", 307), ("blue", 308)]
    ]
    allowed = {
        *((302, f"https://{name}.example/a") for name in ("red", "blue", "one")),
        *((307, "https://red.example/b"), (308, "https://blue.example/b")),
        (302, "https://one.example/b"),
    }
    stop = threading.Event()
    seen: Counter[tuple[int, str | None]] = Counter()
    failures: list[Exception] = []

    def ask_all_the_time(keeps: bool) -> None:
        connection = HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
        try:
            while not stop.is_set():
                for path in ("/a", "/b"):
                    answer = ask(connection, path)
                    seen[answer.status, answer.getheader("Location")] += 1
                    if not keeps:
                        connection.close()
        except Exception as failure:
            failures.append(failure)
        connection.close()

    clients = [threading.Thread(target=ask_all_the_time, args=(keeps,)) for keeps in (1, 1, 1, 0)]
    for client in clients:
        client.start()
    try:
        for number in range(20):
            rewrite(daemon, sets[number % 2])
            daemon.hang_up()
            assert daemon.logs("reloaded", times=number + 1)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert failures == []
    assert set(seen) <= allowed
    assert {(307, "https://red.example/b"), (308, "https://blue.example/b")} <= set(seen)
    assert "Traceback" not in daemon.log()


def test_a_relative_path_is_still_found_after_a_change_of_directory(tmp_path: Path) -> None:
    """twistd changes its directory when it daemonizes; --rundir does so here."""
    port = free_port()
    (tmp_path / "etc").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    file = tmp_path / "etc" / "rules.yaml"
    file.write_text(configuration(ONE, port))
    output = tmp_path / "output"
    twistd, *_ = command(file)
    argv = [twistd, "-n", "--pidfile=", "regroute", "--config", "etc/rules.yaml"]
    with output.open("wb") as written:
        process = subprocess.Popen(
            argv, cwd=tmp_path, stdout=written, stderr=subprocess.STDOUT, env=dict(os.environ)
        )
    daemon = Daemon(process, port, file, output)
    try:
        assert eventually(daemon.answers)
        rewrite(daemon, TWO)
        daemon.hang_up()
        assert daemon.logs("reloaded etc/rules.yaml: rule two added, rule one removed")
    finally:
        process.kill()
        process.wait()
