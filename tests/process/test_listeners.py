"""Where the daemon listens, and what SIGHUP changes of it while clients on other listeners ask."""

import socket
import ssl
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from ..issuers import new_root, pem, pem_key
from ..ports import free_port
from ..web.answers import read_answers
from ..web.handshakes import trust
from ..web.proxy_headers import v2
from .daemon import PATIENCE, Daemon, eventually, launched
from .talk import GET, answered, nobody_fails, read_to_the_end, refuses, reload, reload_in_vain

OFFICE, HOME = "https://office.example/", "https://home.example/"
RULES = (
    "access_log: none\n"
    "clients: {trusted_proxies: [127.0.0.1, 10.0.0.1]}\n"
    "rules:\n"
    "  - {client: 192.168.0.1, to: 'https://office.example'}\n"
    "  - {to: 'https://home.example'}\n"
)
PROXY_LINE = b"PROXY TCP4 192.168.0.1 192.0.2.9 56324 443\r\n"
TLS = "tls: {certificates: [{certificate: one.pem, key: one.key}]}"
ROOT = new_root()


def put_certificate(directory: Path) -> None:
    """Write the files that the listeners with TLS name."""
    certificate = ROOT.issue("one.example")
    (directory / "one.pem").write_bytes(pem(*certificate.chain))
    (directory / "one.key").write_bytes(pem_key(certificate.key))


