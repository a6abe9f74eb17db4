"""The lane: what it remembers, what it leaves, whom it closes, and what it never does."""

import random
import socket
from collections.abc import Iterator
from typing import cast

import pytest
from twisted.internet.interfaces import IHostnameResolver, IReadDescriptor
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from regroute.config.schema import Limits
from regroute.metrics.events import uncounted
from regroute.relay.service import Relaying
from regroute.web import memory
from regroute.web.connection import PROXY_IDLE_TIME
from regroute.web.lane import BURST, SWEEP_TIME
from regroute.web.lane_tls import LaneTLS
from regroute.web.memory import Memory, Served
from regroute.web.tls import HANDSHAKE_TIME
from regroute.web.visitor import Visitor

from ..issuers import new_root
from ..making import IDLE_TIME
from .answers import read_answers
from .handshakes import trust
from .lanes import Laned, Talker, TLSTalker, descriptors, laned
from .memory import GET, SEED_RULES, rules_of
from .test_connection import LAST, PUT, get, paths

STRANGER, PROXY = "192.0.2.9", "127.0.0.1"
OTHER_RULES = rules_of("rules: [{to: https://other.example}]")
ROOT = new_root()


@pytest.fixture
def bed() -> Iterator[Laned]:
    with laned() as bed:
        yield bed


def is_in_lane(bed: Laned) -> bool:
    """Whether the only connection is still the lane's."""
    (visitor,) = bed.lane.visitors.values()
    return isinstance(visitor, Visitor)


def test_the_reactor_sees_one_descriptor(bed: Laned) -> None:
    assert verifyObject(IReadDescriptor, bed.lane)


# What is answered here, and what is left to the tree.


@pytest.mark.parametrize(
    ("raw", "stays"),
    [
        (GET, True),
        (b"HEAD" + GET[3:], True),
        (b"GET http://h/v2/ HTTP/1.1\r\nHost: h\r\n\r\n", True),
        (b"GET /v2/../x HTTP/1.1\r\nHost: h\r\n\r\n", True),
        (GET[:-2] + b"X-Real-IP: nobody\r\n\r\n", True),
        (GET + GET, False),
        (GET[:-1], False),
        (b"\r\n" + GET, False),
        (PUT + b"\r\n", False),
        (GET[:-2] + b"Content-Length: 0\r\n\r\n", False),
        (GET[:-2] + b"Expect: 100-continue\r\n\r\n", False),
        (GET[:-2] + b"a: " + b"x" * 5000 + b"\r\n\r\n", False),
    ],
)
def test_plain_heads_by_themselves_stay_in_the_lane(bed: Laned, raw: bytes, stays: bool) -> None:
    talker = bed.connect(PROXY).send(raw)
    assert is_in_lane(bed) is stays
    assert talker.fate == "open"


@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.parametrize("is_known", [False, True])
def test_a_last_request_is_answered_and_closed(bed: Laned, is_early: bool, is_known: bool) -> None:
    if is_known:
        bed.connect(STRANGER, LAST).read()
    talker = bed.connect(STRANGER, LAST if is_early else b"")
    talker.send(*[LAST][is_early:])
    (answer,) = read_answers(talker.read())
    assert (answer.status, answer.closes, talker.fate) == (302, True, "ended")
    assert not bed.lane.visitors
    assert not bed.site.connections


def test_every_answer_is_recorded_with_its_own_peer(bed: Laned) -> None:
    peers = ["192.0.2.9", "192.0.2.10", "::ffff:192.0.2.11", "2001:db8::1"]
    for peer in peers * 2:
        bed.connect(peer, LAST).read()
    assert [str(entry.client) for entry in bed.entries] == peers * 2


def test_whom_proxies_name_is_recorded_and_decides(bed: Laned) -> None:
    office = GET[:-2] + b"X-Real-IP: 192.168.0.1\r\n\r\n"
    seen: list[tuple[str, str | None]] = []
    for peer in [STRANGER, PROXY, "127.0.0.2", "::1", STRANGER, PROXY]:
        bed.connect(peer).send(office)
        seen.append((str(bed.entries[-1].client), bed.entries[-1].rule))
    stranger, named = (STRANGER, "rule-2"), ("192.168.0.1", "rule-1")
    assert seen == [stranger, named, named, named, stranger, named]


def test_nothing_is_recorded_where_nobody_wants_it(bed: Laned) -> None:
    bed.site.is_recording = lambda: False
    bed.connect().send(GET, GET)
    assert bed.entries == []


# No name is looked up.
_NO_RESOLVER = cast("IHostnameResolver", None)


