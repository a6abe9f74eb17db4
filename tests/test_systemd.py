"""What systemd and the daemon tell each other: sockets in, notices out."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from regroute.systemd import (
    Notifier,
    Supervised,
    listening_socket,
    passed_sockets,
    watchdog_interval,
)

PID = 4711
FIRST = 200
"""Where the passed sockets begin here: a test's process has its own at 3."""


class Ear:
    """systemd's end of the notification socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """Every message since the last call."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    listening = Ear(str(tmp_path / "notify"))
    yield listening
    listening.socket.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notifier(ear: Ear) -> Iterator[Notifier]:
    speaking = Notifier({"NOTIFY_SOCKET": ear.socket.getsockname()})
    yield speaking
    speaking.close()


@pytest.fixture
def supervised(notifier: Notifier, clock: Clock) -> Iterator[Supervised]:
    service = Supervised(notifier, 15.0, clock, monotonic_ns=lambda: 1_234_567_890)
    service.startService()
    yield service
    service.stopService()


class TestPassedSockets:
    """LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, over descriptors that are really open."""

    @pytest.fixture(autouse=True)
    def descriptors(self) -> Iterator[list[int]]:
        """Three listening sockets in a row, as high as nothing else is in this process."""
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        numbers = [os.dup2(each.fileno(), FIRST + i) for i, each in enumerate(sockets)]
        yield numbers
        for each in sockets:
            each.close()
        for number in numbers:
            os.close(number)

    def test_each_name_has_its_socket(self) -> None:
        environ = {"LISTEN_PID": "4711", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:https"}
        assert passed_sockets(environ, PID, FIRST) == {"http": (200,), "https": (201,)}

    def test_the_sockets_of_one_unit_share_its_name_in_any_order(self) -> None:
        environ = {"LISTEN_PID": "4711", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "https:http:https"}
        assert passed_sockets(environ, PID, FIRST) == {"https": (200, 202), "http": (201,)}

    @pytest.mark.parametrize(
        "names", [{}, {"LISTEN_FDNAMES": ""}, {"LISTEN_FDNAMES": "a:b:c"}, {"LISTEN_FDNAMES": "a:"}]
    )
    def test_without_a_name_for_each_they_are_unknown(self, names: dict[str, str]) -> None:
        environ = {"LISTEN_PID": "4711", "LISTEN_FDS": "2", **names}
        assert passed_sockets(environ, PID, FIRST) == {"unknown": (200, 201)}

    def test_a_single_socket_may_have_no_name(self) -> None:
        environ = {"LISTEN_PID": "4711", "LISTEN_FDS": "1"}
        assert passed_sockets(environ, PID, FIRST) == {"unknown": (200,)}

    @pytest.mark.parametrize(
        "environ",
        [
            pytest.param({}, id="no systemd"),
            pytest.param({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "a"}, id="no LISTEN_PID"),
            pytest.param({"LISTEN_PID": "4712", "LISTEN_FDS": "1"}, id="for another process"),
            pytest.param({"LISTEN_PID": "", "LISTEN_FDS": "1"}, id="empty LISTEN_PID"),
            pytest.param({"LISTEN_PID": "+4711", "LISTEN_FDS": "1"}, id="odd LISTEN_PID"),
            pytest.param({"LISTEN_PID": "4711"}, id="no LISTEN_FDS"),
            pytest.param({"LISTEN_PID": "4711", "LISTEN_FDS": "0"}, id="no sockets"),
            pytest.param({"LISTEN_PID": "4711", "LISTEN_FDS": "-1"}, id="negative LISTEN_FDS"),
            pytest.param({"LISTEN_PID": "4711", "LISTEN_FDS": "two"}, id="odd LISTEN_FDS"),
            pytest.param({"LISTEN_PID": "4711", "LISTEN_FDS": "²"}, id="a digit that is no number"),
        ],
    )
    def test_there_are_none(self, environ: dict[str, str]) -> None:
        assert passed_sockets(environ, PID, FIRST) == {}

    def test_they_do_not_block_and_are_closed_in_other_programs(self) -> None:
        """As systemd hands them over they block, and every child would inherit them."""
        os.set_inheritable(200, True)
        os.set_blocking(200, True)
        environ = {"LISTEN_PID": "4711", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "https"}
        passed_sockets(environ, PID, FIRST)
        assert not os.get_inheritable(200)
        assert not os.get_blocking(200)

    def test_the_environment_stays_as_it_was(self) -> None:
        environ = {"LISTEN_PID": "4711", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "https"}
        before = dict(environ)
        passed_sockets(environ, PID, FIRST)
        assert environ == before


class TestListeningSocket:
    """Whether connections can be accepted at what was passed."""

    @pytest.mark.parametrize(
        ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    )
    def test_it_is_a_duplicate(self, family: socket.AddressFamily, host: str) -> None:
        """So a reload without the name and one with it again find systemd's socket open."""
        with socket.create_server((host, 0), family=family) as passed:
            with listening_socket(passed.fileno()) as listening:
                assert listening.family == family
                assert listening.getsockname() == passed.getsockname()
                assert not listening.getblocking()
                assert not listening.get_inheritable()
            socket.create_connection(passed.getsockname()[:2]).close()

    def test_a_unix_socket_is_one_too(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as passed:
            passed.bind(str(tmp_path / "s"))
            passed.listen()
            with listening_socket(passed.fileno()) as listening:
                assert listening.family == socket.AF_UNIX

    def test_a_connection_is_refused_with_what_to_write_instead(self) -> None:
        """Accept=yes in a .socket unit passes one of these."""
        here, there = socket.socketpair()
        with here, there, pytest.raises(OSError, match="Accept=no"):
            listening_socket(here.fileno())

    def test_a_datagram_socket_is_refused_with_what_to_write_instead(self) -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            pytest.raises(OSError, match="ListenStream="),
        ):
            listening_socket(datagrams.fileno())

    def test_a_file_is_refused(self, tmp_path: Path) -> None:
        """The descriptor store may hold any."""
        with (tmp_path / "file").open("w") as file, pytest.raises(OSError, match="is no socket"):
            listening_socket(file.fileno())

    def test_what_is_refused_leaves_no_descriptor_behind(self, tmp_path: Path) -> None:
        with (
            (tmp_path / "file").open("w") as file,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        ):
            before = os.listdir("/proc/self/fd")
            for unfit in (file.fileno(), datagrams.fileno()):
                with pytest.raises(OSError, match="descriptor"):
                    listening_socket(unfit)
            assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "4711"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "4712"}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": ""}, None),
        ({"WATCHDOG_USEC": "1"}, 0.0000005),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_PID": "4711"}, None),
    ],
)
def test_signs_of_life_come_at_half_of_systemds_patience(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_interval(environ, PID) == seconds


class TestNotifier:
    """One datagram a message, and no harm whatever is at the other end."""

    def test_a_message_is_a_datagram(self, notifier: Notifier, ear: Ear) -> None:
        assert notifier.send("READY=1\nSTATUS=é")
        assert ear.heard() == ["READY=1\nSTATUS=é"]

    def test_an_abstract_socket_is_written_with_an_at_sign(self) -> None:
        name = f"regroute-test-{os.getpid()}"
        listening = Ear("\0" + name)
        speaking = Notifier({"NOTIFY_SOCKET": "@" + name})
        assert speaking.send("READY=1")
        assert listening.heard() == ["READY=1"]
        speaking.close()
        listening.socket.close()

    @pytest.mark.parametrize(
        "address",
        [None, "", "relative", "vsock:2:1234", "/nowhere/at/all", "/" + "long" * 60, "@nobody"],
        ids=lambda address: str(address)[:20],
    )
    def test_where_nobody_listens_it_says_nothing_and_does_not_fail(
        self, address: str | None
    ) -> None:
        speaking = Notifier({} if address is None else {"NOTIFY_SOCKET": address})
        assert speaking.send("READY=1")
        assert speaking.send("READY=1")
        speaking.close()
        assert speaking.send("after the end")

    def test_it_does_not_wait_for_a_reader(self, notifier: Notifier, ear: Ear) -> None:
        """The queue of a datagram socket is short; what does not fit is to be sent again."""
        sent = 0
        while notifier.send(f"STATUS={sent}"):
            sent += 1
            assert sent < 100_000
        assert ear.heard() == [f"STATUS={number}" for number in range(sent)]
        assert notifier.send("READY=1")
        assert ear.heard() == ["READY=1"]

    def test_systemd_may_open_its_socket_anew(
        self, notifier: Notifier, ear: Ear, tmp_path: Path
    ) -> None:
        """As it does when it is replaced by a newer one (systemctl daemon-reexec)."""
        ear.socket.close()
        assert notifier.send("lost")
        (tmp_path / "notify").unlink()
        again = Ear(str(tmp_path / "notify"))
        assert notifier.send("heard")
        assert again.heard() == ["heard"]
        again.socket.close()

    def test_it_needs_no_further_descriptor(self, notifier: Notifier, ear: Ear) -> None:
        """A daemon that is out of descriptors is alive, and must be able to say so."""
        before = os.listdir("/proc/self/fd")
        notifier.send("WATCHDOG=1")
        assert os.listdir("/proc/self/fd") == before
        assert ear.heard() == ["WATCHDOG=1"]


class TestSupervised:
    """What systemd is told, and when."""

    @pytest.fixture(autouse=True)
    def _first_sign(self, supervised: Supervised, ear: Ear) -> None:
        assert ear.heard() == ["WATCHDOG=1"]

    def test_it_is_not_ready_before_it_is_told_so(self, clock: Clock, ear: Ear) -> None:
        clock.pump([15.0] * 3)
        assert ear.heard() == ["WATCHDOG=1"] * 3

    def test_ready(self, supervised: Supervised, ear: Ear) -> None:
        supervised.ready()
        supervised.ready("3 rules")
        assert ear.heard() == ["READY=1", "READY=1\nSTATUS=3 rules"]

    def test_a_reload_has_the_time_at_which_it_began(
        self, supervised: Supervised, ear: Ear
    ) -> None:
        supervised.reloading()
        supervised.ready("rule office added")
        assert ear.heard() == [
            "RELOADING=1\nMONOTONIC_USEC=1234567\nSTATUS=reloading",
            "READY=1\nSTATUS=rule office added",
        ]

    def test_stopping(self, supervised: Supervised, ear: Ear) -> None:
        supervised.stopping()
        assert ear.heard() == ["STOPPING=1\nSTATUS=stopping"]

    @pytest.mark.parametrize(
        ("status", "line"),
        [
            ("a\nSTOPPING=1\r\nb", "STATUS=a STOPPING=1 b"),
            ("a\u2028b\x85c\x0bd", "STATUS=a b c d"),
            ("x" * 5000, "STATUS=" + "x" * 1000),
            ("lone \udcff", "STATUS=lone ?"),
        ],
        ids=["line breaks", "breaks beyond ASCII", "too long", "no Unicode"],
    )
    def test_a_status_is_one_short_line(
        self, supervised: Supervised, ear: Ear, status: str, line: str
    ) -> None:
        """Faults quote the configuration; what it holds must not tell systemd anything."""
        supervised.status(status)
        assert ear.heard() == [line]

    def test_a_sign_of_life_every_fifteen_seconds(self, clock: Clock, ear: Ear) -> None:
        clock.advance(14.9)
        assert ear.heard() == []
        clock.advance(0.1)
        assert ear.heard() == ["WATCHDOG=1"]
        clock.advance(15.0)
        assert ear.heard() == ["WATCHDOG=1"]

    def test_a_reactor_that_hung_shows_one_sign_and_not_all_that_it_missed(
        self, clock: Clock, ear: Ear
    ) -> None:
        clock.advance(100.0)
        assert ear.heard() == ["WATCHDOG=1"]

    def test_signs_of_life_go_on_while_it_drains(
        self, supervised: Supervised, clock: Clock, ear: Ear
    ) -> None:
        supervised.stopping()
        clock.advance(15.0)
        assert ear.heard()[1:] == ["WATCHDOG=1"]

    def test_after_its_stop_it_says_nothing(
        self, supervised: Supervised, clock: Clock, ear: Ear
    ) -> None:
        supervised.stopService()
        supervised.status("too late")
        clock.advance(100.0)
        assert ear.heard() == []
        assert clock.getDelayedCalls() == []

    def test_what_systemd_has_no_room_for_is_sent_later_in_its_order(
        self, supervised: Supervised, notifier: Notifier, clock: Clock, ear: Ear
    ) -> None:
        """At a busy boot it does not read at once, and READY must not be lost."""
        while notifier.send("noise"):
            pass
        supervised.ready()
        supervised.reloading()
        supervised.ready("done")
        clock.advance(0.1)
        assert set(ear.heard()) == {"noise"}
        clock.advance(0.1)
        assert ear.heard() == [
            "READY=1",
            "RELOADING=1\nMONOTONIC_USEC=1234567\nSTATUS=reloading",
            "READY=1\nSTATUS=done",
        ]

    def test_what_it_waits_to_say_does_not_outlive_it(
        self, supervised: Supervised, notifier: Notifier, clock: Clock, ear: Ear
    ) -> None:
        while notifier.send("noise"):
            pass
        supervised.stopping()
        supervised.stopService()
        assert set(ear.heard()) == {"noise"}
        assert clock.getDelayedCalls() == []


def test_without_a_watchdog_there_are_no_signs_of_life(
    notifier: Notifier, clock: Clock, ear: Ear
) -> None:
    service = Supervised(notifier, None, clock)
    service.startService()
    assert clock.getDelayedCalls() == []
    service.ready()
    assert ear.heard() == ["READY=1"]
    service.stopService()


def test_a_reload_is_stamped_with_the_clock_that_systemd_reads(
    notifier: Notifier, clock: Clock, ear: Ear
) -> None:
    """CLOCK_MONOTONIC in microseconds (sd_notify(3))."""
    service = Supervised(notifier, None, clock)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    service.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    stamp = dict(line.split("=") for line in ear.heard()[0].split("\n"))["MONOTONIC_USEC"]
    assert before <= int(stamp) <= after
    service.stopService()