class Bed:
    """A daemon with a listener that stays, and some that come and go."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def listen(self, *listeners: str) -> str:
        """Let these listeners take force, and return what is logged."""
        return reload(self.daemon, configuration(self.daemon.port, *listeners))

    def listen_in_vain(self, *listeners: str) -> str:
        """Let these listeners be refused, and return what is logged."""
        return reload_in_vain(self.daemon, configuration(self.daemon.port, *listeners))


def configuration(port: int, *listeners: str) -> str:
    lines = "".join(f"  - {{{listener}}}\n" for listener in (f"port: {port}", *listeners))
    return f"listen:\n{lines}{RULES}"


def connect(port: int, host: str = "127.0.0.1", *, source: str = "") -> socket.socket:
    address = (source, 0) if source else None
    return socket.create_connection((host, port), timeout=PATIENCE, source_address=address)


def soon_refuses(port: int, host: str = "127.0.0.1") -> bool:
    """Whether nobody listens there any more: one who leaves goes on for a moment."""
    return eventually(lambda: refuses(port, host))


def asks(port: int, host: str = "127.0.0.1", header: bytes = b"", **fields: str) -> str | None:
    """Where one request on a connection of its own is sent to."""
    with connect(port, host) as client:
        client.sendall(header)
        return answered(client, **fields)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    put_certificate(tmp_path)
    port = free_port()
    with launched(configuration(port), tmp_path, port) as daemon:
        yield Bed(daemon)
        assert "Traceback" not in daemon.log()


# Listeners that come, move and go.


def test_listeners_come_move_and_go_while_others_ask_without_a_break(bed: Bed) -> None:
    one, two = free_port(), free_port()
    with nobody_fails(bed.daemon.connect):
        for _ in range(3):
            assert soon_refuses(one)
            assert bed.listen(f"port: {one}").rstrip().endswith("listen changed")
            with connect(one) as old:
                assert answered(old) == HOME
                bed.listen(f"port: {two}")
                assert soon_refuses(one)
                assert asks(two) == HOME
                bed.listen()
                assert soon_refuses(two)
                # Who has come in by a listener that has gone is still served.
                assert answered(old) == HOME


@pytest.mark.parametrize(
    ("hosts", "reached"),
    [
        pytest.param(["127.0.0.1", "127.0.0.2"], ["127.0.0.2"], id="one to another"),
        pytest.param(["127.0.0.1", ""], ["127.0.0.1", "127.0.0.2", "::1"], id="one to all"),
        pytest.param(["", "127.0.0.2"], ["127.0.0.2"], id="all to one"),
        pytest.param(["0.0.0.0", ""], ["127.0.0.1", "127.0.0.2", "::1"], id="IPv4 to all"),
        pytest.param(["", "0.0.0.0"], ["127.0.0.1", "127.0.0.2"], id="all to IPv4"),
        pytest.param(["::1", "::"], ["127.0.0.1", "127.0.0.2", "::1"], id="one to all of IPv6"),
    ],
)
def test_a_listener_moves_to_another_host_on_the_same_port(
    bed: Bed, hosts: Sequence[str], reached: Sequence[str]
) -> None:
    port = free_port()
    with nobody_fails(bed.daemon.connect):
        for host in hosts:
            bed.listen(f"port: {port}" + (f", host: '{host}'" if host else ""))
        for host in {"127.0.0.1", "127.0.0.2", "::1"} - set(reached):
            assert soon_refuses(port, host)
        assert [asks(port, host) for host in reached] == [HOME] * len(reached)


def test_no_new_connection_is_refused_while_its_own_listener_moves_to_another_host(
    bed: Bed,
) -> None:
    port = free_port()
    bed.listen(f"port: {port}")
    with nobody_fails(lambda: connect(port)):
        for _ in range(10):
            bed.listen(f"port: {port}, host: 127.0.0.1")
            bed.listen(f"port: {port}")


def test_a_taken_port_is_a_fault_and_changes_nothing(bed: Bed) -> None:
    kept, new = free_port(), free_port()
    bed.listen(f"port: {kept}")
    with (
        nobody_fails(lambda: connect(kept)),
        nobody_fails(bed.daemon.connect),
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        port = taken.getsockname()[1]
        (bed.daemon.file.parent / "file").write_text("no socket")
        logged = bed.listen_in_vain(
            f"port: {new}",
            f"port: {port}, host: 127.0.0.1",
            f"port: {port}, host: 192.0.2.1",
            f"unix: {bed.daemon.file.parent / 'file'}",
            "socket: https",
        )
        faults = [line.partition("] ")[2] for line in logged.splitlines()]
        file = bed.daemon.file
        assert faults == [
            f"{file}:4:5: cannot listen: 127.0.0.1 port {port}: Address already in use",
            f"{file}:5:5: cannot listen: 192.0.2.1 port {port}: Cannot assign requested address",
            f"{file}:6:5: cannot listen: Address already in use",
            f"{file}:7:5: cannot listen: systemd passed no socket of this name, but none at all",
            f"{file} is not reloaded: the old rules stay in force",
        ]
        # The one that could be opened is not, and what was to go is still there.
        assert soon_refuses(new)
        assert asks(kept) == HOME
    # Once the port is free it is there for the taking.
    bed.listen(f"port: {port}, host: 127.0.0.1")
    assert asks(port) == HOME
    assert soon_refuses(kept)


# Unix sockets.


def unix(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    client.connect(str(path))
    return client


def test_a_unix_socket_believes_its_peers_and_comes_and_goes(bed: Bed, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with nobody_fails(bed.daemon.connect):
        bed.listen(f"unix: {path}")
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        with unix(path) as client:
            assert answered(client, x_real_ip="192.168.0.1") == OFFICE
            assert answered(client, x_real_ip="192.168.0.2") == HOME
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX-Real-IP: unknown\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 400 ")
        with unix(path) as client:
            assert answered(client) == HOME
            bed.listen()
            assert not path.exists()
            assert answered(client, x_real_ip="192.168.0.1") == OFFICE


def test_a_unix_socket_left_by_a_killed_daemon_is_replaced_and_one_that_ends_takes_its_own(
    bed: Bed, tmp_path: Path
) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    bed.listen(f"unix: {path}")
    with unix(path) as client:
        assert answered(client, x_real_ip="192.168.0.1") == OFFICE
    bed.daemon.terminate()
    assert bed.daemon.status() == 0
    assert not path.exists()


def test_a_unix_socket_speaks_tls_and_proxy_too(bed: Bed, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    bed.listen(f"unix: {path}, proxy_protocol: true, {TLS}")
    plain = unix(path)
    plain.sendall(PROXY_LINE)
    with trust(ROOT).wrap_socket(plain) as client:
        assert answered(client) == OFFICE


# TLS and PROXY switched on and off.


def over_tls(port: int, header: bytes = b"", **fields: str) -> str | None:
    """Where one request over TLS is sent to, with something before the handshake."""
    plain = connect(port)
    plain.sendall(header)
    with trust(ROOT).wrap_socket(plain) as client:
        return answered(client, **fields)


def test_tls_is_switched_on_and_off_on_the_same_port(bed: Bed) -> None:
    port = free_port()
    with nobody_fails(bed.daemon.connect), ExitStack() as stack:
        bed.listen(f"port: {port}")
        plain = stack.enter_context(connect(port))
        assert answered(plain) == HOME
        bed.listen(f"port: {port}, {TLS}")
        assert over_tls(port) == HOME
        secure = stack.enter_context(trust(ROOT).wrap_socket(connect(port)))
        with connect(port) as client:
            client.sendall(GET)
            assert b"HTTP" not in read_to_the_end(client)
        bed.listen(f"port: {port}")
        assert asks(port) == HOME
        with pytest.raises(ssl.SSLError):
            over_tls(port)
        # Connections go on as they began.
        assert answered(plain) == answered(secure) == HOME


def test_proxy_is_switched_on_and_off_on_the_same_port(bed: Bed) -> None:
    port = free_port()
    with nobody_fails(bed.daemon.connect), ExitStack() as stack:
        bed.listen(f"port: {port}")
        bare = stack.enter_context(connect(port))
        assert answered(bare) == HOME
        bed.listen(f"port: {port}, proxy_protocol: true")
        announced = stack.enter_context(connect(port))
        announced.sendall(PROXY_LINE)
        assert answered(announced) == OFFICE
        with connect(port) as client:
            client.sendall(GET)
            assert read_to_the_end(client) == b""
        with connect(port) as silent:
            silent.sendall(PROXY_LINE[:9])
            # Once a later one is answered, it has been accepted.
            assert asks(port, header=PROXY_LINE) == OFFICE
            bed.listen(f"port: {port}")
            assert asks(port) == HOME
            assert answered(bare) == HOME
            assert answered(announced) == OFFICE
            silent.sendall(PROXY_LINE[9:])
            assert answered(silent) == OFFICE


# Who is calling.


def inet(source: str) -> bytes:
    return v2(IPv4Address(source).packed + bytes([192, 0, 2, 9]) + b"\xdc\x04\x01\xbb")


ANNOUNCED = [
    pytest.param(PROXY_LINE, {}, OFFICE, id="v1"),
    pytest.param(inet("192.168.0.1"), {}, OFFICE, id="v2"),
    pytest.param(inet("192.168.0.2"), {}, HOME, id="v2, another client"),
    pytest.param(inet("192.168.0.1"), {"x_real_ip": "192.168.0.2"}, OFFICE, id="v2, a liar"),
    pytest.param(inet("192.168.0.2"), {"x_real_ip": "192.168.0.1"}, HOME, id="v2, another liar"),
    pytest.param(inet("10.0.0.1"), {"x_real_ip": "192.168.0.1"}, OFFICE, id="v2, a proxy's proxy"),
    pytest.param(
        PROXY_LINE.replace(b"192.168.0.1", b"10.0.0.1"),
        {"x_real_ip": "192.168.0.1"},
        OFFICE,
        id="v1, a proxy's proxy",
    ),
    pytest.param(b"PROXY UNKNOWN\r\n", {}, HOME, id="UNKNOWN"),
    pytest.param(b"PROXY UNKNOWN\r\n", {"x_real_ip": "192.168.0.1"}, OFFICE, id="UNKNOWN, a field"),
    pytest.param(
        v2(b"", command=0x20, family=0), {"x_real_ip": "192.168.0.1"}, OFFICE, id="LOCAL, a field"
    ),
]


@pytest.fixture(scope="module")
def announced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Ports where a PROXY header comes first: for plain HTTP, and for TLS."""
    directory = tmp_path_factory.mktemp("announced")
    put_certificate(directory)
    port, plain, secure = free_port(), free_port(), free_port()
    listeners = [
        f"port: {plain}, proxy_protocol: true",
        f"port: {secure}, proxy_protocol: true, {TLS}",
    ]
    with launched(configuration(port, *listeners), directory, port) as daemon:
        yield plain, secure
        assert "Traceback" not in daemon.log()


