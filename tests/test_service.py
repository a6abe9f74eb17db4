"""The lifetimes of sockets and connections."""

import errno
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from regroute.check import Checked
from regroute.config.faults import Faulty
from regroute.listeners import Listeners
from regroute.networks.spans import Address, parse_address
from regroute.reactor import Reactor
from regroute.server import bind
from regroute.service import GRACE, LET_IN_TIME, InOrder, Serving
from regroute.web.accept import Acceptor
from regroute.web.listening import PassedPlace, TcpPlace, UnixPlace, open_sockets
from regroute.web.tree import Site

from .making import checked, site_of
from .ports import free_port, free_ports
from .web.memory import GET, SEED_RULES, Client

BODY_AWAITED = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"
RULES = "rules: [{to: https://a.example}]"


def tcp(host: str | None, port: int = 0) -> TcpPlace:
    address: Address | None = None if host is None else parse_address(host)
    return TcpPlace(port, address)


def reaches(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


# Sockets.


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        (None, {"127.0.0.1", "::1"}),
        ("::", {"127.0.0.1", "::1"}),
        ("0.0.0.0", {"127.0.0.1"}),
        ("127.0.0.1", {"127.0.0.1"}),
        ("::1", {"::1"}),
    ],
)
def test_a_listener_takes_the_families_that_its_host_stands_for(
    host: str | None, reached: set[str]
) -> None:
    ((opened,),) = open_sockets(tcp(host), {})
    with opened:
        port = opened.getsockname()[1]
        assert {host for host in ("127.0.0.1", "::1") if reaches(host, port)} == reached


def test_where_there_is_no_ipv6_the_default_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoIPv6(socket.socket):
        def __init__(self, family: int = -1, *args: int, **kwargs: int) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *args, **kwargs)

    monkeypatch.setattr(socket, "socket", NoIPv6)
    ((opened,),) = open_sockets(tcp(None), {})
    with opened:
        assert opened.getsockname()[0] == "0.0.0.0"
    with pytest.raises(OSError, match="Address family not supported"):
        open_sockets(tcp("::"), {})


def test_a_taken_port_is_an_os_error_that_names_it() -> None:
    ((taken,),) = open_sockets(tcp("127.0.0.1"), {})
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"127\.0\.0\.1 port {port}: Address already in use"):
            open_sockets(tcp("127.0.0.1", port), {})


def test_a_port_can_move_to_another_host_beside_a_socket_that_is_about_to_go() -> None:
    ((old,),) = open_sockets(tcp(None), {})
    with old:
        port = old.getsockname()[1]
        ((new,),) = open_sockets(tcp("127.0.0.1", port), {}, beside=[old])
        with new:
            assert new.getsockname() == ("127.0.0.1", port)


def test_a_unix_socket_replaces_one_that_nobody_listens_to(tmp_path: Path) -> None:
    place = UnixPlace(str(tmp_path / "s"))
    ((dead,),) = open_sockets(place, {})
    dead.close()
    ((living,),) = open_sockets(place, {})
    with living:
        assert os.stat(place.path).st_mode & 0o777 == 0o666
        with pytest.raises(OSError, match="in use"):
            open_sockets(place, {})


def test_a_unix_socket_replaces_no_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        open_sockets(UnixPlace(str(path)), {})
    assert path.read_text() == "mine"


def test_a_passed_socket_that_is_missing_names_those_that_are_not() -> None:
    with pytest.raises(OSError, match="systemd passed no socket of this name, but http, https"):
        open_sockets(PassedPlace("web"), {"https": [7], "http": [8]})


# Serving.


class Bed:
    """A service with the configuration in force, on real sockets that only `turn` accepts from.

    Connections are counted and closed.
    """

    def __init__(self, listen: str, passed: dict[str, list[int]] | None = None) -> None:
        self.reactor = MemoryReactorClock()
        self.adopted = 0
        self.site: Site = site_of(lambda: SEED_RULES, self.reactor)
        self.configured = self.configuration(listen)
        self.site.limits = lambda: self.configured.config.limits
        self.listeners = Listeners(passed or {}, Path("/"))
        self.service = Serving(self.site, Path("/"), cast("Reactor", self.reactor))

    @staticmethod
    def configuration(listen: str) -> Checked:
        return checked(f"listen: {listen}\n{RULES}")

    def start(self) -> "Bed":
        bind(self.listeners, self.configured)
        self.serve()
        return self

    def serve(self) -> None:
        self.service.startService()
        self.service.apply(self.configured, self.listeners.of(0))
        self.count()

    def reload(self, listen: str) -> None:
        """Let other listeners take force; those that go are accepted from for a moment."""
        new = self.configuration(listen)
        opened = self.listeners.open(new)
        self.configured = new
        self.service.apply(new, opened.of(0))
        self.listeners.apply(new, opened)
        self.count()

    def count(self) -> None:
        """Count the connections of all listeners."""
        for acceptor in self.acceptors():
            acceptor.adopt = self._adopt

    def _adopt(self, accepted: socket.socket, name: object) -> None:
        self.adopted += 1
        accepted.close()

    def turn(self) -> int:
        """Accept what has come, and say how many it were."""
        before = self.adopted
        for acceptor in self.acceptors():
            acceptor.doRead()
        return self.adopted - before

    def acceptors(self) -> list[Acceptor]:
        """Who accepts at the moment."""
        readers = MemoryReactorClock.getReaders(self.reactor)
        return [reader for reader in readers if isinstance(reader, Acceptor)]

    def close(self) -> None:
        self.service.stopService()
        self.reactor.advance(LET_IN_TIME)
        self.reactor.advance(GRACE)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        yield port


