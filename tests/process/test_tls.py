"""TLS as clients meet it: real sockets, certificates in files, and reloads by SIGHUP."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from regroute.certificates import Certificate, join

from ..issuers import NOW, new_key, new_root, pem, pem_key
from ..ports import free_port
from ..web.answers import read_answers
from ..web.handshakes import CLIENT_HELLO_TLS_1_1, trust
from .daemon import PATIENCE, Daemon, eventually, launched
from .talk import GET, answered, hang_up, nobody_fails, read_to_the_end

ROOT = new_root()
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
REGROUTE = Path(sys.executable).with_name("regroute")
HOME = "https://one.example/"
CERTIFICATES = {
    "one": ROOT.issue("one.example"),
    "two": ROOT.issue("*.two.example"),
    "exact": ROOT.issue("exact.two.example"),
}


@dataclass(frozen=True)
class Front:
    """A daemon that speaks TLS on a port beside its plain one."""

    daemon: Daemon
    port: int

    def connect(
        self,
        name: str | None = None,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """A connection whose handshake is done, and that must end with close_notify."""
        return (context or trust(ROOT)).wrap_socket(
            self.connect_plainly(),
            server_hostname=name,
            session=session,
            suppress_ragged_eofs=False,
        )

    def connect_plainly(self) -> socket.socket:
        """A connection that speaks no TLS yet."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def shown(self) -> x509.Certificate:
        """The certificate that a new connection is shown, and served with."""
        with self.connect() as client:
            assert answered(client) == HOME
            return shown_to(client)

    def put(self, name: str, certificate: Certificate) -> Certificate:
        """Write a certificate and its key where the daemon reads them."""
        put(self.daemon.file.parent, name, certificate)
        return certificate


def put(directory: Path, name: str, certificate: Certificate) -> None:
    (directory / f"{name}.pem").write_bytes(pem(*certificate.chain))
    (directory / f"{name}.key").write_bytes(pem_key(certificate.key))


def shown_to(client: ssl.SSLSocket) -> x509.Certificate:
    """The certificate that a client has been shown."""
    encoded = client.getpeercert(binary_form=True)
    assert encoded is not None
    return x509.load_der_x509_certificate(encoded)


@contextmanager
def serving(directory: Path, **certificates: Certificate) -> Iterator[Front]:
    """A daemon with these certificates, the first of which is the default."""
    for name, certificate in certificates.items():
        put(directory, name, certificate)
    plain, port = free_port(), free_port()
    listed = ", ".join(f"{{certificate: {name}.pem, key: {name}.key}}" for name in certificates)
    text = (
        f"listen:\n  - port: {plain}\n  - port: {port}\n    tls:\n      certificates: [{listed}]\n"
        f"access_log: none\nrules: [{{to: '{HOME.rstrip('/')}'}}]\n"
    )
    with launched(text, directory, plain) as daemon:
        yield Front(daemon, port)
        assert "Traceback" not in daemon.log()


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    with serving(tmp_path, one=ROOT.issue("one.example")) as front:
        yield front


# Which certificate a client gets.


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with serving(tmp_path_factory.mktemp("many"), **CERTIFICATES) as front:
        yield front


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("one.example", "one", id="exact"),
        pytest.param("sub.two.example", "two", id="wildcard"),
        pytest.param("exact.two.example", "exact", id="exact before wildcard"),
        pytest.param("EXACT.Two.Example", "exact", id="exact in capitals"),
        pytest.param("SUB.TWO.EXAMPLE", "two", id="wildcard in capitals"),
        pytest.param("two.example", "one", id="a wildcard is not its parent"),
        pytest.param("a.b.two.example", "one", id="a wildcard is one label"),
        pytest.param("other.example", "one", id="unknown"),
        pytest.param(None, "one", id="absent"),
    ],
)
def test_sni_picks_the_certificate_and_the_first_is_the_default(
    many: Front, version: ssl.TLSVersion, name: str | None, shown: str
) -> None:
    with many.connect(name, trust(ROOT, version)) as client:
        assert shown_to(client) == CERTIFICATES[shown].leaf
        assert answered(client) == HOME


