"""TLS in the lane: what is spoken, which certificate a client gets, and how records may come."""

import ssl
import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import cast

import pytest
from twisted.logger import LogEvent, capturedLogs

from regroute.certificates import Certificate
from regroute.web.lane_tls import LaneTLS, certified, without_server_names
from regroute.web.streams import RECORD
from regroute.web.tls import TICKET_KEY_TIME

from ..issuers import new_key
from .answers import read_answers
from .handshakes import CLIENT_HELLO_TLS_1_1, trust
from .lanes import Laned, TLSTalker, laned
from .memory import GET
from .test_connection import LAST, PUT, get, paths
from .test_tls import CERTIFICATES, FATAL, FIRST, OFFERS, PROTOCOL_VERSION, ROOT, VERSIONS


@pytest.fixture
def bed() -> Iterator[Laned]:
    with laned() as bed:
        yield bed


@pytest.fixture
def tls(bed: Laned) -> LaneTLS:
    return LaneTLS(CERTIFICATES, bed.clock)


@pytest.fixture
def client(bed: Laned, tls: LaneTLS) -> TLSTalker:
    return TLSTalker(bed.connect(tls=tls), trust(ROOT), "first.example")


@pytest.fixture
def logged() -> Iterator[Sequence[LogEvent]]:
    with capturedLogs() as events:
        yield events


def connect(
    bed: Laned, tls: LaneTLS, context: ssl.SSLContext, name: str | None = None
) -> TLSTalker:
    return TLSTalker(bed.connect(tls=tls), context, name).shake_hands()


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
    bed: Laned, tls: LaneTLS, version: ssl.TLSVersion, name: str | None, shown: str
) -> None:
    client = connect(bed, tls, trust(ROOT, version), name)
    assert client.shown() == [shown]
    assert len(read_answers(client.send(GET, GET).received)) == 2


def test_new_certificates_are_for_new_connections_and_old_ones_live_on(
    bed: Laned, tls: LaneTLS
) -> None:
    old = connect(bed, tls, trust(ROOT), "first.example")
    begun = TLSTalker(bed.connect(tls=tls), trust(ROOT), "first.example")
    tls.replace([ROOT.issue("renewed.example")])
    new = connect(bed, tls, trust(ROOT), "first.example")
    assert new.shown() == ["renewed.example"]
    assert begun.shake_hands().shown() == ["renewed.example"]
    assert read_answers(old.send(GET).received)


def test_a_certificate_that_openssl_does_not_take_changes_nothing(bed: Laned, tls: LaneTLS) -> None:
    wrong = Certificate(FIRST.chain, new_key(), FIRST.names)
    with pytest.raises(ValueError, match="OpenSSL does not take the certificate"):
        certified(wrong)
    with pytest.raises(ValueError, match="OpenSSL does not take the certificate"):
        tls.replace([ROOT.issue("renewed.example"), wrong])
    assert connect(bed, tls, trust(ROOT), "first.example").shown() == ["first.example"]


# What is spoken.


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_tls_1_2_and_1_3_are_spoken(bed: Laned, tls: LaneTLS, version: ssl.TLSVersion) -> None:
    client = connect(bed, tls, trust(ROOT, version))
    assert client.tls.version() == version.name.replace("_", ".")
    assert client.tls.compression() is None


def test_tls_1_1_gets_an_alert(client: TLSTalker) -> None:
    client.talker.send(CLIENT_HELLO_TLS_1_1)
    assert client.talker.received[-2:] == bytes([FATAL, PROTOCOL_VERSION])
    assert client.talker.fate != "open"


