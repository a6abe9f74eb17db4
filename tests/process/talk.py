"""Talking with a daemon that runs: requests on connections of one's own, and reloads."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from .daemon import PATIENCE, Daemon, eventually

GET = b"GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n"


def over(connected: socket.socket) -> HTTPConnection:
    """A client that asks over this connection, which ends with it."""
    client = HTTPConnection("h", timeout=PATIENCE)
    client.sock = connected
    return client


def answered(connected: socket.socket, path: str = "/", **fields: str) -> str | None:
    """Where a GET over this connection is sent to, in case that it is; the connection lives on."""
    client = over(connected)
    client.request("GET", path, headers={name.replace("_", "-"): fields[name] for name in fields})
    answer = client.getresponse()
    answer.read()
    assert client.sock is connected, "the connection has ended with the answer"
    return answer.getheader("Location")


def closes(connected: socket.socket) -> bool:
    """Whether the answer to a GET over this connection says that it is the last one."""
    client = over(connected)
    client.request("GET", "/")
    answer = client.getresponse()
    answer.read()
    assert answer.getheader("Location") is not None
    return answer.getheader("Connection") == "close"


def read_to_the_end(connected: socket.socket) -> bytes:
    """All that comes until the other end closes, in whatever way it does."""
    raw = b""
    try:
        while data := connected.recv(65536):
            raw += data
    except ConnectionResetError:
        pass
    return raw


def refuses(port: int, host: str = "127.0.0.1") -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def write(daemon: Daemon, text: str) -> None:
    """Give the daemon another file, in one step as deployments do."""
    new = daemon.file.with_suffix(".new")
    new.write_text(text)
    new.rename(daemon.file)


def hang_up(daemon: Daemon, word: str) -> str:
    """Send SIGHUP, wait until the log has this word, and return what is logged from then on."""
    before = len(daemon.log())
    times = daemon.log().count(word)
    daemon.hang_up()
    assert daemon.logs(word, times + 1), daemon.log()
    return daemon.log()[before:]


def reload(daemon: Daemon, text: str) -> str:
    """Let another configuration take force, and return what is logged."""
    write(daemon, text)
    return hang_up(daemon, f" reloaded {daemon.file}")


def reload_in_vain(daemon: Daemon, text: str) -> str:
    """Let a configuration be refused, and return what is logged."""
    write(daemon, text)
    return hang_up(daemon, "the old rules stay in force")


@contextmanager
def nobody_fails(
    connect: Callable[[], socket.socket], *, may_close: bool = False
) -> Iterator[None]:
    """Ask all the time, on one connection and on new ones; the block fails if a request does.

    Where the server `may_close`, a new one follows on an answer that says so.
    """
    stop = threading.Event()
    counts = {"kept": 0, "new": 0}
    failures: list[str] = []

    def run(kind: str) -> None:
        try:
            while not stop.is_set():
                with connect() as connected:
                    for _ in range(1 if kind == "new" else 1_000_000):
                        is_last = closes(connected)
                        assert may_close or not is_last
                        counts[kind] += 1
                        if is_last or stop.is_set():
                            break
        except Exception as failure:
            failures.append(f"{kind}: {failure!r}")

    threads = [threading.Thread(target=run, args=(kind,)) for kind in counts]
    for thread in threads:
        thread.start()
    try:
        yield
        enough = {kind: count + 1 for kind, count in counts.items()}
        assert eventually(
            lambda: failures != [] or all(counts[kind] >= enough[kind] for kind in counts)
        ), counts
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used."""
    _, _, fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")
    user, system = fields.split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """The memory that a process holds."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