@pytest.mark.parametrize("name", ["one.example", "sub.two.example", "exact.two.example"])
def test_a_client_that_checks_the_name_is_content(many: Front, name: str) -> None:
    context = trust(ROOT)
    context.check_hostname = True
    with many.connect(name, context) as client:
        assert answered(client) == HOME


# Versions.


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_tls_1_2_and_1_3_are_spoken(many: Front, version: ssl.TLSVersion) -> None:
    context = trust(ROOT, version)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with many.connect(context=context) as client:
        assert client.version() == version.name.replace("_", ".")
        assert client.selected_alpn_protocol() == "http/1.1"
        assert [answered(client) for _ in range(3)] == [HOME] * 3


def test_tls_1_1_is_refused_with_the_alert_that_says_so(many: Front) -> None:
    with many.connect_plainly() as client:
        client.sendall(CLIENT_HELLO_TLS_1_1)
        received = read_to_the_end(client)
    alert, fatal, protocol_version = 21, 2, 70
    assert (received[0], *received[5:]) == (alert, fatal, protocol_version)
    assert many.shown()


# Certificates and reloads.


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_renewed_certificate_is_shown_after_sighup_and_old_connections_live_on(
    front: Front, version: ssl.TLSVersion
) -> None:
    context = trust(ROOT, version)
    with front.connect("one.example", context) as old, front.connect(context=context) as half:
        before = shown_to(old)
        assert answered(old) == HOME
        half.sendall(GET[:-2])
        new = front.put("one", ROOT.issue("one.example"))
        assert "certificates changed" in hang_up(front.daemon, " reloaded ")
        assert front.shown() == new.leaf != before
        assert answered(old) == HOME
        half.sendall(GET[-2:])
        assert half.recv(65536).startswith(b"HTTP/1.1 302 ")


def test_twenty_renewals_fail_no_handshake(front: Front) -> None:
    with nobody_fails(front.connect):
        for _ in range(20):
            new = front.put("one", ROOT.issue("one.example"))
            hang_up(front.daemon, " reloaded ")
            assert front.shown() == new.leaf


def test_a_wrong_key_is_refused_at_sighup_and_the_old_one_serves_on(front: Front) -> None:
    before = front.shown()
    new = ROOT.issue("one.example")
    with front.connect() as old:
        file = front.daemon.file
        (file.parent / "one.pem").write_bytes(pem(*new.chain))
        logged = hang_up(front.daemon, "the old rules stay in force")
        printed = check(file, status=1)
        (fault,) = printed.splitlines()
        assert fault.startswith(f"{file}:5:")
        assert "the key does not fit its certificate" in fault
        assert logged.splitlines()[0].endswith(fault)
        assert answered(old) == HOME
        assert front.shown() == before
        front.put("one", new)
        hang_up(front.daemon, " reloaded ")
        assert front.shown() == new.leaf


def check(file: Path, status: int) -> str:
    """What `regroute check` prints about a file."""
    checked = subprocess.run(
        [REGROUTE, "check", file], capture_output=True, text=True, timeout=PATIENCE
    )
    assert checked.returncode == status, checked.stdout + checked.stderr
    return checked.stdout