def test_every_listener_is_accepted_from_once_the_service_runs() -> None:
    one, two = free_ports(2)
    bed = Bed(f"[{{port: {one}, host: 127.0.0.1}}, {{port: {two}}}]")
    bind(bed.listeners, bed.configured)
    assert reaches("127.0.0.1", one)
    assert reaches("::1", two)
    assert bed.turn() == 0
    bed.serve()
    assert bed.turn() == 2
    bed.close()


def test_a_taken_port_ends_the_daemon_with_its_fault(taken: int) -> None:
    configured = Bed.configuration(f"[{{port: {taken}, host: 127.0.0.1}}]")
    with pytest.raises(SystemExit) as ended:
        bind(Listeners({}, Path("/")), configured)
    assert str(ended.value) == (
        f"rules.yaml:1:10: cannot listen: 127.0.0.1 port {taken}: Address already in use"
    )


def test_a_reload_opens_and_closes_what_changed_alone() -> None:
    one, two, three = free_ports(3)
    bed = Bed(f"[{{port: {one}}}, {{port: {two}}}]").start()
    bed.reload(f"[{{port: {two}}}, {{port: {three}}}]")
    bed.reactor.advance(LET_IN_TIME)
    assert [reaches("127.0.0.1", port) for port in (one, two, three)] == [False, True, True]
    assert bed.turn() == 2
    bed.close()


def test_a_reload_moves_a_port_to_another_host() -> None:
    port = free_port()
    bed = Bed(f"[{{port: {port}}}]").start()
    bed.reload(f"[{{port: {port}, host: 127.0.0.1}}]")
    bed.reactor.advance(LET_IN_TIME)
    assert (reaches("127.0.0.1", port), reaches("::1", port)) == (True, False)
    bed.reload(f"[{{port: {port}}}]")
    assert (reaches("127.0.0.1", port), reaches("::1", port)) == (True, True)
    bed.close()


def test_whom_the_kernel_let_in_is_not_reset_when_a_listener_goes() -> None:
    one, two = free_ports(2)
    bed = Bed(f"[{{port: {one}}}]").start()
    with socket.create_connection(("127.0.0.1", one)) as client:
        client.sendall(GET)
        bed.reload(f"[{{port: {two}}}]")
        bed.reactor.advance(LET_IN_TIME)
        assert bed.adopted == 1
    bed.close()


@pytest.mark.parametrize("ends", ["reload", "stop"])
def test_who_has_connected_and_sends_in_a_moment_is_not_reset_when_a_listener_goes(
    ends: str,
) -> None:
    """The kernel holds connections back until their first bytes come."""
    one, two = free_ports(2)
    bed = Bed(f"[{{port: {one}}}]").start()
    with socket.create_connection(("127.0.0.1", one)) as client:
        assert bed.turn() == 0
        if ends == "reload":
            bed.reload(f"[{{port: {two}}}]")
        else:
            bed.service.stopService()
        bed.reactor.advance(LET_IN_TIME / 2)
        client.sendall(GET)
        bed.reactor.advance(LET_IN_TIME / 2)
        assert bed.adopted == 1
    assert not reaches("127.0.0.1", one)
    bed.close()


def test_a_listener_may_come_back_while_it_goes() -> None:
    one, two = free_ports(2)
    bed = Bed(f"[{{port: {one}}}]").start()
    bed.reload(f"[{{port: {two}}}]")
    bed.reload(f"[{{port: {one}}}, {{port: {two}}}]")
    bed.reactor.advance(LET_IN_TIME)
    assert [reaches("127.0.0.1", port) for port in (one, two)] == [True, True]
    assert bed.turn() == 2
    bed.close()


def test_a_port_that_is_taken_changes_nothing(taken: int) -> None:
    one, two = free_ports(2)
    bed = Bed(f"[{{port: {one}}}]").start()
    with pytest.raises(Faulty, match="Address already in use"):
        bed.reload(f"[{{port: {two}}}, {{port: {taken}, host: 127.0.0.1}}]")
    assert [reaches("127.0.0.1", port) for port in (one, two)] == [True, False]
    bed.close()


