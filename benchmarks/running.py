"""A server in the course of its work: started, asked whether it does what it is to do, stopped."""

import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from itertools import product
from pathlib import Path

from .certificate import write_certificate
from .processes import family, free_ports
from .registry import MANIFEST_BODY, MANIFEST_DIGEST, TOKEN, standing_in
from .rulesets import Rules
from .servers import TWISTD, Job, Server
from .tools import ROOT, Tools
from .workloads import MANIFEST, SEALED_MANIFEST, TARGET, Setting, Workload

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
            return f"https://127.0.0.1:{self.job.tls_port}{workload.target}"
        return f"http://127.0.0.1:{self.job.port}{workload.target}"

    def token(self, target: str) -> str:
        """What a client has that asks for something relayed."""
        if not self.server.is_token_own:
            return TOKEN
        with closing(self.connection(is_tls=False)) as connection:
            repository = "/".join(target.split("/")[2:4])
            query = f"service=registry.example&scope=repository:{repository}:pull"
            connection.request("GET", f"/token?{query}")
            said = connection.getresponse().read()
        try:
            return f"{json.loads(said)['token']}"
        except (ValueError, KeyError) as error:
            raise Failed(f"its token endpoint said {said[:200]!r}") from error

    def connection(self, *, is_tls: bool) -> HTTPConnection:
        """A connection to it, which does not look at its certificate."""
        if is_tls:
            context = ssl._create_unverified_context()
            return HTTPSConnection("127.0.0.1", self.job.tls_port, timeout=5, context=context)
        return HTTPConnection("127.0.0.1", self.job.port, timeout=5)

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
        if self.job.registry is not None:
            for target, is_tls in product((MANIFEST, SEALED_MANIFEST), (False, True)):
                self._check_relayed(target, is_tls)

    def _check_relayed(self, target: str, is_tls: bool) -> None:
        with closing(self.connection(is_tls=is_tls)) as connection:
            headers = {"Authorization": f"Bearer {self.token(target)}"}
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        said = answer.status, answer.getheader("Docker-Content-Digest"), body
        if said != (200, MANIFEST_DIGEST, MANIFEST_BODY):
            raise Failed(f"it does not relay {target}: {answer.status} {body[:200]!r}")

    def _location(self, client: str, is_tls: bool) -> str:
        with closing(self.connection(is_tls=is_tls)) as connection:
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
    registry: tuple[int, int] | None
    """The ports of what is relayed to, the second for TLS, if a setting relays."""

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
        # nginx's worker, no longer root, buffers in it.
        directory.chmod(0o755)
        port, tls_port = free_ports(2)
        registry = (self.registry if setting.relays else None) or ()
        job = Job(directory, port, tls_port, rules, setting.logs, *self.certificate, *registry)
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
def starting(tools: Tools, core: int, *, relays: bool) -> Iterator[Starter]:
    """A starter with a certificate, a temporary directory, and a registry to relay to."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name, ExitStack() as stack:
        directory = Path(name)
        # A worker that has given up root's rights reads what is in it.
        directory.chmod(0o755)
        certificate = write_certificate(directory)
        registry = None
        if relays:
            standing = standing_in(tools.paths["nginx"], directory, *certificate[:2])
            registry = stack.enter_context(standing)
        yield Starter(tools, core, directory, certificate, registry)
