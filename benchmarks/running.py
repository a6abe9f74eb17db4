"""A server in the course of its work: started, asked whether it does what it is to do, stopped."""

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

from .certificate import write_certificate
from .processes import family
from .rulesets import Rules
from .servers import TWISTD, Job, Server
from .tools import ROOT, Tools
from .workloads import TARGET, Setting, Workload

PATIENCE = 30.0
"""How long a server may take to start or stop, in seconds."""


class Failed(Exception):
    """A server did not do what it was to do."""


@dataclass(frozen=True)
class Running:
    """A server that has given the right answers."""

    server: Server
    job: Job
    process: subprocess.Popen[bytes]

    def url(self, workload: Workload) -> str:
        """What a load generator asks."""
        if workload.tls:
            return f"https://127.0.0.1:{self.job.tls_port}{TARGET}"
        return f"http://127.0.0.1:{self.job.port}{TARGET}"

    def pids(self) -> list[int]:
        """All its processes."""
        if self.process.poll() is not None:
            raise Failed(f"it ended with {self.process.returncode}: {self._said()}")
        return family(self.process.pid)

    def check(self) -> None:
        """Ask for a few clients, plain and over TLS."""
        expected = [("192.0.2.7", self.job.rules.otherwise)]
        for number, (registry, prefixes) in enumerate(self.job.rules.registries.items()):
            if number % 50 == 0:
                expected.append((prefixes[-1].partition("/")[0], registry))
        for client, registry in expected:
            for is_tls in (False, True):
                said = self._location(client, is_tls)
                if said != registry + TARGET:
                    raise Failed(f"it sends {client} to {said}, not to {registry + TARGET}")

    def _location(self, client: str, is_tls: bool) -> str:
        if is_tls:
            context = ssl._create_unverified_context()
            connection: HTTPConnection = HTTPSConnection(
                "127.0.0.1", self.job.tls_port, timeout=5, context=context
            )
        else:
            connection = HTTPConnection("127.0.0.1", self.job.port, timeout=5)
        with closing(connection):
            connection.request("GET", TARGET, headers={"X-Real-IP": client})
            answer = connection.getresponse()
            answer.read()
            return f"{answer.getheader('Location')}" if answer.status == 302 else f"{answer.status}"

    def wait(self) -> None:
        """Until it answers, and rightly."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self.pids()
            try:
                self._location("192.0.2.7", True)
                return self.check()
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Failed(f"it does not answer: {error}; {self._said()}") from error
                time.sleep(0.05)

    def stop(self) -> None:
        """End it, by force if it does not want to."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _said(self) -> str:
        return (self.job.directory / "errors").read_text(errors="replace")[-2000:]


@dataclass(frozen=True)
class Starter:
    """Starts servers on their core, in directories of their own."""

    tools: Tools
    core: int
    directory: Path
    certificate: tuple[Path, Path, Path]

    @contextmanager
    def running(self, server: Server, setting: Setting, rules: Rules) -> Iterator[Running]:
        """A server that has just been started, until the block ends."""
        running = self._start(server, setting, rules)
        try:
            running.wait()
            yield running
        finally:
            running.stop()
            shutil.rmtree(running.job.directory)

    def _start(self, server: Server, setting: Setting, rules: Rules) -> Running:
        directory = Path(tempfile.mkdtemp(prefix=server.name, dir=self.directory))
        port, tls_port = _free_ports()
        job = Job(directory, port, tls_port, rules, setting.logs, *self.certificate)
        program = TWISTD if server.program == "twistd" else self.tools.paths[server.program]
        with (
            (directory / "errors").open("wb") as errors,
            # HAProxy's access log; for the others there is nothing to print.
            job.log.open("ab") as printed,
        ):
            process = subprocess.Popen(
                ["taskset", "-c", str(self.core), *server.command(program, job)],
                cwd=directory,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=errors,
            )
        return Running(server, job, process)


@contextmanager
def starting(tools: Tools, core: int) -> Iterator[Starter]:
    """A starter with a certificate and a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        directory = Path(name)
        # A worker that has given up root's rights reads what is in it.
        directory.chmod(0o755)
        yield Starter(tools, core, directory, write_certificate(directory))


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