def test_a_unix_socket_is_taken_away_with_its_listener(tmp_path: Path) -> None:
    path = tmp_path / "s"
    port = free_port()
    bed = Bed(f"[{{unix: {path}}}, {{port: {port}}}]").start()
    assert path.is_socket()
    bed.reload(f"[{{port: {port}}}]")
    assert not path.exists()
    bed.close()


def test_sockets_of_systemd_are_found_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        bed = Bed("[{socket: web}]", {"web": [server.fileno()]}).start()
        assert reaches("127.0.0.1", port)
        assert bed.turn() == 1
        bed.close()


def test_accepting_pauses_where_there_is_no_room_and_goes_on_by_itself() -> None:
    port = free_port()
    bed = Bed(f"[{{port: {port}}}]").start()
    room = 1
    for acceptor in bed.acceptors():
        acceptor._room = lambda: room - bed.adopted
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    for client in clients:
        client.sendall(GET)
    assert bed.turn() == 1
    assert bed.turn() == 0
    assert bed.acceptors() == []
    room = 3
    bed.site.when_room()
    assert bed.turn() == 2
    for client in clients:
        client.close()
    bed.close()


def stopping() -> Bed:
    """A service that listens nowhere that a test would reach."""
    port = free_port()
    return Bed(f"[{{port: {port}, host: 127.0.0.1}}]").start()


def test_stopping_waits_for_what_is_in_flight() -> None:
    bed = stopping()
    idle, busy = Client(site=bed.site), Client(site=bed.site).send(BODY_AWAITED)
    stopped = bed.service.stopService()
    bed.reactor.advance(LET_IN_TIME)
    assert not idle.wire.is_closed
    bed.reactor.advance(GRACE)
    assert idle.wire.is_closed
    assert not stopped.called
    busy.send(b"x").end()
    assert stopped.called
    assert bed.reactor.getDelayedCalls() == []


def test_what_was_sent_before_the_stop_is_in_flight() -> None:
    bed = stopping()
    client = Client(site=bed.site)
    stopped = bed.service.stopService()
    client.connection.dataReceived(GET)
    bed.reactor.advance(LET_IN_TIME)
    assert client.answer().closes
    client.end()
    assert stopped.called


def test_stopping_waits_no_longer_than_the_drain_time() -> None:
    bed = stopping()
    busy = Client(site=bed.site).send(BODY_AWAITED)
    stopped = bed.service.stopService()
    bed.reactor.advance(LET_IN_TIME)
    bed.reactor.advance(4.8)
    assert not stopped.called
    bed.reactor.advance(0.101)
    assert busy.wire.is_aborted
    assert stopped.called


def test_a_lame_duck_goes_on_for_a_while() -> None:
    port = free_port()
    bed = Bed(f"[{{port: {port}}}]\nlimits: {{lame_duck: 3s}}").start()
    stopped = bed.service.stopService()
    bed.reactor.advance(2.9)
    assert reaches("127.0.0.1", port)
    bed.reactor.advance(0.1)
    bed.reactor.advance(LET_IN_TIME)
    assert not reaches("127.0.0.1", port)
    assert stopped.called


# One after another.


class Recorded(Service):
    """A service that writes down what happens to it; its stop ends when `stopped` fires."""

    def __init__(self, name: str, record: list[str]) -> None:
        self.name = name
        self.stopped: Deferred[None] = Deferred()
        self._record = record

    def startService(self) -> None:
        Service.startService(self)
        self._record.append(f"start {self.name}")

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        self._record.append(f"stop {self.name}")
        return self.stopped


def test_services_stop_one_after_another_the_last_one_first() -> None:
    record: list[str] = []
    first, second = Recorded("first", record), Recorded("second", record)
    both = InOrder([first, second])
    MultiService.startService(both)
    stopped = both.stopService()
    assert record == ["start first", "start second", "stop second"]
    second.stopped.callback(None)
    assert record[3:] == ["stop first"]
    assert not stopped.called
    first.stopped.callback(None)
    assert stopped.called
    assert not both.running


def lanes(bed: Bed) -> list[bool]:
    """For each listener, whether its connections go to the lane."""
    return [listening.door.lane is not None for listening in bed.service._listening.values()]


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("[{{port: {port}}}]", [True]),
        ("[{{port: {port}}}]\nlane: false", [False]),
        ("[{{port: {port}, proxy_protocol: true}}]", [False]),
        ("[{{unix: {path}}}]", [False]),
    ],
)
def test_the_lane_is_for_direct_connections(
    tmp_path: Path, listen: str, expected: list[bool]
) -> None:
    port = free_port()
    bed = Bed(listen.format(port=port, path=tmp_path / "s")).start()
    assert lanes(bed) == expected
    bed.close()


def test_without_epoll_the_tree_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll")
    port = free_port()
    bed = Bed(f"[{{port: {port}}}]").start()
    assert lanes(bed) == [False]
    bed.close()