def test_the_token_endpoint_is_no_matter_of_the_rules() -> None:
    """A rule for everything would redirect there, and so would the lane."""
    rules = rules_of(
        "registries: {hub: {url: https://hub.example, mode: relay}}\n"
        "rules: [{repository: a, to: hub}, {to: https://other.example}]"
    )
    with laned(rules) as bed:
        bed.site.relaying = Relaying(
            lambda: rules, lambda origins: None, _NO_RESOLVER, bed.lane, bed.clock, uncounted
        )
        talker = bed.connect(STRANGER).send(b"GET /token?scope=a:b HTTP/1.1\r\nHost: h\r\n\r\n")
        talker.send(b"GET /tokens HTTP/1.1\r\nHost: h\r\n\r\n")
        assert [answer.status for answer in read_answers(talker.received)] == [400, 302]


# What is remembered.


def test_new_rules_hold_for_the_next_request_and_empty_what_is_remembered(bed: Laned) -> None:
    talker, silent = bed.connect(STRANGER).send(GET, GET), bed.connect(STRANGER).send(GET)
    old = bed.lane.memory
    at_hand = old.answers_for(STRANGER)
    assert GET in at_hand
    bed.rules = OTHER_RULES
    talker.send(GET)
    locations = [answer.field(b"location") for answer in read_answers(talker.received)]
    assert locations == [b"https://k8s.gcr.io/v2/"] * 2 + [b"https://other.example/v2/"]
    assert not at_hand
    assert bed.lane.memory is not old
    assert read_answers(silent.send(GET).received)[1].field(b"location") == locations[2]


def test_old_rules_are_forgotten_even_if_nobody_asks(bed: Laned) -> None:
    bed.connect(STRANGER).send(GET)
    at_hand = bed.lane.memory.answers_for(STRANGER)
    bed.rules = OTHER_RULES
    bed.clock.advance(SWEEP_TIME)
    assert not at_hand
    assert bed.lane.memory.rules is OTHER_RULES


def sizes(remembered: Memory) -> tuple[int, int, int]:
    """How many heads and peers there are, and how many bytes of heads and their answers."""
    heads = [each for answers in remembered._by_networks.values() for each in answers.items()]
    size = sum(len(head) + len(served.before) + len(served.after) for head, served in heads)
    return len(heads), len(remembered._by_peer), size


@pytest.mark.parametrize("length", [10, 3000])
def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr(memory, "REMEMBERED", 50)
    monkeypatch.setattr(memory, "REMEMBERED_BYTES", 100_000)
    chance = random.Random(1)
    remembered = Memory(
        SEED_RULES, lambda entry: lambda time, client, microseconds: None, lambda target: False
    )
    most = (0, 0, 0)
    for _ in range(1000):
        peer = f"127.0.{chance.randrange(9)}.{chance.randrange(256)}"
        if chance.random() < 0.5:
            peer = f"192.168.0.{chance.randrange(256)}"
        path = b"%x" % chance.getrandbits(4 * length)
        named = b"192.0.2.%d" % chance.randrange(256)
        head = b"GET /%s HTTP/1.1\r\nHost: h\r\nX-Real-IP: %s\r\n\r\n" % (path, named)
        if remembered.answers_for(peer).get(head) is None:
            assert remembered.recognise(head, peer, 16_384) is not None
        count, peers, size = sizes(remembered)
        assert count == remembered.count
        assert size <= remembered.size
        most = (max(most[0], count), max(most[1], peers), max(most[2], size))
    assert most[0] <= 50
    assert most[1] <= 50
    assert most[2] <= 100_000
    # And it does remember.
    assert most[0] == 50 or most[2] > 50_000


