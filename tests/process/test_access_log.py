"""The access log agrees with what its clients got, line by line, through moves and reloads."""

import re
import socket
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ..ports import free_port
from .apart import apart, paths, read_json, replace
from .daemon import Daemon, eventually
from .mixed import LAST, LASTING, PROXY, RULES, VISITORS, Got, crowd

EACH = 10_000 // len(VISITORS) + 1
NAMES = ["client", "method", "host", "path", "status", "rule", "registry", "location", "user_agent"]
COMBINED = re.compile(
    r"(?P<client>\S+) - - \[\d\d/[A-Z][a-z]{2}/\d{4}(?::\d\d){3} \+0000\] "
    r'"(?P<method>[^" ]+) (?P<path>[^" ]*) HTTP/1\.[01]" (?P<status>\d{3}) (?P<size>-|[1-9]\d*) '
    r'"-" "(?P<user_agent>[^"]+)"'
)
Record = tuple[Any, ...]


def configuration(port: int, log: str) -> str:
    """What answers the mixed load, and records it to `log`."""
    return f"listen: [{{port: {port}}}]\naccess_log: {log}\n{RULES}"


def stop(daemon: Daemon) -> None:
    """Stop, which writes the last lines."""
    daemon.terminate()
    assert daemon.status() == 0, daemon.log()
    assert "Traceback" not in daemon.log()


def logged(file: Path) -> list[dict[str, Any]]:
    """A log's lines, less those of the questions whether the daemon answers."""
    return [line for line in read_json(file) if line["path"] != "/"]


def from_json(line: dict[str, Any]) -> Record:
    return tuple(line[name] for name in NAMES)


def as_json(got: Got) -> Record:
    return tuple(getattr(got, name) for name in NAMES)


def by_client(records: Iterable[Record]) -> dict[Any, list[Record]]:
    """Records by their first part, each client's in their order."""
    clients: dict[Any, list[Record]] = {}
    for record in records:
        clients.setdefault(record[0], []).append(record)
    return clients


def assert_agreement(lines: Iterable[Record], visits: list[list[Got]]) -> None:
    """A visitor waits for its answers, so that the lines with its address have one order."""
    written = by_client(lines)
    got = by_client(as_json(got) for visit in visits for got in visit)
    assert written.keys() == got.keys()
    for client, records in got.items():
        for line, record in zip(written[client], records, strict=True):
            assert line == record


def test_the_load_is_large_and_mixed() -> None:
    """Of which the tests below make their claims."""
    assert {kind.status for kind in [*LASTING, *LAST]} == {200, 302, 308, 400, 404, 405, 414, 431}
    assert EACH * len(VISITORS) >= 10_000


def test_json_lines_agree_with_what_the_clients_got(tmp_path: Path) -> None:
    port = free_port()
    with apart(configuration(port, "{path: access.log}"), tmp_path, port) as daemon:
        visits = crowd(port, lambda answers: answers < EACH)
        stop(daemon)
    lines = logged(tmp_path / "access.log")
    assert_agreement(map(from_json, lines), visits)
    times = [line["time"] for line in lines]
    assert times == sorted(times)
    assert all(line["microseconds"] >= 0 for line in lines)


def test_combined_lines_agree_with_what_the_clients_got(tmp_path: Path) -> None:
    port = free_port()
    log = "{path: access.log, format: combined}"
    with apart(configuration(port, log), tmp_path, port) as daemon:
        visits = crowd(port, lambda answers: answers < EACH)
        stop(daemon)
    written = []
    for line in (tmp_path / "access.log").read_text().splitlines():
        match = COMBINED.fullmatch(line)
        assert match, line
        written.append(tuple(unescaped(field) for field in match.groups()))
    got = [as_combined(got) for visit in visits for got in visit]
    assert by_client(record for record in written if record[2] != "/") == by_client(got)


def as_combined(got: Got) -> Record:
    """What is nothing is a dash, except for a path, which is a part of a field."""
    agent, size = got.user_agent or "-", str(got.size or "-")
    return (got.client or "-", got.method, got.path, str(got.status), size, agent)