@pytest.mark.parametrize("ciphers", ["ECDHE-ECDSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256"])
def test_old_ciphers_are_not_spoken(bed: Laned, tls: LaneTLS, ciphers: str) -> None:
    context = trust(ROOT, ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(ciphers)
    with pytest.raises(ssl.SSLError, match="handshake failure"):
        connect(bed, tls, context)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize(("offered", "chosen"), OFFERS)
def test_the_protocol_is_http_1(
    bed: Laned, tls: LaneTLS, version: ssl.TLSVersion, offered: list[str], chosen: str | None
) -> None:
    context = trust(ROOT, version)
    context.set_alpn_protocols(offered)
    client = connect(bed, tls, context)
    assert client.tls.selected_alpn_protocol() == chosen
    assert read_answers(client.send(GET).received)


# Resumption.


def resumes(bed: Laned, tls: LaneTLS, context: ssl.SSLContext, old: TLSTalker) -> bool:
    client = TLSTalker(bed.connect(tls=tls), context, "x.b.example", old.tls.session)
    assert read_answers(client.shake_hands().send(GET).received)
    return bool(client.tls.session_reused)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_sessions_resume_and_outlive_a_reload(
    bed: Laned, tls: LaneTLS, version: ssl.TLSVersion
) -> None:
    context = trust(ROOT, version)
    client = connect(bed, tls, context, "x.b.example").send(GET)
    assert resumes(bed, tls, context, client)
    tls.replace([ROOT.issue("renewed.example"), ROOT.issue("x.b.example")])
    assert resumes(bed, tls, context, client)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_the_keys_of_tickets_last_a_day(bed: Laned, tls: LaneTLS, version: ssl.TLSVersion) -> None:
    context = trust(ROOT, version)
    client = connect(bed, tls, context, "x.b.example").send(GET)
    # Not by `advance`, which would sweep the lane ten thousand times.
    bed.clock.rightNow += TICKET_KEY_TIME - 1
    assert resumes(bed, tls, context, client)
    bed.clock.rightNow += 1
    assert not resumes(bed, tls, context, client)


# What is no TLS, and what is cut off.


@pytest.mark.parametrize(
    "junk",
    [GET, b"SSH-2.0-OpenSSH_9.2\r\n", b"\0" * 20_000, b"\x16\x03\x01\xff\xff" + b"x" * 70_000],
    ids=["HTTP", "SSH", "zeros", "a record too long"],
)
def test_what_is_no_tls_ends_the_connection_and_leaves_no_word_in_the_log(
    bed: Laned, client: TLSTalker, junk: bytes, logged: Sequence[LogEvent]
) -> None:
    client.talker.send(junk)
    client.talker.read()
    assert client.talker.fate != "open"
    assert logged == []
    assert bed.entries == []
    assert not bed.site.connections


def test_a_handshake_may_be_cut_off_anywhere(
    bed: Laned, tls: LaneTLS, logged: Sequence[LogEvent]
) -> None:
    for kept in range(1, 500, 7):
        client = TLSTalker(bed.connect(tls=tls), trust(ROOT), "first.example")
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        client.talker.send(client.out()[:kept]).end()
        assert client.talker.fate == "ended"
    assert logged == []
    assert not bed.site.connections


def test_broken_bytes_after_the_handshake_get_an_alert_and_the_end(client: TLSTalker) -> None:
    client.shake_hands()
    before = len(client.talker.received)
    client.talker.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    assert len(client.talker.received) > before
    assert client.talker.fate != "open"


def test_a_handshake_may_come_byte_by_byte(client: TLSTalker) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client.talker.send(*[bytes([byte]) for byte in client.out()])
    assert read_answers(client.shake_hands().send(GET).received)


# Records.


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_several_records_may_come_at_once(
    bed: Laned, tls: LaneTLS, version: ssl.TLSVersion
) -> None:
    client = connect(bed, tls, trust(ROOT, version))
    names = [str(number) for number in range(40)]
    for name in names:
        client.tls.write(get(name))
    client.talker.send(client.out())
    assert paths(read_answers(client.read())) == names


def test_a_record_may_come_byte_by_byte(client: TLSTalker) -> None:
    client.shake_hands().tls.write(GET)
    client.talker.send(*[bytes([byte]) for byte in client.out()])
    assert len(read_answers(client.read())) == 1


def test_a_request_may_come_with_the_end_of_the_handshake(client: TLSTalker) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client.pump()
    client.tls.do_handshake()
    client.tls.write(LAST)
    client.talker.send(client.out())
    client.pump()
    (answer,) = read_answers(client.read())
    assert (answer.status, client.has_ended) == (302, True)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_hundred_kilobytes_are_taken(bed: Laned, tls: LaneTLS, version: ssl.TLSVersion) -> None:
    client = connect(bed, tls, trust(ROOT, version))
    upload = PUT + b"Content-Length: %d\r\n\r\n" % (60 * 1024)
    body = b"x" * (60 * 1024)
    client.send(upload, *[body[at : at + RECORD] for at in range(0, len(body), RECORD)])
    client.send(b"\r\n" * 20_000, GET)
    assert [answer.status for answer in read_answers(client.received)] == [405, 302]


def test_the_keys_may_change(client: TLSTalker) -> None:
    """A narrow client that reads late gets every answer once (the TLS records wait their turn)."""
    client.shake_hands()
    names = [str(number) for number in range(300)]
    for name in names:
        client.tls.write(get(name))
    client.send(b"")
    client.talker.send(client.out())
    assert paths(read_answers(client.read())) == names


# Ends.


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("raw", [GET, GET + get("a"), b"", GET[:9]])
def test_what_comes_with_close_notify_is_answered_and_then_closed(
    bed: Laned, tls: LaneTLS, version: ssl.TLSVersion, raw: bytes
) -> None:
    client = connect(bed, tls, trust(ROOT, version))
    if raw:
        client.tls.write(raw)
    client.close_notify()
    client.talker.read()
    assert client.talker.fate == "ended"
    assert len(bed.entries) == raw.count(b"\r\n\r\n")
    assert not bed.site.connections


def test_who_ends_without_close_notify_is_answered(bed: Laned, client: TLSTalker) -> None:
    client.shake_hands().tls.write(GET + get("a"))
    client.talker.near.sendall(client.out())
    client.talker.deliver()
    client.talker.end()
    client.pump()
    assert len(read_answers(client.read())) == 2
    assert client.has_ended
    assert not bed.site.connections


@pytest.mark.parametrize("raw", [LAST, GET + LAST, b"x\r\n\r\n"])
def test_our_end_is_told_by_close_notify(client: TLSTalker, raw: bytes) -> None:
    client.shake_hands().send(raw)
    assert read_answers(client.received)[-1].closes
    assert client.has_ended


@pytest.mark.parametrize(
    "raw", [get("<" * 3900), get("<" * 3900)[:-2] + b"Connection: close\r\n\r\n"]
)
@pytest.mark.parametrize("notifies", [False, True])
def test_what_the_kernel_does_not_take_at_once_is_sent_later(
    bed: Laned, tls: LaneTLS, raw: bytes, notifies: bool
) -> None:
    whole = connect(bed, tls, trust(ROOT)).send(raw).received
    client = TLSTalker(bed.connect(tls=tls, is_narrow=True), trust(ROOT)).shake_hands()
    stays = not notifies and b"close" not in raw
    client.tls.write(raw)
    if notifies:
        client.close_notify()
    for _ in range(100):
        client.read()
        if client.has_ended or (stays and len(client.received) >= len(whole)):
            break
        client.talker.read_to(len(client.talker.received) + 1)
    assert client.received == whole
    assert client.has_ended is not stays


def test_a_server_name_that_is_no_ascii_makes_no_noise() -> None:
    """`ssl` would print a traceback for each, as often as a stranger likes."""
    heard: list[object] = []
    hook = without_server_names(heard.append)
    error = UnicodeDecodeError("ascii", b"\xff", 0, 1, "ordinal not in range(128)")
    for culprit, told in ((b"\xff.example", 0), ("something else", 1)):
        unraisable = SimpleNamespace(object=culprit, exc_value=error)
        hook(cast("sys.UnraisableHookArgs", unraisable))
        assert len(heard) == told
