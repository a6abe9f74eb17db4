"""The law of the lane: for the same bytes it sends, ends, records and counts what the tree does."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from regroute.metrics.events import Event
from regroute.web.lane_tls import LaneTLS

from ..issuers import new_root
from ..making import Books, site_of
from .handshakes import trust
from .lanes import TLSTalker, laned, lines_of
from .memory import Client, Turns, rules_of

RULES = """
clients: {{trusted_proxies: [127.0.0.0/8, "::1", 10.0.0.0/8, partner], header: {header}}}
networks: {{office: [192.168.0.0/24, "2001:db8::/32"], partner: [203.0.113.0/28]}}
rules:
  - {{path: /v2/_catalog, deny: "the catalog is not served", status: 404}}
  - {{path: /denied, deny: no}}
  - {{path: [/v2, /v2/], client: 192.0.2.0/24, respond: ok}}
  - {{method: POST, path: /post, to: "https://post.example"}}
  - {{host: fixed.example, location: "https://fixed.example/x", status: 308}}
  - {{client: office, to: "https://office.example/team"}}
  - {{client: 10.1.2.3, path: "/v2/*", to: "https://ten.example"}}
  - {{user_agent: "docker/*", to: "https://docker.example"}}
  - {{repository: "library/*", to: "https://library.example:5000"}}
  - {{client: [192.0.2.9, "10.0.0.0/8"], to: "https://other.example"}}
"""
RULE_SETS = {
    header: rules_of(RULES.format(header=header))
    for header in ("x-real-ip", "x-forwarded-for", "forwarded", "connection")
}
HEADERS = st.sampled_from(sorted(RULE_SETS))

PEERS = st.sampled_from(
    [
        *("127.0.0.1", "::1", "10.1.2.3", "10.1.2.4", "::ffff:10.1.2.3", "203.0.113.1"),
        *("192.168.0.1", "192.168.0.2", "::ffff:192.168.0.1", "192.0.2.9", "192.0.2.10"),
        *("2001:db8::1", "fe80::1%1", "198.51.100.1"),
    ]
)
METHODS = st.sampled_from(
    [b"GET"] * 6 + [b"HEAD", b"HEAD", b"POST", b"OPTIONS", b"get", b"CONNECT", b"PUT"]
)
TARGETS = st.sampled_from(
    [
        *(b"/", b"/v2/", b"/v2", b"/v2/library/postgres/manifests/12", b"/v2/a/blobs/sha256:00"),
        *(b"/v2/_catalog", b"/v2/%5fcatalog", b"/denied", b"/post", b"/v2/../x", b"/v2/a%2Fb/tags"),
        *(b"/v2//x", b"/a?b=<c>&d='", b"/\xff\x80", b"*", b"//evil.example", b"@evil", b".evil/"),
        *(b"http://fixed.example/y", b"http://h", b"HTTP://a@h/", b"/a#b", b"/x y", b"/\x7f", b""),
        b"/" + b"&" * 900,
    ]
)
HOSTS = [b"h", b"fixed.example", b"FIXED.example:80", b"", b"a b", b"[::1]", b"h\xff"]
FIELDS = st.sampled_from(
    [
        *(b"Connection: " + value for value in (b"close", b"keep-alive", b"TE, Close", b"")),
        *(b"Host: " + host for host in HOSTS),
        *(b"X-Real-IP: " + value for value in (b"192.168.0.1", b"10.1.2.3", b"", b"x", b"::1")),
        *(b"X-Forwarded-For: " + value for value in (b"192.168.0.1, 10.1.2.3", b"unknown", b" ,")),
        *(b"Forwarded: " + value for value in (b"for=192.168.0.2", b"for=_x", b'for="[::1]"')),
        *(b"Content-Length: " + value for value in (b"0", b"3", b"x", b"70000")),
        *(b"Transfer-Encoding: " + value for value in (b"chunked", b"gzip")),
        *(b"Expect: 100-continue", b"Upgrade: h2c", b"Cookie: a", b"Cookie: a=b; c=d"),
        *(b"User-Agent: docker/20", b"User-Agent: x\xe9", b"Referer: r", b"Range: bytes=0-1"),
        *(b" folded", b"no colon", b"a\x00: b", b"a: b\x01", b"a : b", b"If-None-Match: *"),
        *(b"If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT", b"Accept-Encoding: gzip"),
        *(b"Content-Type: multipart/form-data", b"a: \t b\t", b"a: " + b"x" * 3000),
    ]
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A request that is mostly well-formed, with what may come after its head."""
    version = draw(st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"http/1.1"]))
    line = b" ".join([draw(METHODS), draw(TARGETS), version])
    fields = draw(st.lists(FIELDS, max_size=3))
    if draw(st.integers(0, 9)):
        fields.insert(0, b"Host: " + draw(st.sampled_from(HOSTS[:3])))
    tail = draw(st.sampled_from([b""] * 8 + [b"\r\n", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"\n"]))
    return b"\r\n".join([line, *fields, b"", b""]) + tail


def _flip(raw: bytes, at: int) -> bytes:
    byte, bit = divmod(at % (8 * len(raw)), 8)
    return raw[:byte] + bytes([raw[byte] ^ 1 << bit]) + raw[byte + 1 :]


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    """What a client sends, as it comes: requests by themselves, together, cut, or broken."""
    sent = draw(st.lists(heads(), min_size=1, max_size=3))
    match draw(st.sampled_from(["each", "each", "each", "at once", "cut", "bytewise", "flipped"])):
        case "each":
            return sent
        case "at once":
            return [b"".join(sent)]
        case "cut":
            raw = b"".join(sent)
            cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=3)))
            edges = zip([0, *cuts], [*cuts, len(raw)], strict=True)
            return [raw[start:end] for start, end in edges if start < end]
        case "bytewise":
            return [bytes([byte]) for byte in b"".join(sent)[:700]]
        case _:
            flip = draw(st.integers(0, 10_000))
            return [_flip(sent[0], flip), *sent[1:]]


