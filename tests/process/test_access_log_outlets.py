"""Where the access log goes, and that no answer depends on what becomes of it there."""

import json
import os
import re
import signal
import subprocess
from http.client import HTTPConnection
from pathlib import Path

import pytest

from ..ports import free_port
from .apart import apart, paths, printed, replace
from .daemon import PATIENCE, TWISTD, Daemon, ask, command, eventually

RULES = "rules: [{name: one, to: 'https://one.example'}]"
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[.+\] .*")
"""How twistd begins the lines of its own log."""


def configuration(port: int, log: str | None) -> str:
    """A redirect of everything, recorded to `log`, or to where it goes by itself."""
    access_log = "" if log is None else f"access_log: {log}\n"
    return f"listen: [{{port: {port}}}]\n{access_log}{RULES}\n"


def ask_often(daemon: Daemon, times: int, *, size: int = 10) -> list[str]:
    """Ask for so many paths of this size, each of which is answered; returns the paths."""
    asked = [f"/{number:0{size}}" for number in range(times)]
    connection = HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
    for path in asked:
        assert ask(connection, path).getheader("Location") == f"https://one.example{path}"
    connection.close()
    return asked


def stop(daemon: Daemon) -> None:
    daemon.terminate()
    assert daemon.status() == 0, daemon.log()
    assert "Traceback" not in daemon.log()


def told(daemon: Daemon, what: str) -> list[str]:
    """The messages of the daemon's log that begin with this."""
    return [line for line in daemon.log().splitlines() if f"] {what}" in line]


# Standard output.


def test_by_default_lines_are_alone_on_standard_output(tmp_path: Path) -> None:
    """And the daemon's own log is on standard error, with nothing of theirs."""
    port = free_port()
    with apart(configuration(port, None), tmp_path, port) as daemon:
        asked = ask_often(daemon, 20)
        daemon.hang_up()
        assert daemon.logs("reloaded")
        stop(daemon)
    assert [line["path"] for line in printed(daemon)][-20:] == asked
    assert all(LOG_LINE.fullmatch(line) for line in daemon.log().splitlines())
    assert "Received SIGTERM" in daemon.log() or "Server Shut Down" in daemon.log()
    assert '"path"' not in daemon.log()


def test_lines_come_through_a_pipe_while_the_daemon_runs(tmp_path: Path) -> None:
    """As to whoever reads along with `twistd -n regroute | jq`."""
    port = free_port()
    reader, writer = os.pipe()
    with apart(configuration(port, "stdout"), tmp_path, port, stdout=writer) as daemon:
        os.close(writer)
        with open(reader, encoding="ascii") as lines:
            asked = ask_often(daemon, 3)
            seen = [json.loads(next(lines))["path"]]
            while seen[-1] != asked[-1]:
                seen.append(json.loads(next(lines))["path"])
            stop(daemon)
            assert lines.read() == ""
    assert [path for path in seen if path != "/"] == asked


def test_twistd_still_logs_to_its_log_file(tmp_path: Path) -> None:
    port, own = free_port(), tmp_path / "twistd.log"
    options = ["--logfile", str(own)]
    with apart(configuration(port, None), tmp_path, port, options=options) as daemon:
        asked = ask_often(daemon, 3)
        stop(daemon)
    assert [line["path"] for line in printed(daemon)][-3:] == asked
    assert daemon.log() == ""
    lines = own.read_text().splitlines()
    assert all(LOG_LINE.fullmatch(line) for line in lines)
    assert "Server Shut Down" in lines[-1]


def test_a_reader_that_is_gone_is_in_nobodys_way(tmp_path: Path) -> None:
    """The one message about it comes at once, the next one with the number of lost lines."""
    port = free_port()
    reader, writer = os.pipe()
    with apart(configuration(port, None), tmp_path, port, stdout=writer) as daemon:
        os.close(writer)
        os.close(reader)
        ask_often(daemon, 500, size=1000)
        assert daemon.logs("standard output cannot be written")
        ask_often(daemon, 1000, size=1000)
        (message,) = told(daemon, "standard output")
        assert "standard output cannot be written: Broken pipe (" in message
        stop(daemon)
    *_, last = told(daemon, "standard output")
    assert re.search(r"lines lost so far: 15\d\d, waiting: 0\)", last)


def test_a_reader_that_has_stopped_is_in_nobodys_way(tmp_path: Path) -> None:
    """What it reads later are whole lines in their order; what it misses is counted."""
    port = free_port()
    reader, writer = os.pipe()
    with apart(configuration(port, None), tmp_path, port, stdout=writer) as daemon:
        os.close(writer)
        asked = ask_often(daemon, 1500, size=1000)
        assert daemon.logs("standard output cannot be written: nobody reads it")
        assert ask_often(daemon, 1)
        assert len(told(daemon, "standard output")) == 1
        with open(reader, "rb") as lines:
            # What is held comes as fast as it is read; the daemon ends when it has written it.
            text = lines.read(1_000_000)
            daemon.terminate()
            text += lines.read()
        assert daemon.status() == 0
    assert "Traceback" not in daemon.log()
    read = [json.loads(line)["path"] for line in text.decode("ascii").splitlines()]
    kept = [path for path in read if len(path) > 1000]
    assert kept == asked[: len(kept)]
    assert len(kept) < len(asked)
    *_, last = told(daemon, "standard output")
    assert (lost := re.search(r"is written again \(lines lost so far: (\d+), waiting: 0\)", last))
    assert int(lost[1]) == len(asked) + 1 - len(read) + read.count("/")