@pytest.mark.parametrize(("header", "fields", "sent_to"), ANNOUNCED)
def test_proxy_decides_the_rule_and_fields_are_judged_after_it(
    announced: tuple[int, int], header: bytes, fields: dict[str, str], sent_to: str
) -> None:
    plain, secure = announced
    assert asks(plain, header=header, **fields) == sent_to
    assert over_tls(secure, header, **fields) == sent_to
    with connect(plain) as client:
        for byte in header:
            client.sendall(bytes([byte]))
        assert [answered(client, **fields) for _ in range(2)] == [sent_to] * 2


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(PROXY_LINE + GET, id="v1"),
        pytest.param(inet("192.168.0.1") + GET, id="v2"),
        pytest.param(GET, id="HTTP"),
    ],
)
def test_a_stranger_is_closed_without_an_answer(announced: tuple[int, int], first: bytes) -> None:
    for port in announced:
        with connect(port, source="127.0.0.2") as stranger:
            with suppress(OSError):  # it may be closed already
                stranger.sendall(first)
            assert read_to_the_end(stranger) == b""


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(GET, id="HTTP"),
        pytest.param(b"PROXY TCP4 192.168.0.1 192.0.2.9 56324 443" + b" " * 100, id="too long"),
        pytest.param(b"PROXY TCP4 192.168.0.1 192.0.2.9 56324 99999\r\n" + GET, id="a wrong port"),
        pytest.param(b"PROXY TCP4 ::1 ::1 1 2\r\n" + GET, id="a wrong family"),
        pytest.param(inet("192.168.0.1").replace(b"!", b"1", 1) + GET, id="v2 of another version"),
        pytest.param(bytes(200), id="zeros"),
        pytest.param(b"\x16\x03\x01" + bytes(200), id="TLS"),
    ],
)
def test_what_is_no_proxy_header_is_closed_without_an_answer(
    announced: tuple[int, int], first: bytes
) -> None:
    for port in announced:
        with connect(port) as client:
            client.sendall(first)
            assert read_to_the_end(client) == b""
        assert asks(announced[0], header=PROXY_LINE) == OFFICE


