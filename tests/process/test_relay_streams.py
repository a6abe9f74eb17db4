"""Large bodies through a relay: whole, as fast as the slower end, and in little memory."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import pytest

from ..issuers import new_key, new_root, pem, pem_key
from ..ports import free_port
from .daemon import PATIENCE, Daemon, eventually
from .registries import MIB, PIECE, Registry, Visit, answer_of, pieces, registry, stream
from .relays import comes_to_have, descriptors, relaying
from .talk import cpu_seconds, read_to_the_end, resident_bytes

LARGE = 300 * MIB
PATH = "/v2/r/blobs/1"
GET = b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % PATH.encode()
UPLOAD = "/v2/r/blobs/uploads/1"


class Peak:
    """The most memory that a process has held since this was made, over what it held then."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        # proc(5): resets the peak.
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._before = resident_bytes(pid)

    @property
    def bytes(self) -> int:
        """How much it is."""
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        (peak,) = (line for line in lines if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024 - self._before


def connect(daemon: Daemon, *, is_narrow: bool = False) -> socket.socket:
    """A client's connection; the kernel takes little at once for one that is narrow."""
    client = socket.socket()
    if is_narrow:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(PATIENCE)
    client.connect(("127.0.0.1", daemon.port))
    return client


def read_head(client: socket.socket) -> bytes:
    """An answer's head, and what of the body has come with it."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        data = client.recv(65536)
        assert data, raw
        raw += data
    return raw


def read_large(client: socket.socket, length: int, step: int) -> tuple[int, str]:
    """Read an answer of this length in such steps: how long its body is, and its digest."""
    head, _, rest = read_head(client).partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % length in head
    digest, size = sha256(rest), len(rest)
    while size < length:
        data = client.recv(step)
        assert data
        digest.update(data)
        size += len(data)
    return size, digest.hexdigest()


def digest_of(size: int) -> str:
    digest = sha256()
    for piece in pieces(size):
        digest.update(piece)
    return digest.hexdigest()


@pytest.fixture(scope="module")
def large() -> Iterator[Registry]:
    with registry(stream(LARGE)) as there:
        yield there


@pytest.fixture(scope="module", params=["true", "false"], ids=["lane", "tree"])
def daemon(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, large: Registry
) -> Iterator[Daemon]:
    """One whose clients have transports of the lane's, and one where they are Twisted's own."""
    more = f"access_log: none\nlane: {request.param}"
    with relaying(tmp_path_factory.mktemp("streams"), {"r": large.url}, more=more) as daemon:
        yield daemon


def test_a_large_answer_comes_whole_and_takes_little_memory(daemon: Daemon) -> None:
    """The client reads in small steps, so that the registry is always ahead of it."""
    with connect(daemon, is_narrow=True) as client:
        peak = Peak(daemon.process.pid)
        client.sendall(GET)
        assert read_large(client, LARGE, 16_384) == (LARGE, digest_of(LARGE))
        assert peak.bytes < MIB


@pytest.mark.parametrize("is_chunked", [False, True], ids=["counted", "in chunks"])
def test_a_large_upload_comes_whole_and_takes_little_memory(
    tmp_path: Path, is_chunked: bool
) -> None:
    """The registry reads in small steps, so that the client is always ahead of it."""
    digest = sha256()

    def behave(visit: Visit) -> None:
        while (request := visit.request()) is not None:
            for piece in visit.body(request):
                digest.update(piece)
            visit.say(answer_of(b"", "201 Created"))

    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {LARGE}"
    head = f"PUT {UPLOAD} HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n".encode()
    with (
        registry(behave) as there,
        relaying(tmp_path, {"r": there.url}) as daemon,
        connect(daemon) as client,
    ):
        daemon.ask("/")
        peak = Peak(daemon.process.pid)
        client.sendall(head)
        for piece in pieces(LARGE):
            client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
        if is_chunked:
            client.sendall(b"0\r\n\r\n")
        assert read_head(client).startswith(b"HTTP/1.1 201 Created\r\n")
        assert digest.hexdigest() == digest_of(LARGE)
        assert peak.bytes < MIB


def test_many_clients_that_hardly_read_take_little_memory_each(daemon: Daemon) -> None:
    """And nothing is done for them while they do not read."""
    count = 50
    pid = daemon.process.pid
    with ExitStack() as stack:
        peak = Peak(pid)
        clients = [stack.enter_context(connect(daemon, is_narrow=True)) for _ in range(count)]
        for client in clients:
            client.sendall(GET)
            assert read_head(client).startswith(b"HTTP/1.1 200 OK\r\n")
        for _ in range(20):
            for client in clients:
                assert len(client.recv(4096)) > 0

        def is_idle() -> bool:
            used = cpu_seconds(pid)
            daemon.ask("/")
            return not eventually_uses(pid, used + 0.03)

        assert eventually(is_idle)
        assert peak.bytes < count * MIB // 4
    assert comes_to_have(pid, 60)


def eventually_uses(pid: int, seconds: float) -> bool:
    """Whether a process uses so much CPU time within half a second."""
    used = threading.Event()
    for _ in range(10):
        if cpu_seconds(pid) > seconds:
            return True
        used.wait(0.05)
    return False


def test_many_clients_that_upload_to_a_registry_that_hardly_reads_take_little_memory_each(
    tmp_path: Path,
) -> None:
    count = 50
    read_on = threading.Event()

    def behave(visit: Visit) -> None:
        request = visit.request()
        assert request is not None
        read_on.wait(PATIENCE)
        size = sum(len(piece) for piece in visit.body(request))
        visit.say(answer_of(b"%d" % size, "201 Created"))

    total = 16 * MIB
    head = f"PUT {UPLOAD} HTTP/1.1\r\nHost: h\r\nContent-Length: {total}\r\n\r\n".encode()
    with ExitStack() as stack:
        there = stack.enter_context(registry(behave))
        daemon = stack.enter_context(relaying(tmp_path, {"r": there.url}))
        daemon.ask("/")
        peak = Peak(daemon.process.pid)
        clients = [stack.enter_context(connect(daemon)) for _ in range(count)]
        for client in clients:
            client.sendall(head)
        left = dict.fromkeys(clients, total)

        def send_on() -> int:
            """How much more the kernel takes of what is left."""
            sent = 0
            for client in clients:
                client.setblocking(False)
                try:
                    while left[client]:
                        now = client.send(PIECE[: min(len(PIECE), left[client])])
                        left[client] -= now
                        sent += now
                except BlockingIOError:
                    pass
                client.settimeout(PATIENCE)
            return sent

        assert eventually(lambda: send_on() == 0 and daemon.answers() and send_on() == 0)
        assert all(left.values())
        assert peak.bytes < count * MIB // 4
        read_on.set()
        for client in clients:
            while left[client]:
                left[client] -= client.send(PIECE[: min(len(PIECE), left[client])])
            assert read_head(client).endswith(b"\r\n\r\n%d" % total)


def test_a_client_that_leaves_ends_its_answer_at_the_registry(daemon: Daemon) -> None:
    for is_broken in (False, True):
        with connect(daemon) as client:
            client.sendall(GET)
            read_head(client)
            if is_broken:
                # What is unread makes closing a reset.
                assert client.recv(1, socket.MSG_PEEK)
            else:
                client.shutdown(socket.SHUT_WR)
                read_to_the_end(client)
    assert comes_to_have(daemon.process.pid, 40)


def test_a_client_that_leaves_in_its_upload_ends_it_at_the_registry(tmp_path: Path) -> None:
    ended = threading.Event()
    sizes: list[int] = []

    def behave(visit: Visit) -> None:
        request = visit.request()
        assert request is not None
        size = 0
        try:
            for piece in visit.body(request):
                size += len(piece)
        except (EOFError, OSError):
            sizes.append(size)
            ended.set()

    with registry(behave) as there, relaying(tmp_path, {"r": there.url}) as daemon:
        daemon.ask("/")
        before = descriptors(daemon.process.pid)
        with connect(daemon) as client:
            client.sendall(
                f"PUT {UPLOAD} HTTP/1.1\r\nHost: h\r\nContent-Length: {MIB}\r\n\r\n".encode()
                + PIECE
            )
        assert ended.wait(PATIENCE)
        assert sizes[0] < MIB
        assert comes_to_have(daemon.process.pid, before)


def test_an_upload_that_is_refused_before_it_has_come_ends_with_the_answer(tmp_path: Path) -> None:
    """The client may go on sending, and still reads the answer and no reset."""

    def behave(visit: Visit) -> None:
        if visit.request() is not None:
            visit.say(answer_of(b"no", "403 Forbidden"))

    with registry(behave) as there, relaying(tmp_path, {"r": there.url}) as daemon:
        daemon.ask("/")
        before = descriptors(daemon.process.pid)
        for _ in range(20):
            with connect(daemon) as client:
                head = f"PUT {UPLOAD} HTTP/1.1\r\nHost: h\r\nContent-Length: {64 * MIB}\r\n\r\n"
                client.sendall(head.encode())
                for piece in pieces(16 * MIB):
                    client.sendall(piece)
                raw = read_to_the_end(client)
                assert raw.startswith(b"HTTP/1.1 403 Forbidden\r\n")
                assert raw.endswith(b"Connection: close\r\n\r\nno")
        assert comes_to_have(daemon.process.pid, before)


# Over TLS, at both ends.


ROOT, KEY = new_root(), new_key()
OVER_TLS = 64 * MIB
BEHIND_PROXY = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"


@pytest.mark.parametrize("is_announced", [False, True], ids=["the lane's", "twisted's"])
def test_large_bodies_come_whole_over_tls(tmp_path: Path, is_announced: bool) -> None:
    leaf = ROOT.sign(KEY, "localhost")
    (tmp_path / "ca.pem").write_bytes(pem(ROOT.certificate))
    (tmp_path / "both.pem").write_bytes(pem(leaf) + pem_key(KEY))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    port = free_port()
    listen = (
        f", {{port: {port}, tls: {{certificates: [{{certificate: both.pem, key: both.pem}}]}}, "
        f"proxy_protocol: {str(is_announced).lower()}}}"
    )
    trusted = "access_log: none\nclients: {trusted_proxies: 127.0.0.1}"
    trust = ssl.create_default_context(cadata=pem(ROOT.certificate).decode("ascii"))
    with ExitStack() as stack:
        there = stack.enter_context(registry(stream(OVER_TLS), context))
        daemon = stack.enter_context(
            relaying(tmp_path, {"r": there.url}, "ca: ca.pem", more=trusted, listen=listen)
        )
        plain = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
        if is_announced:
            plain.sendall(BEHIND_PROXY)
        client = stack.enter_context(trust.wrap_socket(plain, server_hostname="localhost"))
        daemon.ask("/")
        for turn in range(2):
            peak = Peak(daemon.process.pid)
            client.sendall(GET)
            assert read_large(client, OVER_TLS, 65_536) == (OVER_TLS, digest_of(OVER_TLS))
            client.sendall(
                f"PUT {UPLOAD} HTTP/1.1\r\nHost: h\r\nContent-Length: {OVER_TLS}\r\n\r\n".encode()
            )
            for piece in pieces(OVER_TLS):
                client.sendall(piece)
            assert read_head(client).endswith(b"\r\n\r\n%d" % OVER_TLS)
            # The first time much is loaded that stays.
            assert turn == 0 or peak.bytes < 2 * MIB