@dataclass(frozen=True)
class Seen:
    """What a client sees of its connection."""

    received: bytes
    is_open: bool


def without_interim(raw: bytes) -> bytes:
    """Answers without 100s, which depend on how much the kernel gives at once."""
    return raw.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")


def by_tree(site_client: Client, sent: Sequence[bytes]) -> list[Seen]:
    """What a client of the tree sees, before and after it closes its half."""
    for piece in sent:
        if site_client.is_reading:
            site_client.send(piece)
    seen = [Seen(without_interim(bytes(site_client.wire.written)), site_client.is_reading)]
    site_client.end()
    return [*seen, Seen(without_interim(bytes(site_client.wire.written)), site_client.is_reading)]


Conversations = st.lists(st.tuples(PEERS, pieces(), st.booleans()), min_size=1, max_size=4)
GET = b"GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n"
NAMED = b"GET /v2/ HTTP/1.1\r\nHost: h\r\nX-Real-IP: 192.168.0.1\r\n\r\n"


@settings(max_examples=400)
@given(HEADERS, Conversations)
@example("x-real-ip", [(peer, [NAMED, NAMED], True) for peer in ("192.0.2.9", "10.1.2.4")])
@example("connection", [("127.0.0.1", [NAMED[:-2] + b"Connection: TE\r\n\r\n"], False)])
@example("x-real-ip", [("127.0.0.1", [NAMED], True), ("192.168.0.1", [NAMED, GET], False)])
def test_the_lane_sends_ends_and_records_what_the_tree_does(
    header: str, conversations: list[tuple[str, list[bytes], bool]]
) -> None:
    rules = RULE_SETS[header]
    books = Books()
    clock = Turns()
    site = site_of(lambda: rules, clock, books.record, count=books.tally.count)
    with laned(rules) as bed:
        for peer, sent, is_early in conversations:
            client = Client(site=site, peer=peer)
            client.clock = clock
            expected = by_tree(client, sent)
            talker = bed.connect(peer, sent[0] if is_early else b"")
            talker.read()
            talker.send(*sent[is_early:])
            seen = [Seen(without_interim(talker.received), talker.fate == "open")]
            talker.end()
            seen.append(Seen(without_interim(talker.received), talker.fate == "open"))
            assert seen == expected
            assert bed.lines() == lines_of(books.entries)
            assert bed.books.counts() == books.counts()
        assert not bed.site.connections
        assert not bed.lane.visitors


ROOT = new_root()


@settings(max_examples=100)
@given(HEADERS, PEERS, pieces().filter(lambda sent: len(sent) < 50), st.booleans())
def test_over_tls_it_is_the_same(
    header: str, peer: str, sent: list[bytes], is_notified: bool
) -> None:
    rules = RULE_SETS[header]
    books = Books()
    clock = Turns()
    site = site_of(lambda: rules, clock, books.record, count=books.tally.count)
    site_client = Client(site=site, peer=peer)
    site_client.clock = clock
    expected = by_tree(site_client, sent)
    with laned(rules) as bed:
        client = TLSTalker(bed.connect(peer, tls=TLS), trust(ROOT), "a.example").shake_hands()
        client.send(*sent)
        seen = [Seen(without_interim(client.received), not client.has_ended)]
        if is_notified:
            client.close_notify()
        else:
            client.talker.end()
            client.pump()
        client.read()
        seen.append(Seen(without_interim(client.received), not client.has_ended))
        assert seen == expected
        assert not bed.site.connections
        counts = bed.books.counts()
        assert counts.pop(Event.HANDSHAKE_DONE.value) == 1
        assert counts == books.counts()


TLS = LaneTLS([ROOT.issue("a.example")], Clock())


@pytest.mark.parametrize("seed", range(4))
def test_heads_answered_before_are_answered_the_same_again(seed: int) -> None:
    """The same few heads over and over from everywhere: what is remembered is used."""
    chance = random.Random(seed)
    rules = RULE_SETS[["x-real-ip", "x-forwarded-for", "forwarded"][seed % 3]]
    names = ["10.1.2.3", "192.168.0.1", "127.0.0.1", "", "unknown", "192.0.2.10"]
    requests = [
        b"GET /v2/%s HTTP/1.1\r\nHost: h\r\nX-Real-IP: %s\r\nX-Forwarded-For: %s\r\n"
        b"Forwarded: for=%s\r\nConnection: %s\r\n\r\n" % (path, name, name, name or b"_a", close)
        for path in (b"", b"library/a/tags/list")
        for name in map(str.encode, names)
        for close in (b"close", b"keep-alive")
    ]
    peers = ["127.0.0.1", "127.0.0.2", "10.1.2.3", "192.168.0.1", "192.168.0.2", "192.0.2.10"]
    books = Books()
    clock = Turns()
    site = site_of(lambda: rules, clock, books.record, count=books.tally.count)
    with laned(rules) as bed:
        for _ in range(300):
            peer, sent = chance.choice(peers), [chance.choice(requests)]
            client = Client(site=site, peer=peer)
            client.clock = clock
            talker = bed.connect(peer, sent[0])
            talker.end()
            assert by_tree(client, sent)[1] == Seen(talker.received, False)
        assert bed.lines() == lines_of(books.entries)
        assert bed.books.counts() == books.counts()
        assert bed.lane.memory.count > 50
