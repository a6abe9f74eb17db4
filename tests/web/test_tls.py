"""TLS: what is spoken, which certificate a client gets, how sessions resume and connections end."""

import ssl
from collections.abc import Iterator, Sequence

import pytest
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs
from zope.interface.verify import verifyObject

from regroute.certificates import Certificate, join
from regroute.web.tls import CLOSE_TIME, HANDSHAKE_TIME, TICKET_KEY_TIME, ServerTLS, new_context

from ..issuers import new_key, new_root
from .handshakes import CLIENT_HELLO_TLS_1_1, Client, LateApplication, accept, trust

ROOT = new_root()
FIRST = ROOT.issue("first.example")
CERTIFICATES = [FIRST, ROOT.issue("*.b.example"), ROOT.issue("xn--bcher-kva.example")]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

FATAL, PROTOCOL_VERSION = 2, 70
"""RFC 8446 §6: what an alert ends with."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tls(clock: Clock) -> ServerTLS:
    return ServerTLS(CERTIFICATES, clock)


@pytest.fixture
def client(tls: ServerTLS, clock: Clock) -> Client:
    return Client(accept(tls, clock), trust(ROOT), "first.example")


@pytest.fixture
def logged() -> Iterator[Sequence[LogEvent]]:
    with capturedLogs() as events:
        yield events


def test_it_is_what_twisted_asks_for(tls: ServerTLS) -> None:
    assert verifyObject(IOpenSSLServerConnectionCreator, tls)


# Certificates by name.


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("first.example", "first.example"),
        ("FIRST.Example", "first.example"),
        ("x.b.example", "*.b.example"),
        ("X.B.EXAMPLE", "*.b.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.b.example", "*.b.example"),
        ("y.x.b.example", "first.example"),
        ("unknown.test", "first.example"),
        (None, "first.example"),
    ],
)
def test_a_name_gets_its_certificate(
    tls: ServerTLS, clock: Clock, version: ssl.TLSVersion, name: str | None, shown: str
) -> None:
    client = Client(accept(tls, clock), trust(ROOT, version), name).shake_hands()
    assert client.shown() == [shown]
    assert client.ask(b"x") == b"answer to x"


def test_the_issuers_are_sent_for_clients_that_trust_the_root_alone(clock: Clock) -> None:
    middle = ROOT.intermediate("the one between")
    key = new_key()
    chain = (middle.sign(key, "a.example"), middle.certificate)
    tls = ServerTLS([FIRST, join(chain, key)], clock)
    client = Client(accept(tls, clock), trust(ROOT), "a.example").shake_hands()
    assert client.shown() == ["a.example"]


def test_new_certificates_are_for_new_connections_and_old_ones_live_on(
    tls: ServerTLS, clock: Clock
) -> None:
    old = Client(accept(tls, clock), trust(ROOT), "first.example").shake_hands()
    tls.replace([ROOT.issue("renewed.example")])
    new = Client(accept(tls, clock), trust(ROOT), "first.example").shake_hands()
    assert new.shown() == ["renewed.example"]
    assert old.ask(b"x") == b"answer to x"


def test_a_connection_without_a_handshake_gets_the_new_certificates(
    tls: ServerTLS, clock: Clock, client: Client
) -> None:
    tls.replace([ROOT.issue("renewed.example")])
    assert client.shake_hands().shown() == ["renewed.example"]


def test_a_certificate_that_openssl_does_not_take_changes_nothing(
    tls: ServerTLS, clock: Clock, client: Client
) -> None:
    # Nothing that `join` makes is refused by all versions of OpenSSL, so this is made without it.
    wrong = Certificate(FIRST.chain, new_key(), FIRST.names)
    with pytest.raises(ValueError, match=r"OpenSSL does not take .*: .*mismatch"):
        tls.replace([ROOT.issue("renewed.example"), wrong])
    with pytest.raises(ValueError, match="mismatch"):
        new_context(wrong)
    assert client.shake_hands().shown() == ["first.example"]


# What is spoken.


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_tls_1_2_and_1_3_are_spoken(tls: ServerTLS, clock: Clock, version: ssl.TLSVersion) -> None:
    client = Client(accept(tls, clock), trust(ROOT, version)).shake_hands()
    assert client.tls.version() == version.name.replace("_", ".")
    assert client.tls.compression() is None


def test_tls_1_1_gets_an_alert(client: Client) -> None:
    client.server.dataReceived(CLIENT_HELLO_TLS_1_1)
    assert client.wire.value()[-2:] == bytes([FATAL, PROTOCOL_VERSION])
    assert client.wire.disconnecting


@pytest.mark.parametrize(
    "ciphers",
    ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-GCM-SHA384"],
)
def test_the_clients_order_of_ciphers_counts(tls: ServerTLS, clock: Clock, ciphers: str) -> None:
    context = trust(ROOT, ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"{ciphers}:ECDHE-ECDSA-AES128-GCM-SHA256")
    client = Client(accept(tls, clock), context).shake_hands()
    chosen = client.tls.cipher()
    assert chosen is not None
    assert chosen[0] == ciphers


@pytest.mark.parametrize("ciphers", ["ECDHE-ECDSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256"])
def test_old_ciphers_are_not_spoken(tls: ServerTLS, clock: Clock, ciphers: str) -> None:
    context = trust(ROOT, ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(ciphers)
    client = Client(accept(tls, clock), context)
    with pytest.raises(ssl.SSLError, match="handshake failure"):
        client.shake_hands()


# The protocols that a client offers, and the one that is chosen.
OFFERS = [
    (["http/1.1"], "http/1.1"),
    (["h2", "http/1.1"], "http/1.1"),
    (["http/1.0", "http/1.1"], "http/1.1"),
    (["http/1.0"], "http/1.0"),
    ([], None),
    # It may speak HTTP/1.1 all the same.
    (["h2"], None),
]


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize(("offered", "chosen"), OFFERS)
def test_the_protocol_is_http_1(
    tls: ServerTLS, clock: Clock, version: ssl.TLSVersion, offered: list[str], chosen: str | None
) -> None:
    context = trust(ROOT, version)
    context.set_alpn_protocols(offered)
    client = Client(accept(tls, clock), context).shake_hands()
    assert client.tls.selected_alpn_protocol() == chosen
    assert client.ask(b"x") == b"answer to x"


def test_a_handshake_may_come_byte_by_byte(client: Client) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    for position in client.out():
        client.server.dataReceived(bytes([position]))
    assert client.shake_hands().ask(b"x") == b"answer to x"


# Resumption.


def _resumes(tls: ServerTLS, clock: Clock, context: ssl.SSLContext, old: Client) -> bool:
    client = Client(accept(tls, clock), context, "x.b.example", old.tls.session).shake_hands()
    assert client.ask(b"x") == b"answer to x"
    reused: bool | None = client.tls.session_reused
    return bool(reused)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_sessions_resume_and_outlive_a_reload(
    tls: ServerTLS, clock: Clock, version: ssl.TLSVersion
) -> None:
    context = trust(ROOT, version)
    client = Client(accept(tls, clock), context, "x.b.example").shake_hands()
    assert client.ask(b"x")
    assert _resumes(tls, clock, context, client)
    tls.replace([ROOT.issue("renewed.example"), ROOT.issue("x.b.example")])
    assert _resumes(tls, clock, context, client)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_the_keys_of_tickets_last_a_day(
    tls: ServerTLS, clock: Clock, version: ssl.TLSVersion
) -> None:
    context = trust(ROOT, version)
    client = Client(accept(tls, clock), context, "x.b.example").shake_hands()
    assert client.ask(b"x")
    clock.advance(TICKET_KEY_TIME - 1)
    assert _resumes(tls, clock, context, client)
    clock.advance(1)
    assert not _resumes(tls, clock, context, client)
    assert client.ask(b"y") == b"answer to y"


# What is no TLS.


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\nHost: first.example\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0" * 20_000,
        b"\x16\x03\x01\xff\xff" + b"x" * 70_000,
        CLIENT_HELLO_TLS_1_1,
    ],
    ids=["HTTP", "SSH", "zeros", "a record too long", "TLS 1.1"],
)
def test_what_is_no_tls_ends_the_connection_and_leaves_no_word_in_the_log(
    client: Client, junk: bytes, logged: Sequence[LogEvent]
) -> None:
    client.server.dataReceived(junk)
    assert client.wire.disconnecting
    client.server.dataReceived(junk)
    client.hang_up()
    assert client.application.seen == ["made", "lost"]
    assert logged == []


def test_a_handshake_may_be_cut_off_anywhere_without_a_word_in_the_log(
    tls: ServerTLS, clock: Clock, logged: Sequence[LogEvent]
) -> None:
    for kept in range(1, 500, 7):
        client = Client(accept(tls, clock), trust(ROOT), "first.example")
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        client.server.dataReceived(client.out()[:kept])
        client.hang_up()
        assert client.application.seen == ["made", "lost"]
    assert logged == []
    assert clock.getDelayedCalls() == []


# Deadlines.


def test_a_handshake_has_a_deadline(client: Client, clock: Clock) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client.server.dataReceived(client.out())
    clock.advance(HANDSHAKE_TIME - 1)
    assert not client.wire.disconnected
    clock.advance(1)
    assert client.wire.disconnected


def test_a_handshake_that_trickles_gets_no_more_time(client: Client, clock: Clock) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    for byte in client.out()[:100]:
        client.server.dataReceived(bytes([byte]))
        clock.advance(HANDSHAKE_TIME / 99)
    assert client.wire.disconnected


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_finished_handshake_has_no_deadline(
    tls: ServerTLS, clock: Clock, version: ssl.TLSVersion
) -> None:
    client = Client(accept(tls, clock), trust(ROOT, version)).shake_hands()
    assert clock.getDelayedCalls() == []
    assert client.application.seen == ["made", "handshake"]


# The ends of a connection.


@pytest.mark.parametrize("end", ["loseConnection", "loseWriteConnection"])
@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_an_end_is_a_half_close_until_the_client_closes_too(
    tls: ServerTLS, clock: Clock, version: ssl.TLSVersion, end: str
) -> None:
    client = Client(accept(tls, clock), trust(ROOT, version)).shake_hands()
    client.application.write(b"last")
    getattr(client.application.transport, end)()
    assert not client.wire.disconnecting
    client.tls.write(b"late")
    client.pump()
    assert client.application.seen[-1] == b"late"
    assert client.tls.read(100) == b"last"
    assert client.tls.read(100) == b""
    client.server.dataReceived(client.close_notify())
    assert client.wire.disconnecting
    client.hang_up()
    assert clock.getDelayedCalls() == []


def test_a_client_that_does_not_close_is_cut_off(client: Client, clock: Clock) -> None:
    client.shake_hands().application.lose()
    clock.advance(CLOSE_TIME - 1)
    client.application.lose()
    assert not client.wire.disconnected
    clock.advance(1)
    assert client.wire.disconnected


def test_an_end_within_the_handshake_is_one_at_once(client: Client) -> None:
    client.application.lose()
    assert client.wire.disconnected


def test_a_request_that_comes_with_close_notify_is_answered(client: Client) -> None:
    client.shake_hands().tls.write(b"x")
    client.server.dataReceived(client.close_notify())
    assert client.wire.disconnecting
    client.pump()
    assert client.tls.read(100) == b"answer to x"


def test_a_client_that_closes_without_close_notify_is_still_answered(
    tls: ServerTLS, clock: Clock
) -> None:
    client = Client(accept(tls, clock, LateApplication), trust(ROOT)).shake_hands()
    client.server.readConnectionLost()
    assert client.application.seen[-1] == "ended"
    assert client.wire.disconnecting
    client.pump()
    assert client.tls.read(100) == b"late"
    assert client.tls.read(100) == b""


def test_what_knows_no_half_close_is_closed(client: Client) -> None:
    client.shake_hands().server.readConnectionLost()
    assert client.wire.disconnecting


def test_a_wire_that_ends_within_the_handshake_is_gone_at_once(client: Client) -> None:
    client.server.readConnectionLost()
    assert client.wire.disconnected