@pytest.mark.parametrize("when", ["start", "SIGHUP"])
def test_an_expired_certificate_serves_with_a_warning(tmp_path: Path, when: str) -> None:
    key = new_key()
    hour = timedelta(hours=1)
    expired = join((ROOT.sign(key, "one.example", ends=NOW - hour),), key)
    with serving(tmp_path, one=expired if when == "start" else ROOT.issue("one.example")) as front:
        if when == "SIGHUP":
            assert "expired" not in front.daemon.log()
            front.put("one", expired)
            hang_up(front.daemon, " reloaded ")
        warning, good = check(front.daemon.file, status=0).splitlines()
        assert warning.startswith(f"{front.daemon.file}:5:")
        assert "warning:" in warning
        assert f"expired on {NOW - hour:%F %T} UTC" in warning
        assert good.startswith(f"{front.daemon.file}: good")
        assert sum(line.endswith(warning) for line in front.daemon.log().splitlines()) == 1
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
            front.connect()
        careless = trust(ROOT)
        careless.verify_mode = ssl.CERT_NONE
        with front.connect(context=careless) as client:
            assert answered(client) == HOME
            assert shown_to(client) == expired.leaf


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_sessions_are_resumed_across_a_reload(front: Front, version: ssl.TLSVersion) -> None:
    context = trust(ROOT, version)
    with front.connect("one.example", context) as first:
        # Tickets of TLS 1.3 come after the handshake, with what is read.
        assert answered(first) == HOME
        assert not first.session_reused
        session = first.session
    front.put("one", ROOT.issue("one.example"))
    assert "certificates changed" in hang_up(front.daemon, " reloaded ")
    with front.connect("one.example", context, session) as second:
        assert second.session_reused
        assert answered(second) == HOME


# Whoever speaks no TLS.


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(GET, id="HTTP"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP 2"),
        pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", id="PROXY"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="SSH"),
        pytest.param(bytes(100), id="zeros"),
        pytest.param(bytes(range(256)) * 4096, id="a megabyte"),
        pytest.param(b"\x16\x03\x01\xff\xff" + bytes(70000), id="a record that is too long"),
        pytest.param(CLIENT_HELLO_TLS_1_1[:20], id="half a ClientHello"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_no_tls_is_closed_and_disturbs_nobody(many: Front, junk: bytes) -> None:
    """Nor does it write a line into the log: strangers could fill a disk."""
    before = many.daemon.log()
    with many.connect() as other, many.connect_plainly() as client, nobody_fails(many.connect):
        with suppress(OSError):  # it may be closed already
            client.sendall(junk)
            client.shutdown(socket.SHUT_WR)
        assert b"HTTP" not in read_to_the_end(client)
        assert answered(other) == HOME
        assert many.shown()
    assert many.daemon.log() == before


def test_two_hundred_connections_without_a_handshake_are_in_nobodys_way(front: Front) -> None:
    before = front.daemon.log()
    with ExitStack() as crowd, front.connect() as old:
        silent = [crowd.enter_context(front.connect_plainly()) for _ in range(200)]
        for client in silent[100:]:
            client.sendall(CLIENT_HELLO_TLS_1_1[:20])
        with nobody_fails(front.connect):
            for _ in range(20):
                assert front.shown()
                assert answered(old) == HOME
            # Their time is up by and by.
            for client in silent:
                assert read_to_the_end(client) == b""
        assert answered(old) == HOME
        assert front.shown()
    assert front.daemon.log() == before


def test_a_client_that_ends_in_the_middle_of_its_request_leaves_nothing_behind(
    front: Front,
) -> None:
    def open_descriptors() -> int:
        return len(os.listdir(f"/proc/{front.daemon.process.pid}/fd"))

    assert eventually(front.daemon.answers)
    front.shown()
    before = open_descriptors()
    clients = [front.connect() for _ in range(50)]
    for client in clients:
        client.sendall(GET[:10])
        # No close_notify: the connection is just gone.
        client.close()
    assert eventually(lambda: open_descriptors() <= before)
    assert front.shown()


def test_sigterm_ends_tls_connections_with_close_notify(front: Front) -> None:
    with front.connect() as idle, front.connect() as half:
        half.sendall(GET[:10])
        assert front.shown()
        front.daemon.terminate()
        assert idle.recv(1) == b""
        half.sendall(GET[10:])
        (answer,) = read_answers(read_to_the_end(half))
        assert (answer.status, answer.closes) == (302, True)
    assert front.daemon.status() == 0
