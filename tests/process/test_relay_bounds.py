"""Relays at their bounds, and what is logged of them."""

from __future__ import annotations

import json
import resource
from contextlib import ExitStack, suppress
from pathlib import Path

from ..ports import free_port
from .daemon import eventually, launched
from .registries import Visit, answer_of, registry
from .relays import ELSEWHERE, comes_to_have, configuration, descriptors, relaying
from .talk import answered, hang_up, read_to_the_end, write
from .test_relay_life import GET, PATH, Gate, Stream, gate

__all__ = ["gate"]  # a fixture


# Bounds.


def test_who_is_one_too_many_is_told(tmp_path: Path, gate: Gate) -> None:
    with (
        registry(gate) as there,
        relaying(tmp_path, {"r": there.url}, "connections: 2, connect: 500ms") as daemon,
        ExitStack() as stack,
    ):
        streams = [Stream(stack.enter_context(daemon.connect())) for _ in range(2)]
        answer = daemon.ask(PATH)
        assert answer.status == 503
        assert there.open == 2
        gate.go_on.set()
        for each in streams:
            each.finish()
        assert daemon.ask(PATH).status == 200
        assert there.accepted <= 3


def sockets(pid: int) -> int:
    """How many sockets a process has open."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            count += str(link.readlink()).startswith("socket:")
    return count


def test_where_descriptors_are_gone_relays_fail_and_come_back(tmp_path: Path, gate: Gate) -> None:
    with (
        registry(gate) as there,
        relaying(tmp_path, {"r": there.url}) as daemon,
        ExitStack() as stack,
    ):
        pid = daemon.process.pid
        clients = [stack.enter_context(daemon.connect()) for _ in range(20)]
        for client in clients:
            assert answered(client) == f"{ELSEWHERE}/"
        # Who asked last whether it has started has left.
        assert eventually(lambda: sockets(pid) == len(clients) + 1)
        before = descriptors(pid)
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (before + 5, hard))
        for client in clients:
            client.sendall(GET)
        refused = [client for client in clients if client.recv(12) == b"HTTP/1.1 502"]
        assert len(refused) == 15
        gate.go_on.set()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        assert b"cannot connect: too many open files" in refused[0].recv(65536)
        assert eventually(lambda: descriptors(pid) == before + 5)
        assert daemon.ask(PATH).status == 200


def test_a_relay_to_itself_has_an_end(tmp_path: Path) -> None:
    port = free_port()
    text = configuration(port, {"r": f"http://127.0.0.1:{port}"})
    with launched(text, tmp_path, port) as daemon:
        daemon.ask("/")
        for _ in range(50):
            answer = daemon.ask(PATH)
            assert answer.status == 502
        assert comes_to_have(daemon.process.pid, 40)


# What is logged.


def test_credentials_are_in_nothing_that_is_logged(tmp_path: Path) -> None:
    """Whatever becomes of the request that carries them."""
    secret = "c2VjcmV0OnNlY3JldA"

    def behave(visit: Visit) -> None:
        request = visit.request()
        if request is None or "closes" in request.target:
            return
        if "nonsense" in request.target:
            visit.say(b"nonsense\r\n\r\n")
        elif "breaks" in request.target:
            visit.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n")
        elif "silent" in request.target:
            visit.wait_for_end()
        else:
            visit.say(answer_of(b"no", "401 Unauthorized"))

    ends = ["closes", "nonsense", "breaks", "silent", "fine", "broken", "left"]
    with registry(behave) as there:
        names = {"r": there.url, "gone": f"http://127.0.0.1:{free_port()}"}
        log = tmp_path / "access.jsonl"
        more = f"access_log: {{path: {log}, format: json}}"
        with relaying(tmp_path, names, "idle: 1s", more=more) as daemon:
            for end in ends:
                for name in names:
                    with daemon.connect() as connected:
                        method, rest = "GET", ""
                        if end == "broken":
                            method, rest = "PUT", "Transfer-Encoding: chunked\r\n"
                        connected.sendall(
                            f"{method} /v2/{name}/manifests/{end} HTTP/1.1\r\nHost: h\r\n"
                            f"Authorization: Basic {secret}\r\n"
                            f"Cookie: session={secret}\r\n"
                            f"Proxy-Authorization: Basic {secret}\r\n"
                            f"Connection: close\r\n{rest}\r\n".encode()
                        )
                        if end == "broken":
                            connected.sendall(b"nonsense\r\n")
                        if end == "left":
                            continue
                        read_to_the_end(connected)
            assert eventually(lambda: log.read_text().count("\n") >= len(ends) * len(names))
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            statuses = {(line["path"].rsplit("/")[-1], line["status"]) for line in lines}
            assert {("closes", 502), ("silent", 504), ("breaks", 502), ("broken", 400)} < statuses
            assert "gives no answer" not in log.read_text()
            assert daemon.logs("cannot connect")
            assert secret not in daemon.log() + log.read_text()
            write(daemon, "nonsense")
            hang_up(daemon, "the old rules stay in force")
            assert secret not in daemon.log()