def unescaped(field: str) -> str:
    """What stands in the field of a combined line."""
    assert '"' not in field
    return re.sub(r"\\x([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), field)


@pytest.mark.parametrize(
    ("shown", "prefixes"),
    [
        ("prefix", {"127.0.1.1": "127.0.1.0", "127.0.1.2": "127.0.1.0", "127.0.3.77": "127.0.3.0"}),
        ("none", {}),
    ],
)
@pytest.mark.parametrize("layout", ["json", "combined"])
def test_no_line_tells_more_of_a_client_than_is_wanted(
    tmp_path: Path, layout: str, shown: str, prefixes: dict[str, str]
) -> None:
    """What lines say beside is the same. (No request of these holds its sender's address.)"""
    port = free_port()
    prefixes = prefixes and prefixes | {
        "127.0.4.1": "127.0.4.0",
        "::1": "::",
        "10.2.3.4": "10.2.3.0",
    }
    log = f"{{path: access.log, format: {layout}, client: {shown}}}"
    with apart(configuration(port, log), tmp_path, port) as daemon:
        visits = crowd(port, lambda answers: answers < 100)
        stop(daemon)
    got = [got._replace(client=prefixes.get(got.client or "")) for each in visits for got in each]
    if layout == "json":
        lines = logged(tmp_path / "access.log")
        assert Counter(map(from_json, lines)) == Counter(map(as_json, got))
    else:
        written = (tmp_path / "access.log").read_text().splitlines()
        clients = Counter(line.split(" ")[0] for line in written if '"GET / ' not in line)
        assert clients == Counter(got.client or "-" for got in got)
    text = (tmp_path / "access.log").read_text()
    assert not [visitor for visitor in VISITORS if f'"{visitor.known}"' in text]
    assert PROXY not in text


# Files that move.


def test_a_file_that_is_moved_under_load_loses_and_doubles_no_line(tmp_path: Path) -> None:
    """The rules are faulty at every other move: that is no reason to go on in the old file."""
    port = free_port()
    good, log = configuration(port, "{path: access.log}"), tmp_path / "access.log"
    is_over = threading.Event()
    moved: list[Path] = []
    with (
        apart(good, tmp_path, port) as daemon,
        ThreadPoolExecutor(1) as pool,
    ):
        load = pool.submit(crowd, port, lambda answers: not is_over.is_set() or answers < 100)
        try:
            for number in range(8):
                replace(daemon, good if number % 2 else "rules: []\n")
                moved.append(tmp_path / f"access.log.{number}")
                log.rename(moved[-1])
                daemon.hang_up()
                assert eventually(lambda: log.exists() and log.stat().st_size > 0)
        finally:
            is_over.set()
        visits = load.result()
        stop(daemon)
    assert daemon.log().count("the old rules stay in force") == 4
    lines = [line for file in [*moved, log] for line in logged(file)]
    assert_agreement(map(from_json, lines), visits)
    assert all(file.stat().st_size for file in moved)


def test_a_hang_up_without_a_move_goes_on_in_the_same_file(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "access.log"
    with apart(configuration(port, "{path: access.log}"), tmp_path, port) as daemon:
        for number in range(5):
            daemon.ask(f"/{number}")
            daemon.hang_up()
            assert daemon.logs("reloaded", times=number + 1)
        stop(daemon)
    assert [line["path"] for line in logged(log)] == [f"/{number}" for number in range(5)]


# When, and where.


def test_a_line_is_in_the_file_soon_and_without_another_one(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "access.log"
    with apart(configuration(port, "{path: access.log}"), tmp_path, port) as daemon:
        asked: list[str] = []
        for number in range(3):
            daemon.ask(f"/{number}")
            asked.append(f"/{number}")
            assert eventually(lambda: paths(log)[1:] == asked)


def test_a_stop_writes_what_is_left(tmp_path: Path) -> None:
    """Also of a request that is in flight when the daemon is told to stop."""
    port, log = free_port(), tmp_path / "access.log"
    text = configuration(port, "{path: access.log}").replace("limits: {", "limits: {drain: 60s, ")

    def refuses() -> bool:
        try:
            daemon.connect().close()
        except ConnectionRefusedError:
            return True
        return False

    with apart(text, tmp_path, port) as daemon, daemon.connect() as connection:
        connection.sendall(b"PUT /late HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n1")
        daemon.ask("/last")
        daemon.terminate()
        assert eventually(refuses)
        connection.sendall(b"2")
        assert connection.recv(12) == b"HTTP/1.1 404"
        connection.shutdown(socket.SHUT_RDWR)
        assert daemon.status() == 0
    assert paths(log)[-2:] == ["/last", "/late"]


def test_a_new_file_is_for_its_owner_and_group_alone(tmp_path: Path) -> None:
    """It says who has called for what."""
    port, log = free_port(), tmp_path / "access.log"
    with apart(configuration(port, "{path: access.log}"), tmp_path, port):
        assert log.stat().st_mode & 0o137 == 0


def test_a_reload_moves_the_log_to_another_place(tmp_path: Path) -> None:
    """From a file to another one, to none, to standard output, and back to the first."""
    port = free_port()
    first, second = tmp_path / "first", tmp_path / "second"
    stages = ["{path: first}", "{path: second}", "none", "stdout", "{path: first}"]
    with apart(configuration(port, stages[0]), tmp_path, port) as daemon:
        for number, log in enumerate(stages):
            if number:
                replace(daemon, configuration(port, log))
                daemon.hang_up()
                assert daemon.logs("access_log changed", times=number)
            for part in "ab":
                daemon.ask(f"/{number}{part}")
        stop(daemon)
    assert [line["path"] for line in logged(first)] == ["/0a", "/0b", "/4a", "/4b"]
    assert paths(second) == ["/1a", "/1b"]
    assert paths(tmp_path / "stdout") == ["/3a", "/3b"]


def test_a_reload_changes_how_lines_are_written_to_the_same_file(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "access.log"
    with apart(configuration(port, "{path: access.log}"), tmp_path, port) as daemon:
        daemon.ask("/before")
        replace(daemon, configuration(port, "{path: access.log, format: combined, client: none}"))
        daemon.hang_up()
        assert daemon.logs("access_log changed")
        daemon.ask("/after")
        stop(daemon)
    *_, before, after = log.read_text().splitlines()
    assert '"path":"/before"' in before
    assert re.fullmatch(r'- - - \[[^]]+\] "GET /after HTTP/1\.1" 404 \d+ "-" "-"', after)
