"""The PROXY protocol in front of the resource tree, plain and over TLS."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address as IPv4
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from regroute.web.connection import Connection

from ..making import site_of
from .announced import LINE, LOCAL, Bed
from .memory import rules_of
from .proxy_headers import v2

# In front of the resource tree.

RULES = """
clients: {trusted_proxies: [10.0.0.0/8]}
rules:
  - {client: 192.168.0.1, to: "https://one.example"}
  - {client: "2001:db8::/32", to: "https://six.example"}
  - {client: 10.0.0.1, to: "https://proxy.example"}
  - {to: "https://other.example"}
"""
SITE_RULES = rules_of(RULES)


def site_bed() -> Bed:
    clock = Clock()
    return Bed(site_of(lambda: SITE_RULES, clock), SITE_RULES.clients.trusts, clock)


def location(raw: bytes) -> str:
    assert raw.startswith(b"HTTP/1.1 302 "), raw
    (line,) = [line for line in raw.split(b"\r\n") if line.startswith(b"Location: ")]
    return line.removeprefix(b"Location: https://").removesuffix(b".example/v2/").decode()


def request(*fields: bytes) -> bytes:
    return b"\r\n".join([b"GET /v2/ HTTP/1.1", b"Host: h", *fields]) + b"\r\n\r\n"


SPOOFED = b"X-Real-IP: 192.168.0.1"


@pytest.mark.parametrize(
    ("header", "fields", "registry"),
    [
        (LINE, (), "one"),
        (b"PROXY TCP4 192.168.0.2 192.0.2.9 1 2\r\n", (), "other"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::9 1 2\r\n", (), "six"),
        (b"PROXY TCP6 ::ffff:192.168.0.1 ::1 1 2\r\n", (), "one"),
        (v2(IPv4("192.168.0.1").packed + bytes(8)), (), "one"),
        (LOCAL, (), "proxy"),
        (b"PROXY UNKNOWN\r\n", (), "proxy"),
        # A header is believed from whom PROXY names, not from who sent PROXY.
        (b"PROXY TCP4 192.168.0.2 192.0.2.9 1 2\r\n", (SPOOFED,), "other"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::9 1 2\r\n", (SPOOFED,), "six"),
        (b"PROXY TCP4 10.2.2.2 192.0.2.9 1 2\r\n", (SPOOFED,), "one"),
        (b"PROXY TCP6 ::ffff:10.2.2.2 ::1 1 2\r\n", (SPOOFED,), "one"),
        (LOCAL, (SPOOFED,), "one"),
    ],
)
def test_the_address_decides_the_rule_and_fields_are_judged_after_it(
    header: bytes, fields: tuple[bytes, ...], registry: str
) -> None:
    wire = site_bed().connect()
    wire.protocol.dataReceived(header + request(*fields))
    assert location(wire.take()) == registry
    wire.protocol.dataReceived(request(*fields))
    assert location(wire.take()) == registry, "the next request is of the same client"


def test_a_site_counts_a_connection_from_its_header_to_its_end() -> None:
    bed = site_bed()
    connections: set[Connection] = bed.factory.wrappedFactory.connections
    wire = bed.connect()
    assert not connections
    wire.protocol.dataReceived(LINE)
    assert len(connections) == 1
    wire.end()
    assert wire.is_closed
    assert not connections


# In front of TLS.


@implementer(IOpenSSLServerConnectionCreator)
class Certified:
    """A server of the name `front`, and the certificate that its clients trust."""

    def __init__(self, directory: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "front")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), 1)
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("front")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.trusted = certificate.public_bytes(Encoding.PEM).decode()
        (directory / "certificate.pem").write_text(self.trusted)
        (directory / "key.pem").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.use_certificate_file(str(directory / "certificate.pem"))
        self._context.use_privatekey_file(str(directory / "key.pem"))

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return Certified(tmp_path_factory.mktemp("tls"))


class TLSClient:
    """A client of TLS behind a proxy, which sends `header` first."""

    def __init__(self, certified: Certified, header: bytes) -> None:
        clock = Clock()
        self.site = site_of(lambda: SITE_RULES, clock)
        tls = TLSMemoryBIOFactory(certified, False, self.site, clock)
        bed = Bed(tls, SITE_RULES.clients.trusts, clock)
        self.clock = clock
        self.received = b""
        self.wire = bed.connect()
        self._from_server, self._to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cadata=certified.trusted)
        self._tls = context.wrap_bio(self._from_server, self._to_server, server_hostname="front")
        self._to_server.write(header)

    def step(self, size: int) -> bool:
        """Carry what there is in both directions, in pieces; whether there was anything."""
        sent = self._to_server.read()
        for start in range(0, len(sent), size):
            if not self.wire.is_closed:
                self.wire.protocol.dataReceived(sent[start : start + size])
        self.clock.advance(0)
        received = self.wire.take()
        self.received += received
        self._from_server.write(received)
        return bool(sent or received)

    def ask(self, raw: bytes, size: int) -> bytes:
        """Ask, with a handshake first; what is sent at once goes in pieces of `size`."""
        for act in (self._tls.do_handshake, lambda: self._tls.write(raw)):
            while True:
                try:
                    act()
                    break
                except ssl.SSLWantReadError:
                    assert self.step(size), "the server does not go on"
        while self.step(size):
            pass
        return self._tls.read(65536)


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(
    ("header", "fields", "registry"),
    [(LINE, (), "one"), (LOCAL, (), "proxy"), (LOCAL, (SPOOFED,), "one")],
    ids=["PROXY", "LOCAL", "LOCAL and a field"],
)
def test_tls_begins_after_the_header_in_the_same_piece_or_another(
    certified: Certified, header: bytes, fields: tuple[bytes, ...], registry: str, size: int
) -> None:
    client = TLSClient(certified, header)
    assert location(client.ask(request(*fields), size)) == registry


def test_a_client_of_tls_that_ends_is_lost_to_the_site(certified: Certified) -> None:
    client = TLSClient(certified, LINE)
    client.ask(request(), 100_000)
    assert len(client.site.connections) == 1
    client.wire.end()
    assert not client.site.connections


def test_tls_without_a_header_is_closed_without_an_answer(certified: Certified) -> None:
    client = TLSClient(certified, b"")
    with pytest.raises(AssertionError, match="does not go on"):
        client.ask(request(), 1)
    assert client.wire.is_aborted
    assert client.received == b""
    assert not client.site.connections
