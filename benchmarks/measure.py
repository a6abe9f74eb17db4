"""What is measured: CPU time under load, latency under half of it, memory when idle."""

import socket
import ssl
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from . import load
from .processes import cpu_seconds, resident
from .results import Latency, Memory, Results, Sample
from .running import Failed, Running, Starter
from .servers import NGINX, Server
from .tools import Tools
from .workloads import RELAY_PATHS, TARGET, WORKLOADS, Setting, Workload

PACED = ("keepalive", "tls", "relay", "beside")
"""The workloads whose latency is measured."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long."""

    servers: Sequence[Server]
    workloads: Sequence[Workload]
    settings: Sequence[Setting]
    rounds: int
    seconds: int
    """How long each load lasts."""
    connections: int
    """How many open connections memory is measured with; a fifth of them over TLS."""

    @property
    def main(self) -> list[Setting]:
        """The settings whose latencies are measured, and which are drawn."""
        return [one for one in self.settings if one.relays or one is self.settings[0]]

    def under(self, setting: Setting) -> list[Workload]:
        """The workloads that are measured under a setting."""
        is_first = setting is self.settings[0]
        return [
            workload
            for workload in self.workloads
            if workload.relays == setting.relays and (is_first or not workload.once)
        ]


@dataclass(frozen=True)
class Measuring:
    """A run of a plan, which keeps what it finds."""

    plan: Plan
    tools: Tools
    starter: Starter
    results: Results

    def run(self) -> None:
        """All of it; a server that fails is left out of what it fails in."""
        for setting in self.plan.settings:
            for server in self._servers(setting):
                # Neither a log nor another way to accept or relay takes memory.
                if not (setting.logs or setting.relays) and server.only(setting, WORKLOADS[0]):
                    self._memory(server, setting)
        for number in range(self.plan.rounds):
            for setting in self.plan.settings:
                _tell(f"round {number + 1} of {self.plan.rounds}: {setting.title.lower()}")
                self._round(number, setting)

    def _servers(self, setting: Setting) -> list[Server]:
        return [
            server
            for server in self.plan.servers
            if any(server.only(setting, workload) for workload in self.plan.under(setting))
        ]

    def _round(self, number: int, setting: Setting) -> None:
        rules = setting.rules()
        # What is remembered of paths is remembered before it is measured.
        warming = RELAY_PATHS if setting.relays else WORKLOADS[1]
        with ExitStack() as stack:
            started: list[Running] = []
            for server in self._servers(setting):
                try:
                    running = stack.enter_context(self.starter.running(server, setting, rules))
                    load.run(self.tools, running, warming, 1)
                    started.append(running)
                except Failed as failed:
                    self._fail(setting, server, "start", failed)
            for turn, workload in enumerate(self.plan.under(setting)):
                for running in _rotated(started, number + turn):
                    if running.server.only(setting, workload):
                        self._sample(number, setting, workload, running)
            if setting in self.plan.main:
                self._latencies(number, setting, started)

    def _sample(self, number: int, setting: Setting, workload: Workload, running: Running) -> None:
        try:
            pids = running.pids()
            before = cpu_seconds(pids)
            figures = load.run(self.tools, running, workload, self.plan.seconds)
            used = cpu_seconds(running.pids()) - before
        except Failed as failed:
            self._fail(setting, running.server, workload.name, failed)
            return
        name = running.server.name
        cpu = used / figures.requests * 1e6
        self.results.samples.append(
            Sample(setting.name, workload.name, name, number, cpu, figures.rate)
        )

    def _latencies(self, number: int, setting: Setting, started: list[Running]) -> None:
        for workload in self.plan.under(setting):
            nginx = self.results.rate(setting.name, workload.name, NGINX)
            if workload.name not in PACED or nginx is None:
                continue
            for running in _rotated(started, number):
                if not running.server.only(setting, workload):
                    continue
                try:
                    figures = load.run_paced(
                        self.tools, running, workload, self.plan.seconds, nginx.middle / 2
                    )
                except Failed as failed:
                    self._fail(setting, running.server, f"{workload.name} paced", failed)
                    continue
                self.results.latencies.append(
                    Latency(
                        workload.name,
                        running.server.name,
                        number,
                        figures.rate,
                        figures.p50,
                        figures.p99,
                    )
                )

    def _memory(self, server: Server, setting: Setting) -> None:
        _tell(f"memory of {server.name}: {setting.title.lower()}")
        try:
            with self.starter.running(server, setting, setting.rules()) as running:
                memory = Memory(setting.name, server.name, resident(running.pids()))
                if setting is self.plan.settings[0]:
                    plain = _open(running, self.plan.connections, is_tls=False)
                    memory = replace(memory, plain=plain)
            if memory.plain is not None:
                # Anew, for what was freed is used again.
                with self.starter.running(server, setting, setting.rules()) as running:
                    tls = _open(running, self.plan.connections // 5, is_tls=True)
                    memory = replace(memory, tls=tls)
        except (Failed, OSError) as failed:
            self._fail(setting, server, "memory", failed)
        else:
            self.results.memories.append(memory)

    def _fail(self, setting: Setting, server: Server, what: str, failed: Exception) -> None:
        _tell(f"{server.name} failed: {failed}")
        self.results.failures.append(f"{server.name}, {what} ({setting.title.lower()}): {failed}")


def _open(running: Running, count: int, *, is_tls: bool) -> float:
    """How many bytes each of so many connections adds that has asked once and is kept open."""
    context = ssl._create_unverified_context()
    request = f"GET {TARGET} HTTP/1.1\r\nHost: registry.example\r\n\r\n".encode()
    before = resident(running.pids())
    with ExitStack() as stack:
        for _ in range(count):
            port = running.job.tls_port if is_tls else running.job.port
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            # TLS writes twice in a row; without this the request waits for an acknowledgement.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if is_tls:
                connection = context.wrap_socket(connection)
            stack.enter_context(connection)
            connection.sendall(request)
            if not connection.recv(65536).startswith(b"HTTP/1.1 302"):
                raise Failed("an open connection was not answered with 302")
        time.sleep(0.5)
        return (resident(running.pids()) - before) / count


def _rotated(running: Sequence[Running], by: int) -> list[Running]:
    by %= len(running) or 1
    return [*running[by:], *running[:by]]


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)
