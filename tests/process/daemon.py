"""The daemon as a process, started as anyone starts it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from ..ports import free_port

TWISTD = Path(sys.executable).with_name("twistd")
PATIENCE = 20.0
"""How long anything may take before a test gives it up, in seconds."""


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something comes true before our patience ends."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@dataclass(frozen=True)
class Daemon:
    """A daemon that runs on `port` of this host by the configuration in `file`."""

    process: subprocess.Popen[bytes]
    port: int
    file: Path
    output: Path

    def log(self) -> str:
        """All that it has printed and logged so far."""
        return self.output.read_text()

    def logs(self, text: str, times: int = 1) -> bool:
        """Whether it comes to log a text as often as this."""
        return eventually(lambda: self.log().count(text) >= times)

    def hang_up(self) -> None:
        """Tell it to reload."""
        self.process.send_signal(signal.SIGHUP)

    def terminate(self) -> None:
        """Tell it to stop."""
        self.process.terminate()

    def status(self) -> int:
        """Its exit status, for which this waits."""
        return self.process.wait(timeout=PATIENCE)

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        """A new connection to it."""
        return socket.create_connection((host, self.port), timeout=PATIENCE)

    def ask(self, path: str, *, host: str = "127.0.0.1") -> HTTPResponse:
        """Its answer to a GET over a new connection; the body is read."""
        connection = HTTPConnection(host, self.port, timeout=PATIENCE)
        try:
            return ask(connection, path)
        finally:
            connection.close()

    def answers(self) -> bool:
        """Whether it answers."""
        try:
            self.ask("/")
        except OSError:
            return False
        return True


def ask(connection: HTTPConnection, path: str) -> HTTPResponse:
    """The answer to a GET over a connection that is kept; the body is read."""
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer


def command(file: Path) -> list[str]:
    """The command line that runs the daemon in the foreground."""
    return [str(TWISTD), "-n", "--pidfile=", "regroute", "--config", str(file)]


@contextmanager
def running(rules: str, directory: Path, *, listen: str = "port: {port}") -> Iterator[Daemon]:
    """A daemon with these rules, from when it answers until the block ends."""
    port = free_port()
    with launched(configuration(rules, port, listen=listen), directory, port) as daemon:
        yield daemon


@contextmanager
def launched(
    text: str,
    directory: Path,
    port: int,
    *,
    launcher: Sequence[str] = (),
    inherited: Sequence[int] = (),
) -> Iterator[Daemon]:
    """A daemon with a whole configuration, from when it answers on `port` until the block ends.

    `launcher` is a command that becomes the one in its arguments, and `inherited` are the
    descriptors that it gets.
    """
    file = directory / "rules.yaml"
    file.write_text(text)
    output = directory / "output"
    with output.open("wb") as written:
        process = subprocess.Popen(
            [*launcher, *command(file)],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            pass_fds=inherited,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    daemon = Daemon(process, port, file, output)
    try:
        ended_or_answers = eventually(lambda: process.poll() is not None or daemon.answers())
        assert ended_or_answers, daemon.log()
        assert process.poll() is None, daemon.log()
        yield daemon
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def configuration(rules: str, port: int, *, listen: str = "port: {port}") -> str:
    """A configuration's text: one listener and these rules."""
    return f"listen: [{{{listen.format(port=port)}}}]\n{rules}\n"
