"""The lifetimes of sockets and connections."""

import errno
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import cast

import pytest
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from regroute.config.schema import Listener
from regroute.reactor import Reactor
from regroute.service import DRAIN_TIME, InOrder, Serving, bind
from regroute.web.tree import Front, Site

from .web.memory import GET, SEED_RULES, Client

BODY_AWAITED = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"


def listener(host: str | None, port: int = 0) -> Listener:
    address: IPv4Address | IPv6Address | None = None if host is None else ip_address(host)
    return Listener.model_construct(host=address, port=port)


def reaches(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


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
    with bind(listener(host)) as bound:
        port = bound.getsockname()[1]
        assert {host for host in ("127.0.0.1", "::1") if reaches(host, port)} == reached


def test_where_there_is_no_ipv6_the_default_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoIPv6(socket.socket):
        def __init__(self, family: int = -1, *args: int, **kwargs: int) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *args, **kwargs)

    monkeypatch.setattr(socket, "socket", NoIPv6)
    with bind(listener(None)) as bound:
        assert bound.getsockname()[0] == "0.0.0.0"
    with pytest.raises(OSError, match="Address family not supported"):
        bind(listener("::"))


def test_a_taken_port_is_an_os_error() -> None:
    with bind(listener("127.0.0.1")) as taken, pytest.raises(OSError, match="in use"):
        bind(listener("127.0.0.1", taken.getsockname()[1]))


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        yield port


def serving(*listeners: Listener) -> tuple[Serving, Site, MemoryReactorClock]:
    reactor = MemoryReactorClock()
    site = Site(Front(lambda: SEED_RULES, reactor), reactor)
    return Serving(listeners, site, cast("Reactor", reactor)), site, reactor


def test_the_service_adopts_a_socket_for_each_listener() -> None:
    service, site, reactor = serving(listener("127.0.0.1"), listener("::1"))
    service.privilegedStartService()
    families = [(family, factory) for _, family, factory in reactor.adoptedPorts]
    assert families == [(socket.AF_INET, site), (socket.AF_INET6, site)]


def test_a_taken_port_ends_the_daemon_with_1(taken: int) -> None:
    service, _, _ = serving(listener("127.0.0.1", taken))
    with pytest.raises(SystemExit) as ended:
        service.privilegedStartService()
    assert ended.value.code == 1


def test_stopping_waits_for_what_is_in_flight() -> None:
    service, site, reactor = serving()
    idle, busy = Client(site=site), Client(site=site).send(BODY_AWAITED)
    stopped = service.stopService()
    reactor.advance(0)
    assert idle.wire.is_closed
    assert not stopped.called
    busy.send(b"x").end()
    assert stopped.called
    assert reactor.getDelayedCalls() == []


def test_what_was_sent_before_the_stop_is_in_flight() -> None:
    service, site, reactor = serving()
    client = Client(site=site)
    stopped = service.stopService()
    client.connection.dataReceived(GET)
    reactor.advance(0)
    assert client.answer().status == 302
    assert client.wire.is_closed
    assert stopped.called


def test_stopping_waits_no_longer_than_the_drain_time() -> None:
    service, site, reactor = serving()
    busy = Client(site=site).send(BODY_AWAITED)
    stopped = service.stopService()
    reactor.advance(DRAIN_TIME - 0.1)
    assert not stopped.called
    reactor.advance(0.1)
    assert busy.wire.is_aborted
    assert stopped.called


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