def test_a_head_that_is_too_long_for_the_limit_is_refused_though_the_lane_could() -> None:
    with laned(limits=Limits.model_construct(head=1.0, idle=2.0, head_size=100)) as bed:
        talker = bed.connect(STRANGER).send(b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        assert [answer.status for answer in read_answers(talker.received)] == [414]


# Fairness, and clients that do not read.


def test_who_pipelines_gets_one_request_a_turn_and_holds_nobody_up(bed: Laned) -> None:
    greedy, good = bed.connect(STRANGER), bed.connect(PROXY)
    greedy.near.sendall(b"".join(get(str(number)) for number in range(50)))
    good.near.sendall(get("good"))
    greedy.deliver()
    good.deliver()
    bed.lane.doRead()
    assert b"/v2/good" in good.near.recv(10_000, socket.MSG_DONTWAIT)
    assert greedy.near.recv(1 << 20, socket.MSG_DONTWAIT).count(b"HTTP/1.1 302") <= 2
    greedy.read()
    assert [entry.path for entry in bed.entries if entry.path != b"/v2/good"] == [
        b"/v2/%d" % number for number in range(50)
    ]


def test_who_never_reads_gets_no_more_than_the_buffers_hold(bed: Laned) -> None:
    talker = bed.connect(STRANGER, is_narrow=True)
    talker.near.setblocking(False)
    # One at a time, so that it begins in the lane.
    for number in range(3000):
        try:
            talker.near.send(get(str(number)))
        except BlockingIOError:
            break
        bed.settle()
    answered = len(bed.entries)
    assert 5 < answered < 1000
    # All of them come, once and in order, when it reads.
    talker.end()
    while talker.fate == "open":
        talker.read_to(len(talker.received) + 1)
    names = paths(read_answers(talker.received))
    assert names[:answered] == [str(number) for number in range(answered)]
    assert names == [str(number) for number in range(len(names))]


@pytest.mark.parametrize(
    "raw", [get("<" * 3900), get("<" * 3900)[:-2] + b"Connection: close\r\n\r\n"]
)
@pytest.mark.parametrize("is_known", [False, True])
def test_what_the_kernel_does_not_take_at_once_is_sent_later(
    bed: Laned, raw: bytes, is_known: bool
) -> None:
    if is_known:
        bed.connect(STRANGER, raw).read()
    whole = bed.connect(STRANGER, raw).read()
    talker = bed.connect(STRANGER, raw, is_narrow=True)
    assert any(not isinstance(each, Visitor) for each in bed.lane.visitors.values())
    assert talker.read_to(len(whole)) == whole
    assert (talker.fate == "ended") is (b"close" in raw)


# Faults of ours.


def test_an_exception_in_one_connection_is_logged_and_ends_it_alone(
    bed: Laned, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(served: Served, peer: str, began: float) -> None:
        raise RuntimeError("the disk is on fire")

    good, bad = bed.connect(STRANGER), bed.connect(STRANGER)
    monkeypatch.setattr(bed.lane, "record_served", record)
    with capturedLogs() as events:
        bad.send(GET)
        fresh = bed.connect(STRANGER, LAST)
        tree = bed.connect(STRANGER, b"BAD\r\n\r\n")
    assert [event["log_failure"].type for event in events if "log_failure" in event]
    monkeypatch.undo()
    for talker in (bad, fresh):
        talker.read()
        assert talker.fate != "open"
    assert len(read_answers(tree.read())) == 1
    assert len(read_answers(good.send(GET, GET).received)) == 2


def test_a_connection_that_fails_on_its_way_to_the_tree_is_ended(
    bed: Laned, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, data: bytes) -> None:
        raise RuntimeError("the tree is on fire")

    talker = bed.connect(STRANGER)
    with monkeypatch.context() as patched, capturedLogs() as events:
        patched.setattr("regroute.web.connection.Connection.dataReceived", fail)
        talker.send(GET + GET)
        early = bed.connect(STRANGER, GET + GET)
        early.read()
    assert len(events) == 2
    assert (talker.fate != "open", early.fate != "open") == (True, True)
    assert not bed.site.connections
    assert not bed.lane.visitors


def test_no_descriptor_is_lost(bed: Laned) -> None:
    def run() -> None:
        talkers = [bed.connect(STRANGER, first) for first in (GET, LAST, GET + GET, b"x", LAST)]
        talkers += [bed.connect(STRANGER), bed.connect(STRANGER, b"\x16\x03", tls=tls)]
        reset = bed.connect(STRANGER, GET[:9])
        reset.near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        for talker in [*talkers, reset]:
            talker.near.close()
            bed.settle()
        bed._clients.clear()

    tls = LaneTLS([ROOT.issue("a.example")], bed.clock)
    run()
    before = descriptors()
    for _ in range(5):
        run()
    assert descriptors() == before
    assert not bed.site.connections
    assert not bed.lane.visitors


# Ends.


@pytest.mark.parametrize(
    ("peer", "time"), [(STRANGER, IDLE_TIME), (PROXY, PROXY_IDLE_TIME)], ids=["stranger", "proxy"]
)
@pytest.mark.parametrize("sent", [b"", GET])
def test_the_idle_are_closed(bed: Laned, peer: str, time: float, sent: bytes) -> None:
    talker = bed.connect(peer)
    pump(bed, 20)
    talker.send(sent)
    began = bed.clock.seconds() if sent else 0.0
    pump(bed, began + time - 1 - bed.clock.seconds())
    assert talker.read() is not None
    assert talker.fate == "open"
    pump(bed, 2)
    talker.read()
    assert talker.fate == "ended"
    assert not bed.site.connections


def pump(bed: Laned, seconds: float) -> None:
    """Let time pass, a second at a time."""
    while seconds > 0:
        bed.clock.advance(min(seconds, 1.0))
        seconds -= 1.0


@pytest.mark.parametrize("peer", [STRANGER, PROXY])
@pytest.mark.parametrize("trickles", [False, True])
def test_a_handshake_has_a_deadline_however_it_trickles(
    bed: Laned, peer: str, trickles: bool
) -> None:
    tls = LaneTLS([ROOT.issue("a.example")], bed.clock)
    client = TLSTalker(bed.connect(peer, tls=tls), trust(ROOT), "a.example")
    with pytest.raises(Exception, match="did not complete"):
        client.tls.do_handshake()
    hello = client.out()
    for second in range(int(HANDSHAKE_TIME)):
        assert client.talker.fate == "open"
        if trickles:
            client.talker.send(hello[second : second + 1])
        pump(bed, 1)
        client.talker.read()
    assert client.talker.fate != "open"


def test_a_finished_handshake_has_the_time_of_the_idle(bed: Laned) -> None:
    tls = LaneTLS([ROOT.issue("a.example")], bed.clock)
    client = TLSTalker(bed.connect(STRANGER, tls=tls), trust(ROOT), "a.example").shake_hands()
    pump(bed, IDLE_TIME - 1)
    client.send(GET)
    assert read_answers(client.received)
    pump(bed, IDLE_TIME + 1)
    client.read()
    assert client.has_ended


def test_a_drain_answers_what_has_come_and_closes(bed: Laned) -> None:
    idle, asking, many = (bed.connect(STRANGER) for _ in range(3))
    half = bed.connect(STRANGER).send(GET[:9])
    crowd = [bed.connect(STRANGER) for _ in range(BURST + 1)]
    for talker, raw in [(asking, GET), (many, GET * 5), *((each, GET) for each in crowd)]:
        talker.near.sendall(raw)
        talker.deliver()
    bed.lane.drain()
    bed.site.drain()
    emptied = bed.site.emptied()
    bed.settle()
    for talker in (asking, many, *crowd):
        talker.read()
        assert talker.fate == "ended"
        assert read_answers(talker.received)[-1].closes
    counts = [len(read_answers(talker.received)) for talker in (asking, many, *crowd)]
    assert counts == [1, 5] + [1] * len(crowd)
    half.send(GET[9:])
    (answer,) = read_answers(half.received)
    assert answer.closes
    idle.read()
    assert idle.fate == "open"
    bed.site.close_idle(bed.clock.seconds())
    idle.read()
    assert idle.fate == "ended"
    # They were told of the end by a half-close.
    assert not emptied.called
    for talker in (asking, many, half, *crowd):
        talker.end()
    assert emptied.called


def test_who_asks_again_while_the_lane_drains_is_told_that_it_was_the_last_time(
    bed: Laned,
) -> None:
    talker = bed.connect(STRANGER).send(GET)
    bed.lane.drain()
    bed.site.drain()
    talker.send(GET)
    assert [answer.closes for answer in read_answers(talker.received)] == [False, True]


def test_what_has_just_come_is_answered_before_an_idle_connection_is_closed(bed: Laned) -> None:
    talker = bed.connect(STRANGER)
    bed.lane.drain()
    bed.site.drain()
    talker.near.sendall(GET)
    talker.deliver()
    bed.site.close_idle(bed.clock.seconds())
    talker.read()
    (answer,) = read_answers(talker.received)
    assert answer.closes


def test_a_connection_that_leaves_for_the_tree_does_not_empty_the_site(bed: Laned) -> None:
    talker = bed.connect(STRANGER)
    emptied = bed.site.emptied()
    talker.send(GET[:9])
    assert not emptied.called
    talker.near.close()
    bed.settle()
    assert emptied.called


def test_a_stop_may_end_the_lane_while_it_serves_the_last_connection() -> None:
    bed = Laned()
    talker = bed.connect(STRANGER)
    stopped = bed.site.emptied().addCallback(lambda _: bed.lane.stop())
    talker.near.close()
    bed.lane.doRead()
    assert stopped.called
    assert bed.lane.visitors == {}
    bed.leave()


def test_an_abort_ends_everyone(bed: Laned) -> None:
    talkers: list[Talker] = [bed.connect(STRANGER), bed.connect(STRANGER).send(GET[:9])]
    bed.site.abort()
    for talker in talkers:
        talker.read()
        assert talker.fate != "open"
    assert not bed.site.connections
    assert not bed.lane.visitors
