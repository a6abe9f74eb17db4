"""The admin listener of a daemon that runs: what it says is so, and what it may be asked."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..ports import free_port, free_ports
from ..web.answers import read_answers
from .daemon import PATIENCE, Daemon, command, eventually, launched
from .talk import over, read_to_the_end, reload, reload_in_vain, write

REGROUTE = Path(sys.executable).with_name("regroute")
RULES = "rules: [{name: one, to: 'https://one.example'}]\n"
TWO = "rules: [{name: two, to: 'https://two.example'}]\n"
FAULTY = "rules:\n  - {clinet: 10.0.0.1, to: 'https://one.example'}\n  - {to: nowhere}\n"


EXPLAINED = """\
clients: {trusted_proxies: 127.0.0.0/8}
networks: {office: [192.168.0.0/16, "2001:db8::/32"], far: 203.0.113.0/24}
registries: {hub: https://hub.example/mirror, k8s: "https://k8s.example:5000"}
rules:
  - {name: catalog, path: /v2/_catalog, deny: no, status: 404}
  - {name: api, path: [/v2, /v2/], client: office, respond: ok}
  - {name: blobs, kind: blobs, client: [office, far], to: k8s}
  - {name: latest, reference: latest, to: "https://latest.example"}
  - {name: agent, user_agent: "docker/*", host: r.example, to: hub}
  - {name: mirror, namespace: docker.io, to: hub}
  - {name: pushes, method: [PUT, POST], client: office, to: k8s, status: 307}
  - {name: about, path: /about*, location: "https://www.example/a?b&c", status: 301}
  - {name: rest, path: /v2/*, to: k8s}
"""


def text_of(port: int, admin: str, rules: str = RULES, more: str = "") -> str:
    return f"listen: [{{port: {port}}}]\nadmin: {{{admin}}}\n{more}{rules}"


class Bed:
    """A daemon with an admin listener, on a port or on ``admin.sock`` beside its file."""

    def __init__(self, daemon: Daemon, admin: int | None) -> None:
        self.daemon = daemon
        self.admin = admin
        self.socket = daemon.file.with_name("admin.sock")

    def text(self, rules: str = RULES, more: str = "") -> str:
        """A configuration that keeps both listeners."""
        where = "unix: admin.sock" if self.admin is None else f"port: {self.admin}"
        return text_of(self.daemon.port, where, rules, more)

    def connect(self) -> socket.socket:
        """A new connection to the admin listener."""
        if self.admin is not None:
            return socket.create_connection(("127.0.0.1", self.admin), timeout=PATIENCE)
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(str(self.socket))
        return client

    def ask(
        self, path: str, method: str = "GET", host: str = "127.0.0.1"
    ) -> tuple[HTTPResponse, bytes]:
        """The answer to one request, and its body."""
        with self.connect() as connected:
            client = over(connected)
            client.request(method, path, headers={"Host": host})
            answer = client.getresponse()
            return answer, answer.read()

    def line(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        answer, body = self.ask(path)
        return answer.status, body.decode()

    def json(self, path: str) -> Any:
        """A page's document."""
        answer, body = self.ask(path)
        assert answer.status == 200, body
        return json.loads(body)


@contextmanager
def administered(
    directory: Path, rules: str = RULES, more: str = "", *, is_local: bool = False
) -> Iterator[Bed]:
    port, admin = free_ports(2)
    where = "unix: admin.sock" if is_local else f"port: {admin}"
    with launched(text_of(port, where, rules, more), directory, port) as daemon:
        yield Bed(daemon, None if is_local else admin)
        assert "Traceback" not in daemon.log()


@pytest.fixture
def tcp(tmp_path: Path) -> Iterator[Bed]:
    with administered(tmp_path) as bed:
        yield bed


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[Bed]:
    with administered(tmp_path, is_local=True) as bed:
        yield bed


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A daemon for tests that leave it as it is."""
    with administered(tmp_path_factory.mktemp("explain"), EXPLAINED) as bed:
        yield bed


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [REGROUTE, *arguments], capture_output=True, text=True, timeout=PATIENCE * 3
    )


# Health.


def test_it_is_not_ready_any_more_as_soon_as_it_is_to_stop(tmp_path: Path) -> None:
    """And says so while it serves on, and while it finishes what is in flight."""
    with administered(tmp_path, more="limits: {lame_duck: 2s, drain: 60s, head: 60s}\n") as bed:
        assert bed.line("/readyz") == (200, "serving\n")
        with bed.daemon.connect() as late:
            late.sendall(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n")
            # An answer to another client shows that this has been read before.
            assert bed.daemon.answers()
            bed.daemon.terminate()
            assert eventually(lambda: bed.line("/readyz")[0] == 503)
            assert bed.line("/readyz") == (503, "stopping: send no more here\n")
            assert bed.line("/healthz") == (200, "alive\n")
            assert bed.json("/status.json")["state"] == "stopping"
            # It is a lame duck, and then it is not there any more for clients.
            assert eventually(lambda: not bed.daemon.answers())
            assert bed.line("/readyz")[0] == 503
            late.sendall(b"x")
            (answer,) = read_answers(read_to_the_end(late))
            assert answer.status == 405
        assert bed.daemon.status() == 0
    with pytest.raises(ConnectionRefusedError):
        bed.connect()


def test_a_slow_client_of_it_holds_no_stop_up(unix: Bed) -> None:
    with unix.connect() as idle, unix.connect() as slow:
        slow.sendall(b"GET /healthz HT")
        assert unix.line("/healthz") == (200, "alive\n")
        unix.daemon.terminate()
        assert unix.daemon.status() == 0
        assert idle.recv(1) == b""
    assert not unix.socket.exists()


def test_many_that_hold_connections_keep_nobody_out(tcp: Bed) -> None:
    held = [tcp.connect() for _ in range(200)]
    for each in held:
        each.sendall(b"GET /healthz HTTP/1.1\r\n")
    assert tcp.line("/readyz") == (200, "serving\n")
    for each in held:
        each.close()


def test_the_status_tells_what_runs(tcp: Bed) -> None:
    with tcp.daemon.connect() as client:
        client.sendall(b"GET ")
        assert eventually(lambda: tcp.json("/status.json")["connections"] == 1)
    told = tcp.json("/status.json")
    assert (told["pid"], told["state"]) == (tcp.daemon.process.pid, "serving")
    assert told["listeners"][0]["port"] == tcp.daemon.port
    assert told["last_reload"] is None
    digest = told["configuration"]["sha256"]
    told_by_others = subprocess.run(
        ["sha256sum", tcp.daemon.file], capture_output=True, text=True, check=True
    ).stdout
    assert told_by_others.startswith(digest)
    reload_in_vain(tcp.daemon, tcp.text(FAULTY))
    told = tcp.json("/status.json")
    assert told["configuration"]["sha256"] == digest
    assert told["last_reload"]["result"] == "failed"
    assert [fault["line"] for fault in told["last_reload"]["faults"]] == [4, 5]
    reload(tcp.daemon, tcp.text(TWO))
    told = tcp.json("/status.json")
    assert told["configuration"]["sha256"] != digest
    assert told["last_reload"]["result"] == "reloaded"


def test_metrics_are_there(lasting: Bed) -> None:
    answer, body = lasting.ask("/metrics")
    assert answer.status == 200
    assert b"regroute_build_info{" in body


def test_nothing_of_it_is_on_a_listener_for_clients(tcp: Bed) -> None:
    for page in ("/healthz", "/readyz", "/metrics", "/explain?path=/", "/status.json", "/reload"):
        assert tcp.daemon.ask(page).getheader("Location") == f"https://one.example{page}"


def test_its_own_connections_are_not_counted_with_those_of_clients(lasting: Bed) -> None:
    with lasting.connect():
        assert eventually(lambda: lasting.json("/status.json")["connections"] == 0)


# Hosts.


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("[::1]:{port}", 200),
        ("evil.example:{port}", 421),
        ("localhost.evil.example", 421),
    ],
)
def test_a_page_that_has_rebound_its_name_reads_nothing(
    lasting: Bed, host: str, status: int
) -> None:
    for page in ("/status.json", "/explain?path=/"):
        answer, body = lasting.ask(page, host=host.format(port=lasting.admin))
        assert answer.status == status
        assert answer.getheader("Access-Control-Allow-Origin") is None
        assert (len(body) > 100) == (status == 200), body


@pytest.mark.parametrize(
    "fields", [b"", b"Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n"], ids=["none", "two"]
)
def test_a_request_has_one_host(lasting: Bed, fields: bytes) -> None:
    with lasting.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n" + fields + b"\r\n")
        (answer,) = read_answers(read_to_the_end(client))
    assert answer.status == 400


def test_nothing_is_changed_over_tcp(tcp: Bed) -> None:
    write(tcp.daemon, tcp.text(TWO))
    answer, _ = tcp.ask("/reload", "POST")
    assert answer.status == 403
    assert tcp.daemon.ask("/").getheader("Location") == "https://one.example/"


# Reloads.


def test_the_command_reloads_and_tells_what_has_changed(unix: Bed) -> None:
    write(unix.daemon, unix.text(TWO))
    done = run("reload", unix.daemon.file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{unix.daemon.file}: reloaded: rule two added, rule one removed\n"
    assert unix.daemon.ask("/").getheader("Location") == "https://two.example/"
    assert "reloaded" in unix.daemon.log()


@pytest.mark.parametrize("ending", ["", "foo: [\n"], ids=["YAML", "no YAML"])
def test_the_command_prints_faults_as_check_does(unix: Bed, ending: str) -> None:
    write(unix.daemon, unix.text(FAULTY) + ending)
    done, checked = run("reload", unix.daemon.file), run("check", unix.daemon.file)
    assert (done.returncode, done.stdout) == (1, checked.stdout)
    assert done.stdout.startswith(f"{unix.daemon.file}:")
    assert done.stderr.endswith("the old rules stay in force\n")
    assert unix.daemon.ask("/").getheader("Location") == "https://one.example/"


def test_the_command_says_when_there_is_no_daemon(unix: Bed) -> None:
    unix.daemon.terminate()
    assert unix.daemon.status() == 0
    done = run("reload", unix.daemon.file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"no daemon listens on {unix.socket}: ")


def test_whoever_asks_sees_his_own_change(unix: Bed) -> None:
    """Many at once, each of whom has changed the file before he asked."""
    failures: list[object] = []
    lock = threading.Lock()
    newest = 0

    def ask() -> None:
        nonlocal newest
        for _ in range(5):
            with lock:
                newest += 1
                mine = newest
                rules = f"rules: [{{name: n, to: 'https://n{mine}.example'}}]\n"
                write(unix.daemon, unix.text(rules))
            answer, body = unix.ask("/reload", "POST")
            location = unix.daemon.ask("/").getheader("Location") or ""
            seen = int("".join(filter(str.isdigit, location)))
            if answer.status != 200 or seen < mine:
                failures.append((answer.status, body, mine, seen))

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert failures == []


def test_a_reload_that_moves_the_admin_listener_is_still_answered(unix: Bed) -> None:
    port = free_port()
    write(unix.daemon, text_of(unix.daemon.port, f"port: {port}"))
    done = run("reload", unix.daemon.file, "--socket", unix.socket)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("reloaded: admin changed\n")
    assert eventually(lambda: not unix.socket.exists())
    assert Bed(unix.daemon, port).line("/readyz") == (200, "serving\n")


def test_a_place_that_is_taken_is_a_fault_of_the_reload(unix: Bed) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        write(unix.daemon, text_of(unix.daemon.port, f"port: {port}", TWO))
        done = run("reload", unix.daemon.file, "--socket", unix.socket)
    assert (done.returncode, done.stdout) == (
        1,
        f"{unix.daemon.file}:2:15: cannot listen: 127.0.0.1 port {port}: Address already in use\n",
    )
    assert unix.line("/readyz") == (200, "serving\n")
    assert unix.daemon.ask("/").getheader("Location") == "https://one.example/"


def test_a_place_that_is_taken_ends_the_start_with_the_place_of_the_fault(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    (tmp_path / "admin.sock").write_text("mine")
    file.write_text(text_of(free_port(), "unix: admin.sock"))
    ended = subprocess.run(
        command(file), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
    )
    assert ended.returncode == 1
    assert f"{file}:2:15: cannot listen: Address already in use" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


# Explanations.

PIECES = [
    *("v2", "a", "library", "manifests", "blobs", "latest", "tags", "list", "_catalog", "about"),
    *("..", "", "%5fcatalog", "%2F", "%2e%2e", "sha256:" + "0" * 64, "%zz", "+", "é", "&=;#"),
]
PATHS = st.builds(
    lambda pieces, query: "/" + "/".join(pieces) + query,
    st.lists(st.sampled_from(PIECES), max_size=5).map(lambda pieces: ["v2", *pieces])
    | st.lists(st.sampled_from(PIECES), max_size=3),
    st.sampled_from(["", "?ns=docker.io", "?n=1&last=a%20b", "?x=<\\>&y"]),
)
CLIENTS = [
    *("192.168.0.7", "203.0.113.5", "8.8.8.8"),
    *("2001:db8::1", "2001:db9::1", "::ffff:192.168.1.1"),
]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    path=PATHS,
    client=st.sampled_from(CLIENTS),
    method=st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST"]),
    host=st.sampled_from(["r.example", "R.Example:443", "other.example", "[::1]"]),
    agent=st.sampled_from(["docker/20.10 (a; b)", "curl/8", ""]),
)
def test_what_it_explains_is_what_the_daemon_answers(
    lasting: Bed, path: str, client: str, method: str, host: str, agent: str
) -> None:
    query = urlencode(
        {"path": path, "client": client, "method": method, "host": host, "user_agent": agent}
    )
    told = lasting.json(f"/explain?{query}")
    with lasting.daemon.connect() as connected:
        fields = [f"Host: {host}", f"X-Real-IP: {client}", "Connection: close"]
        fields += [f"User-Agent: {agent}"] if agent else []
        request = "\r\n".join([f"{method} {path} HTTP/1.1", *fields, "", ""])
        connected.sendall(request.encode())
        (answer,) = read_answers(read_to_the_end(connected), [method.encode()])
    location = answer.field(b"location")
    assert (told["status"], told["location"]) == (answer.status, location and location.decode())
    for name, value in told["headers"].items():
        assert answer.field(name.lower().encode()) == value.encode()


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/v2/", {"client": "192.168.0.7"}),
        ("/v2/a/blobs/sha256:" + "0" * 64, {"client": "203.0.113.5", "method": "HEAD"}),
        ("/v2/a/manifests/1?ns=docker.io", {"client": "::ffff:8.8.8.8"}),
        ("/v2/é b", {"client": "8.8.8.8", "host": "a b"}),
        ("/v2/a/b", {"client": "2001:db8::1", "host": "r.example", "user_agent": "docker/é"}),
        ("/v2/a", {"client": "8.8.8.8", "method": "PUT"}),
    ],
)
def test_the_command_explains_the_same(lasting: Bed, path: str, options: dict[str, str]) -> None:
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    done = run("explain", lasting.daemon.file, "--json", *arguments, path)
    _, body = lasting.ask(f"/explain?{urlencode({'path': path, **options})}")
    assert body.decode() == done.stdout
