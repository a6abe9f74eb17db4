"""Credentials before a daemon that runs: what is refused, and what the log says of it."""

from __future__ import annotations

import json
import os
import signal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from ..ports import free_port, free_ports
from .daemon import PATIENCE, eventually, launched
from .registries import Visit, answer_of, registry
from .relays import configuration, relaying
from .talk import read_to_the_end, reload
from .test_workers import workers_of

UNAUTHORIZED = "401 Unauthorized\r\nWWW-Authenticate: "
ACCOUNT = "auth: {username: bot, password_file: pw}"
TRICKLE = "auth: anonymous, connect: 500ms, idle: 500ms"
SECRET = "s3cret-of-the-bot"


def test_an_account_that_the_registry_refuses_is_tried_once_and_told(tmp_path: Path) -> None:
    """Clients can do nothing about it: they are not asked to log in."""
    tried: list[str] = []

    def behave(visit: Visit) -> None:
        while (request := visit.request()) is not None:
            if (authorization := request.field("authorization")) is not None:
                tried.append(authorization)
            visit.say(answer_of(b"", UNAUTHORIZED + 'Basic realm="r"'))

    (tmp_path / "pw").write_text(SECRET + "\n")
    port = free_port()
    with registry(behave) as there:
        text = configuration(port, {"r": there.url}, ACCOUNT, "", "", "own")
        # An account is for clients that are named.
        text = text.replace("{path: ['/v2/r/*'", "{client: 127.0.0.0/8, path: ['/v2/r/*'")
        with launched(text, tmp_path, port) as daemon:
            answer = daemon.ask("/v2/r/manifests/1")
            assert (answer.status, answer.getheader("WWW-Authenticate")) == (502, None)
            assert len(tried) == 1
            assert daemon.logs("the registry 'r' does not accept the account it is asked with")
            assert SECRET not in daemon.log()
            assert tried[0].removeprefix("Basic ") not in daemon.log()


@pytest.mark.parametrize("terms", ["", "auth: anonymous"])
def test_a_realm_that_makes_no_sense_is_in_the_log(tmp_path: Path, terms: str) -> None:
    def behave(visit: Visit) -> None:
        while (request := visit.request()) is not None:
            if request.target.startswith("/v2/"):
                realm = f"http://{request.field('host')}/realm"
                visit.say(answer_of(b"", f'{UNAUTHORIZED}Bearer realm="{realm}"'))
            else:
                visit.say(answer_of(b"<html>"))

    path = "/v2/r/manifests/1" if terms else "/token?scope=repository:r:pull"
    with (
        registry(behave) as there,
        relaying(tmp_path, {"r": there.url}, terms, "", "", "own") as daemon,
    ):
        assert daemon.ask(path).status == 502
        assert daemon.logs("no answer from r (")
        assert "the realm of 'r' answers something else than JSON" in daemon.log()


def test_a_realm_that_trickles_holds_nobody_for_longer_than_a_silent_one(tmp_path: Path) -> None:
    """Its bytes are no answer, and all who need the same token wait for it."""

    def behave(visit: Visit) -> None:
        request = visit.request()
        if request is not None and request.target.startswith("/v2/"):
            realm = f"http://{request.field('host')}/realm"
            visit.say(answer_of(b"", f'{UNAUTHORIZED}Bearer realm="{realm}"'))
        elif request is not None:
            visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not visit.is_left(0.1):
                visit.say(b" ")

    with (
        registry(behave) as there,
        relaying(tmp_path, {"r": there.url}, TRICKLE, "", "", "own") as daemon,
    ):
        assert daemon.ask("/v2/r/manifests/1").status == 504
        assert eventually(lambda: there.open == 0)
        assert daemon.logs("it takes too long to answer")


def test_the_realm_has_the_host_of_an_absolute_target(tmp_path: Path) -> None:
    """RFC 9112 §3.2.2: the Host beside it does not count."""

    def behave(visit: Visit) -> None:
        while visit.request() is not None:
            visit.say(answer_of(b"", UNAUTHORIZED + 'Basic realm="r"'))

    with (
        registry(behave) as there,
        relaying(tmp_path, {"r": there.url}, "", "", "", "own") as daemon,
    ):
        for head, realm in [
            (
                b"GET http://front.example:81/v2/r/manifests/1 HTTP/1.1\r\nHost: h.example\r\n",
                b"http://front.example:81/token",
            ),
            (b"GET /v2/r/manifests/1 HTTP/1.1\r\nHost: h.example\r\n", b"http://h.example/token"),
            (b"GET /v2/r/manifests/1 HTTP/1.0\r\nHost: h.example\r\n", b"http://h.example/token"),
        ]:
            with daemon.connect() as connected:
                connected.sendall(head + b"Connection: close\r\n\r\n")
                assert b'realm="%b"' % realm in read_to_the_end(connected)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_admin_listener_tells_of_registries_that_are_known_to_be_open(
    tmp_path: Path, workers: int
) -> None:
    """Each worker learns it for itself, and so does the one that takes a killed one's place."""

    def behave(visit: Visit) -> None:
        while visit.request() is not None:
            visit.say(answer_of(b"{}"))

    port, admin = free_ports(2)
    with registry(behave) as there:

        def text(mode: str) -> str:
            return (
                f"listen: [{{port: {port}}}]\nworkers: {workers}\nadmin: {{port: {admin}}}\n"
                f"registries: {{r: {{url: '{there.url}', mode: {mode}}}}}\nrules: [{{to: r}}]\n"
            )

        def opened() -> list[str]:
            found: list[str] = _told(admin, "/status.json")["open"]
            return found

        def explained() -> int | None:
            status: int | None = _told(admin, "/explain?path=/v2/a/manifests/1")["status"]
            return status

        with launched(text("auto"), tmp_path, port) as daemon:
            assert eventually(lambda: opened() == [there.url])
            assert explained() == 302
            if workers == 2:
                os.kill(workers_of(daemon.process.pid)[0], signal.SIGKILL)
                assert daemon.logs("serves again")
                assert eventually(lambda: opened() == [there.url])
            reload(daemon, text("relay"))
            assert eventually(lambda: opened() == [])
            assert explained() is None


def _told(admin: int, page: str) -> dict[str, Any]:
    client = HTTPConnection("127.0.0.1", admin, timeout=PATIENCE)
    client.request("GET", page)
    told: dict[str, Any] = json.loads(client.getresponse().read())
    client.close()
    return told
