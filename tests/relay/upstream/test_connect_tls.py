"""Connecting over TLS: nobody but the registry itself is sent a byte of a request."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from regroute.relay.upstream.ask import Unreachable
from regroute.relay.upstream.connect import Connecting, Place
from regroute.web.transport import SocketTransport

from ...issuers import DAY, NOW, new_key, new_root, pem, pem_key
from ...ports import free_port
from ...web.lanes import descriptors
from .loops import Loop, Resolver, deliver

HERE, NAME = "127.0.0.2", "registry.example"
ROOT, OTHER = new_root(), new_root()
KEY = new_key()
TRUSTED = pem(ROOT.certificate).decode("ascii")


class Application(Protocol):
    """What the connection is for."""

    def __init__(self) -> None:
        self.received = b""
        self.end: type[BaseException] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.end = reason.type


class Server:
    """A registry's TLS in memory, between the test and a socket."""

    def __init__(self, context: ssl.SSLContext, connection: socket.socket) -> None:
        self.connection = connection
        connection.setblocking(False)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_side=True)
        self.trouble = ""

    def take(self) -> None:
        """Take what has come."""
        with suppress(BlockingIOError):
            self._in.write(self.connection.recv(65536))

    def try_to(self, act: Callable[[], object]) -> bool:
        """Whether something can be done by now."""
        self.take()
        try:
            act()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self.trouble = self.trouble or str(error)
            return False
        return True

    def send(self, *, bytewise: bool = False) -> None:
        """Send what is to be sent."""
        raw = self._out.read()
        for piece in [raw[at : at + 1] for at in range(len(raw))] if bytewise else [raw]:
            with suppress(OSError):
                self.connection.sendall(piece)


class Bed:
    """Connects to a registry that the test plays."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self.loop = Loop()
        self.port = free_port()
        self.listening = stack.enter_context(socket.create_server((HERE, self.port)))
        self.application = Application()
        self.transports: list[SocketTransport] = []
        self.failures: list[Unreachable] = []
        self._stack = stack
        self._directory = directory

    def context(
        self,
        name: str = NAME,
        issuer: object = ROOT,
        begins: int = -1,
        ends: int = 1,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> ssl.SSLContext:
        """A server's context; its certificate is valid from and to so many days from now."""
        assert issuer in (ROOT, OTHER)
        root = ROOT if issuer is ROOT else OTHER
        leaf = root.sign(KEY, name, begins=NOW + begins * DAY, ends=NOW + ends * DAY)
        (self._directory / "pem").write_bytes(pem(leaf) + pem_key(KEY))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._directory / "pem")
        context.minimum_version = context.maximum_version = version
        return context

    def connect(self, host: str = NAME, authorities: str | None = TRUSTED) -> socket.socket:
        """Begin to connect; the registry's end of the connection."""
        connecting = Connecting(
            Place(f"https://{host}:{self.port}", authorities),
            5.0,
            self._take,
            self.failures.append,
            Resolver(**{"registry.example": [HERE], "other.example": [HERE]}),
            self.loop,
            self.loop.clock,
        )
        connecting.start()
        self.loop.until(lambda: bool(self.loop.handlers))
        accepted, _ = self.listening.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stack.enter_context(accepted)
        self.loop.settle()
        return accepted

    def _take(self, transport: SocketTransport) -> None:
        self.loop.enter(transport)
        transport.start(self.application, b"")
        self.transports.append(transport)

    def serve(self, context: ssl.SSLContext, *, bytewise: bool = False) -> Server:
        """Connect, and shake hands until there is a connection, or none."""
        server = Server(context, self.connect())
        self.loop.until(
            lambda: server.try_to(server.tls.do_handshake) or self._go_on(server, bytewise)
        )
        server.send(bytewise=bytewise)
        self.loop.until(lambda: bool(self.transports or self.failures))
        return server

    def _go_on(self, server: Server, bytewise: bool) -> bool:
        server.send(bytewise=bytewise)
        return bool(server.trouble)

    def failure(self) -> str:
        """Why there is no connection; nothing of it may be left."""
        self.loop.settle()
        assert self.transports == []
        assert self.loop.handlers == {}
        assert self.loop.clock.getDelayedCalls() == []
        (failure,) = self.failures
        return f"{failure.status} {failure.message}"


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    before = descriptors()
    with ExitStack() as stack:
        bed = Bed(stack, tmp_path)
        yield bed
        for transport in bed.transports:
            transport.abortConnection()
        bed.loop.settle()
        bed.loop.close()
    assert descriptors() == before


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_go_both_ways(bed: Bed, version: ssl.TLSVersion, bytewise: bool) -> None:
    server = bed.serve(bed.context(version=version), bytewise=bytewise)
    (transport,) = bed.transports
    received: list[bytes] = []
    transport.write(b"hello")
    bed.loop.until(lambda: server.try_to(lambda: received.append(server.tls.read(100))))
    assert received == [b"hello"]
    server.tls.write(b"good day")
    server.send(bytewise=bytewise)
    bed.loop.until(lambda: bed.application.received == b"good day")
    assert bed.failures == []


