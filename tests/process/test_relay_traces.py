"""What is left of relayed requests: nothing for others, and no memory."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from .daemon import PATIENCE, eventually
from .registries import MIB, Visit, answer_of, echo, registry
from .relays import comes_to_have, descriptors, relaying
from .talk import over, resident_bytes
from .test_relay_faults import BROKEN, CLEAN

# One client's answer is not another's.


@pytest.mark.parametrize("is_at_once", [True, False])
def test_bytes_that_a_registry_sends_unasked_are_nobodys_answer(
    tmp_path: Path, is_at_once: bool
) -> None:
    """They come with an answer or after it, in another read: there the kernel has them already."""
    choose = Random(1)
    poison = answer_of(b"poison")

    def behave(visit: Visit) -> None:
        while (request := visit.request()) is not None:
            body = request.target.encode()
            if choose.random() < 0.3:
                if not is_at_once:
                    # As much as is read at once, so that the rest is left in the kernel.
                    body = body.ljust(65_536 - len(answer_of(b"x" * 65_000)) + 65_000)
                    assert len(answer_of(body)) == 65_536
                visit.say(answer_of(body) + poison)
            else:
                visit.say(answer_of(body))

    counts = [0, 0]
    wrong: list[str] = []
    with (
        registry(behave) as bad,
        relaying(tmp_path, {"bad": bad.url}, "connections: 2") as daemon,
    ):

        def ask(number: int) -> None:
            with daemon.connect() as connected:
                client = over(connected)
                for count in range(600):
                    path = f"/v2/bad/manifests/{number}-{count}"
                    client.request("GET", path)
                    answer = client.getresponse()
                    body = answer.read().decode().rstrip(" ")
                    if (answer.status, body) != (200, path):
                        wrong.append(f"{path}: {answer.status} {body}")
                    counts[number] += 1

        threads = [threading.Thread(target=ask, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert counts == [600, 600]


# What is left of many requests.


def test_memory_does_not_grow_with_requests_whole_and_broken(tmp_path: Path) -> None:
    tables = {**{name: behave for name, (behave, _) in CLEAN.items()}, **BROKEN}
    quick = [behave for name, behave in tables.items() if "silent" not in name]
    with (
        registry(echo) as good,
        registry(echo) as bad,
        relaying(tmp_path, {"good": good.url, "bad": bad.url}) as daemon,
    ):
        pid = daemon.process.pid

        def ask_well(count: int) -> None:
            with daemon.connect() as connected:
                client = over(connected)
                for number in range(count):
                    path = f"/v2/good/manifests/{number}"
                    client.request("GET", path)
                    assert client.getresponse().read() == f"GET {path} 0".encode()

        def ask_badly(count: int) -> None:
            for number in range(count):
                bad.behave = quick[number % len(quick)]
                path = f"/v2/bad/manifests/{number}".encode()
                with daemon.connect() as connected:
                    connected.sendall(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
                    if number % 3:
                        connected.settimeout(PATIENCE)
                        with suppress(ConnectionResetError):
                            assert connected.recv(65536).startswith(b"HTTP/1.1 ")

        # What is remembered of requests is bounded, and is filled once.
        ask_well(6_000)
        ask_badly(300)
        assert eventually(lambda: bad.open == 0)
        before, open_before = resident_bytes(pid), descriptors(pid)
        ask_well(10_000)
        ask_badly(1_000)
        assert eventually(lambda: bad.open == 0)
        assert comes_to_have(pid, open_before)
        assert resident_bytes(pid) - before < 4 * MIB