def test_a_stop_does_not_wait_for_a_reader_that_has_stopped(tmp_path: Path) -> None:
    port = free_port()
    reader, writer = os.pipe()
    with apart(configuration(port, None), tmp_path, port, stdout=writer) as daemon:
        os.close(writer)
        ask_often(daemon, 200, size=1000)
        stop(daemon)
    assert "nobody reads it" in told(daemon, "standard output")[-1]
    os.close(reader)


# Files.


def test_a_full_disk_is_in_nobodys_way(tmp_path: Path) -> None:
    """One message while it is full, however often, and one with the whole number at the end."""
    port = free_port()
    with apart(configuration(port, "{path: /dev/full}"), tmp_path, port) as daemon:
        ask_often(daemon, 1000)
        assert daemon.logs("cannot be written")
        ask_often(daemon, 1000)
        daemon.hang_up()
        assert daemon.logs("reloaded")
        (message,) = told(daemon, "/dev/full")
        assert "] /dev/full cannot be written: No space left on device (lines lost" in message
        stop(daemon)
    *_, last = told(daemon, "/dev/full")
    assert len(told(daemon, "/dev/full")) == 2
    assert (lost := re.search(r"lines lost so far: (\d+), waiting: 0\)", last))
    assert int(lost[1]) >= 2000


UNWRITABLE = [
    pytest.param("{path: no/such/log}", "No such file or directory", id="no directory"),
    pytest.param("{path: .}", "Is a directory", id="a directory"),
    pytest.param("{path: rules.yaml/log}", "Not a directory", id="in a file"),
    pytest.param("{path: fifo}", "No such device or address", id="a FIFO without a reader"),
]


@pytest.fixture
def _fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")


@pytest.mark.usefixtures("_fifo")
@pytest.mark.parametrize(("log", "why"), UNWRITABLE)
def test_a_log_that_cannot_be_opened_is_a_fault_at_the_start(
    tmp_path: Path, log: str, why: str
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(configuration(free_port(), log))
    ended = subprocess.run(
        command(file), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
    )
    assert ended.returncode == 1
    (fault,) = [line for line in ended.stderr.splitlines() if f" {file}:" in line]
    assert fault.endswith(f" {file}:2:20: cannot open the access log: {why}")
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.usefixtures("_fifo")
@pytest.mark.parametrize(("log", "why"), UNWRITABLE)
def test_a_log_that_cannot_be_opened_changes_nothing_at_a_reload(
    tmp_path: Path, log: str, why: str
) -> None:
    """Neither the rules, nor the listeners, nor where lines go."""
    port, other = free_port(), free_port()
    with apart(configuration(port, "{path: access.log}"), tmp_path, port) as daemon:
        faulty = configuration(port, log).replace("one.example", "two.example")
        faulty = faulty.replace("listen: [", f"listen: [{{port: {other}}}, ")
        replace(daemon, faulty)
        daemon.hang_up()
        assert daemon.logs("the old rules stay in force")
        (fault,) = told(daemon, f"{daemon.file}:")
        assert fault.endswith(f"] {daemon.file}:2:20: cannot open the access log: {why}")
        asked = ask_often(daemon, 3)
        with pytest.raises(ConnectionRefusedError):
            HTTPConnection("127.0.0.1", other).connect()
        stop(daemon)
    assert paths(tmp_path / "access.log")[-3:] == asked


# In the background.


def test_a_daemon_in_the_background_records_reloads_and_stops(tmp_path: Path) -> None:
    port = free_port()
    file, log, own = (tmp_path / name for name in ("rules.yaml", "access.log", "own.log"))
    file.write_text(configuration(port, "{path: access.log}"))
    pid_file = tmp_path / "pid"
    assert in_the_background(tmp_path).returncode == 0
    pid = int(pid_file.read_text())
    try:
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        assert ask(connection, "/one").getheader("Location") == "https://one.example/one"
        log.rename(tmp_path / "moved")
        file.write_text(file.read_text().replace("one.example", "two.example"))
        os.kill(pid, signal.SIGHUP)
        assert eventually(lambda: "reloaded rules.yaml" in own.read_text())
        assert ask(connection, "/two").getheader("Location") == "https://two.example/two"
        connection.close()
        os.kill(pid, signal.SIGTERM)
        assert eventually(lambda: not pid_file.exists())
    finally:
        if pid_file.exists():
            os.kill(pid, signal.SIGKILL)
    assert paths(tmp_path / "moved") == ["/one"]
    assert paths(log) == ["/two"]
    assert "Traceback" not in own.read_text()


def test_one_that_cannot_start_says_so_and_leaves_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(configuration(free_port(), "{path: .}"))
    ended = in_the_background(tmp_path)
    assert ended.returncode == 1
    fault = "rules.yaml:2:20: cannot open the access log: Is a directory"
    assert fault in ended.stderr
    assert eventually(lambda: fault in (tmp_path / "own.log").read_text())
    assert "Traceback" not in (tmp_path / "own.log").read_text()
    assert not (tmp_path / "pid").exists()


def in_the_background(directory: Path) -> subprocess.CompletedProcess[str]:
    """Let twistd put a daemon into the background; this ends when it runs there, or has failed."""
    argv = [str(TWISTD), "--pidfile=pid", "--logfile=own.log", "regroute", "--config", "rules.yaml"]
    return subprocess.run(
        argv,
        cwd=directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    )