# Sockets that systemd has opened.


@contextmanager
def activated(directory: Path, text: str, port: int, **passed: socket.socket) -> Iterator[Daemon]:
    """A daemon that is passed these sockets by their names, as systemd does."""
    named = [f"{name}={each.fileno()}" for name, each in passed.items()]
    launcher = [sys.executable, str(Path(__file__).with_name("activate.py")), *named, "--"]
    inherited = [each.fileno() for each in passed.values()]
    with launched(text, directory, port, launcher=launcher, inherited=inherited) as daemon:
        yield daemon
        assert "Traceback" not in daemon.log()


def test_sockets_of_systemd_are_found_by_name_and_leave_and_come_back_by_reloads(
    tmp_path: Path,
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as http,
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.create_server(("127.0.0.1", 0)) as unused,
    ):
        ports = [each.getsockname()[1] for each in (http, other)]
        kept = free_port()
        both = configuration(kept, "socket: http", "socket: other, proxy_protocol: true")
        with activated(tmp_path, both, kept, unused=unused, other=other, http=http) as daemon:
            with nobody_fails(daemon.connect), nobody_fails(lambda: connect(ports[0])):
                assert asks(ports[1], header=PROXY_LINE) == OFFICE
                logged = reload(daemon, configuration(kept, "socket: http"))
                assert "nobody answers any more on the socket 'other'" in logged
                # The kernel takes connections for whoever will serve them.
                with connect(ports[1]) as waiting:
                    waiting.sendall(PROXY_LINE)
                    reload(daemon, both)
                    assert answered(waiting) == OFFICE
                assert asks(ports[1], header=PROXY_LINE) == OFFICE
                logged = reload_in_vain(daemon, configuration(kept, "socket: htpp"))
                assert (
                    f"{daemon.file}:3:5: cannot listen: systemd passed no socket of this name, "
                    "but http, other, unused"
                ) in logged
            daemon.terminate()
            assert daemon.status() == 0
            # They are still open, for the next one.
            assert not any(map(refuses, ports))


# Reloads while it stops.


def test_a_reload_while_it_stops_opens_nothing_again(bed: Bed) -> None:
    """SIGHUP may come from a rotation of logs at any time."""
    with bed.daemon.connect() as half:
        half.sendall(GET[:-2])
        assert bed.daemon.answers()
        bed.daemon.terminate()
        assert eventually(lambda: refuses(bed.daemon.port))
        new = free_port()
        bed.listen(f"port: {new}")
        assert soon_refuses(bed.daemon.port)
        assert soon_refuses(new)
        half.sendall(GET[-2:])
        (answer,) = read_answers(read_to_the_end(half))
        assert (answer.status, answer.closes) == (302, True)
    assert bed.daemon.status() == 0