def test_who_speaks_before_he_is_asked_is_no_registry(bed: Bed) -> None:
    """It comes with the end of the handshake, and the socket does not become readable for it."""
    context = bed.context(version=ssl.TLSVersion.TLSv1_2)
    server = Server(context, bed.connect())
    while not server.try_to(server.tls.do_handshake):
        server.send()
        bed.loop.settle()
    server.tls.write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    server.send()
    bed.loop.until(lambda: bed.failures != [])
    assert bed.failure() == "502 cannot connect: it speaks before it is asked"


MISTRUSTED: dict[str, tuple[dict[str, object], str]] = {
    "another name": (
        {"name": "other.example"},
        "Hostname mismatch, certificate is not valid for 'registry.example'.",
    ),
    "expired": ({"begins": -3, "ends": -1}, "certificate has expired"),
    "of tomorrow": ({"begins": 1, "ends": 2}, "certificate is not yet valid"),
    "of somebody else": ({"issuer": OTHER}, "certificate signature failure"),
}


@pytest.mark.parametrize(("more", "words"), MISTRUSTED.values(), ids=MISTRUSTED)
@pytest.mark.parametrize("version", VERSIONS)
def test_who_has_no_certificate_that_counts_is_not_the_registry(
    bed: Bed, more: dict[str, object], words: str, version: ssl.TLSVersion
) -> None:
    server = bed.serve(bed.context(version=version, **more))  # type: ignore[arg-type]
    assert bed.failure() == f"502 its certificate is not to be trusted: {words}"
    server.try_to(lambda: server.tls.read(1))
    assert "ALERT" in server.trouble


def test_without_authorities_of_its_own_the_systems_count(bed: Bed) -> None:
    server = Server(bed.context(), bed.connect(authorities=None))
    server.try_to(server.tls.do_handshake)
    server.send()
    bed.loop.until(lambda: bed.failures != [])
    assert bed.failure().startswith("502 its certificate is not to be trusted: ")


def test_who_speaks_no_tls_is_told_apart(bed: Bed) -> None:
    bed.connect().sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    bed.loop.until(lambda: bed.failures != [])
    assert bed.failure() == "502 TLS fails: WRONG_VERSION_NUMBER"


def test_old_versions_are_not_spoken(bed: Bed) -> None:
    # The alert says that the protocol version is too old.
    bed.connect().sendall(b"\x15\x03\x03\x00\x02\x02\x46")
    bed.loop.until(lambda: bed.failures != [])
    assert bed.failure() == "502 TLS fails: TLSV1_ALERT_PROTOCOL_VERSION"


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x03\x01\x00\x02"])
def test_who_closes_in_the_handshake_has_not_connected(bed: Bed, said: bytes) -> None:
    accepted = bed.connect()
    accepted.sendall(said)
    # What has come is read, or closing would be a reset.
    accepted.recv(65536)
    accepted.close()
    bed.loop.until(lambda: bed.failures != [])
    assert bed.failure() == "502 cannot connect: it closes in the tls handshake"


def test_a_handshake_has_its_time(bed: Bed) -> None:
    bed.connect()
    bed.loop.clock.advance(5)
    assert bed.failure() == "504 it does not answer: connecting takes too long"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("says_so", [True, False])
def test_an_end_that_the_registry_has_not_said_is_none(
    bed: Bed, version: ssl.TLSVersion, says_so: bool
) -> None:
    """Anyone in between can close a connection, and cut off an answer that ends with it."""
    server = bed.serve(bed.context(version=version))
    server.tls.write(b"half an answ")
    if says_so:
        with suppress(ssl.SSLWantReadError):
            server.tls.unwrap()
    server.send()
    server.connection.shutdown(socket.SHUT_WR)
    bed.loop.until(lambda: bed.application.end is not None)
    assert bed.application.received == b"half an answ"
    assert bed.application.end is (ConnectionDone if says_so else ConnectionLost)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_is_quiet_while_tls_speaks_to_itself(
    bed: Bed, version: ssl.TLSVersion
) -> None:
    """As with session tickets, which come when they like: nobody's answer is in them."""
    server = bed.serve(bed.context(version=version))
    (transport,) = bed.transports
    assert transport.is_quiet()
    server.tls.write(b"x")
    server.send()
    deliver(server.connection)
    assert not transport.is_quiet()
