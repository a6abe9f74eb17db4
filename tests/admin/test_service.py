"""The lifetime of the admin listener's socket, on real ones that only `turn` accepts from."""

import os
import socket
from pathlib import Path
from typing import cast

import pytest
from twisted.internet.testing import MemoryReactorClock

from regroute.admin.service import DRAIN_TIME, Admin
from regroute.check import Checked
from regroute.config.faults import Faulty
from regroute.reactor import Reactor
from regroute.starting import CannotStart

from ..making import checked
from ..ports import free_port, free_ports
from .bed import Bed

RULES = "rules: [{to: https://a.example}]"


def configuration(admin: str) -> Checked:
    return checked(f"{f'admin: {{{admin}}}' if admin else ''}\n{RULES}")


class Lifetime:
    """An admin listener that begins by this configuration."""

    def __init__(self, base: Path, admin: str) -> None:
        self.reactor = MemoryReactorClock()
        self.service = Admin(
            configuration(admin), Bed().subject, base, cast("Reactor", self.reactor)
        )

    def start(self) -> "Lifetime":
        self.service.privilegedStartService()
        self.service.startService()
        return self

    def reload(self, admin: str) -> None:
        to_be = configuration(admin)
        self.service.apply(to_be, self.service.open(to_be))

    def stop(self) -> bool:
        """Whether it has ended in time."""
        ended: list[None] = []
        self.service.stopService().addCallback(ended.append)
        self.reactor.advance(DRAIN_TIME)
        return ended == [None]

    @property
    def listening(self) -> int:
        """How many sockets it accepts from."""
        return len(self.reactor.readers)


def answers(place: int | str | Path, host: str = "127.0.0.1") -> bool:
    """Whether anyone listens there."""
    family = socket.AF_INET if isinstance(place, int) else socket.AF_UNIX
    with socket.socket(family) as client:
        try:
            client.connect((host, place) if isinstance(place, int) else str(place))
        except OSError:
            return False
    return True


def test_there_is_none_by_default(tmp_path: Path) -> None:
    lifetime = Lifetime(tmp_path, "").start()
    assert lifetime.listening == 0
    assert lifetime.stop()


def test_it_listens_from_its_start_to_its_stop(tmp_path: Path) -> None:
    port = free_port()
    lifetime = Lifetime(tmp_path, f"port: {port}")
    assert not answers(port)
    lifetime.start()
    assert answers(port)
    assert not answers(port, "127.0.0.2")
    assert lifetime.stop()
    assert (answers(port), lifetime.listening) == (False, 0)


def test_a_unix_socket_lies_beside_the_configuration_and_is_its_owners_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.sock"
    lifetime = Lifetime(tmp_path, "unix: a.sock").start()
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert answers(path)
    assert lifetime.stop()
    assert not path.exists()


def test_a_dead_unix_socket_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "a.sock"))
        dead.listen()
    lifetime = Lifetime(tmp_path, "unix: a.sock").start()
    assert answers(tmp_path / "a.sock")
    assert lifetime.stop()


def test_a_living_socket_and_any_other_file_end_the_start_with_the_place_of_the_fault(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("mine")
    port = free_port()
    with socket.socket(socket.AF_UNIX) as living, socket.create_server(("127.0.0.1", port)):
        living.bind(str(tmp_path / "living"))
        living.listen()
        for admin, told in [
            ("unix: living", "rules.yaml:1:15: cannot listen: Address already in use"),
            ("unix: file", "rules.yaml:1:15: cannot listen: Address already in use"),
            ("unix: no/dir", "rules.yaml:1:15: cannot listen: No such file or directory"),
            (
                f"port: {port}",
                f"rules.yaml:1:15: cannot listen: 127.0.0.1 port {port}: Address already in use",
            ),
        ]:
            with pytest.raises(CannotStart) as failure:
                Lifetime(tmp_path, admin).start()
            assert str(failure.value) == told
        assert answers(tmp_path / "living")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_reload_moves_it_and_takes_it_away(tmp_path: Path) -> None:
    one, two = free_ports(2)
    lifetime = Lifetime(tmp_path, f"port: {one}").start()
    lifetime.reload(f"port: {two}")
    assert (answers(one), answers(two), lifetime.listening) == (False, True, 1)
    lifetime.reload("unix: a.sock")
    assert (answers(two), answers(tmp_path / "a.sock"), lifetime.listening) == (False, True, 1)
    lifetime.reload("")
    assert (os.listdir(tmp_path), lifetime.listening) == ([], 0)
    lifetime.reload(f"port: {one}")
    assert answers(one)
    assert lifetime.stop()


def test_a_reload_moves_it_to_another_host_on_the_same_port(tmp_path: Path) -> None:
    port = free_port()
    lifetime = Lifetime(tmp_path, f"port: {port}").start()
    for host, reached in [("0.0.0.0", True), ("127.0.0.1", False), ("127.0.0.2", True)]:
        lifetime.reload(f"port: {port}, host: {host}")
        assert (answers(port, "127.0.0.2"), lifetime.listening) == (reached, 1)
    assert lifetime.stop()


@pytest.mark.parametrize("admin", ["port: {}", "unix: a.sock"])
def test_a_reload_leaves_it_where_it_is(tmp_path: Path, admin: str) -> None:
    there = admin.format(free_port())
    lifetime = Lifetime(tmp_path, there).start()
    (before,) = lifetime.reactor.readers
    lifetime.reload(there)
    assert list(lifetime.reactor.readers) == [before]
    assert lifetime.stop()


def test_a_place_that_cannot_be_had_leaves_the_old_one(tmp_path: Path) -> None:
    port = free_port()
    lifetime = Lifetime(tmp_path, f"port: {port}").start()
    with pytest.raises(Faulty, match="1:15: cannot listen: No such file"):
        lifetime.reload("unix: no/dir")
    assert answers(port)
    assert lifetime.stop()


def test_what_a_reload_has_opened_in_vain_is_gone(tmp_path: Path) -> None:
    lifetime = Lifetime(tmp_path, "unix: a.sock").start()
    lifetime.service.open(configuration("unix: b.sock")).close()
    assert os.listdir(tmp_path) == ["a.sock"]
    # What is open already is not given up with it.
    lifetime.service.open(configuration("unix: a.sock")).close()
    assert answers(tmp_path / "a.sock")
    assert lifetime.stop()


def test_after_its_stop_a_reload_opens_nothing(tmp_path: Path) -> None:
    lifetime = Lifetime(tmp_path, "unix: a.sock").start()
    late = lifetime.service.open(configuration("unix: b.sock"))
    assert lifetime.stop()
    lifetime.service.apply(configuration("unix: b.sock"), late)
    lifetime.reload("unix: c.sock")
    assert (os.listdir(tmp_path), lifetime.listening) == ([], 0)
