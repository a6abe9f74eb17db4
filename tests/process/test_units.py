"""The systemd units: systemd finds no fault in them, and they fit their configuration."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from regroute.config.schema import Limits

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
SERVICE = UNITS / "regroute.service"
SOCKETS = sorted(UNITS.glob("*.socket"))
NOTIFY_RELOAD = UNITS / "notify-reload.conf"
INSTALLED = "/opt/regroute/bin/twistd"


def directives(unit: Path) -> list[tuple[str, str]]:
    """What a unit says, in its order; sections do not matter here, names differ anyway."""
    lines = (line.strip() for line in unit.read_text().splitlines())
    assignments = (line.split("=", 1) for line in lines if "=" in line and line[0] not in "#;[")
    return [(name, value) for name, value in assignments]


def values(unit: Path, name: str) -> list[str]:
    """All values of one directive."""
    return [value for directive, value in directives(unit) if directive == name]


def listeners() -> list[dict[str, Any]]:
    """What the units' configuration listens on."""
    listen: list[dict[str, Any]] = yaml.safe_load((UNITS / "rules.yaml").read_text())["listen"]
    return listen


class TestSystemdsOwnJudgement:
    """What systemd-analyze says of them, which needs no systemd that runs."""

    @pytest.fixture(autouse=True)
    def _analyze(self) -> None:
        if shutil.which("systemd-analyze") is None:
            pytest.skip("not installed: systemd-analyze (package systemd)")

    @staticmethod
    def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
        )

    def test_it_finds_no_fault(self, tmp_path: Path) -> None:
        """The program is elsewhere on this machine; its place is the one thing that is replaced."""
        units = []
        for unit in (SERVICE, *SOCKETS):
            copy = tmp_path / unit.name
            copy.write_text(unit.read_text().replace(INSTALLED, sys.executable))
            units.append(str(copy))
        verified = self.analyze("verify", "--recursive-errors=yes", *units)
        assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")

    def test_it_finds_no_fault_in_the_drop_in_but_a_type_that_it_may_be_too_old_for(
        self, tmp_path: Path
    ) -> None:
        unit = tmp_path / SERVICE.name
        unit.write_text(SERVICE.read_text().replace(INSTALLED, sys.executable))
        for socket in SOCKETS:
            (tmp_path / socket.name).write_text(socket.read_text())
        drop_ins = tmp_path / f"{SERVICE.name}.d"
        drop_ins.mkdir()
        (drop_ins / NOTIFY_RELOAD.name).write_text(NOTIFY_RELOAD.read_text())
        verified = self.analyze("verify", str(unit))
        complaints = (verified.stdout + verified.stderr).splitlines()
        too_old = "Failed to parse service type, ignoring: notify-reload"
        others = [complaint for complaint in complaints if not complaint.endswith(too_old)]
        assert (others, len(complaints)) == ([], 0 if self.version() >= 253 else 1)

    def version(self) -> int:
        """Which systemd it belongs to."""
        _, number, *_ = self.analyze("--version").stdout.split()
        return int(number)

    def test_it_does_find_faults(self, tmp_path: Path) -> None:
        """So that the test above says something."""
        faulty = tmp_path / "regroute.service"
        faulty.write_text(SERVICE.read_text().replace(INSTALLED, sys.executable) + "Wanted=by\n")
        assert self.analyze("verify", "--recursive-errors=yes", str(faulty)).returncode != 0

    def test_the_exposure_is_at_most_one_and_a_half(self) -> None:
        judged = self.analyze("security", "--offline=yes", "--threshold=15", str(SERVICE))
        assert judged.returncode == 0, judged.stdout


def test_the_sockets_are_the_two_ports_each_by_its_name() -> None:
    """A name holds for a whole unit, so one unit cannot have both."""
    named = {
        values(unit, "FileDescriptorName")[0]: values(unit, "ListenStream") for unit in SOCKETS
    }
    assert named == {"http": ["80"], "https": ["443"]}


@pytest.mark.parametrize("unit", SOCKETS, ids=lambda unit: unit.name)
def test_a_socket_takes_ipv6_and_ipv4_whatever_the_systems_default_is(unit: Path) -> None:
    assert values(unit, "BindIPv6Only") == ["both"]


def test_the_service_takes_all_sockets() -> None:
    [sockets] = values(SERVICE, "Sockets")
    assert sorted(sockets.split()) == [unit.name for unit in SOCKETS]


def test_the_configuration_listens_on_the_sockets_of_the_units() -> None:
    names = {values(unit, "FileDescriptorName")[0] for unit in SOCKETS}
    assert {listener["socket"] for listener in listeners()} == names


def test_a_service_that_systemd_itself_tells_to_reload_is_told_once() -> None:
    """With ExecReload= it would get a second SIGHUP."""
    assert directives(NOTIFY_RELOAD) == [("Type", "notify-reload"), ("ExecReload", "")]


def test_a_stop_may_take_as_long_as_the_default_limits_let_it() -> None:
    [timeout] = values(SERVICE, "TimeoutStopSec")
    limits = Limits()
    assert int(timeout.removesuffix("s")) > limits.drain + limits.lame_duck


def test_workers_are_the_daemons_to_end_and_there_may_be_many() -> None:
    assert values(SERVICE, "KillMode") == ["mixed"]
    [tasks] = values(SERVICE, "TasksMax")
    assert int(tasks) >= 512


def test_the_certificate_is_where_the_service_finds_its_credentials() -> None:
    """No credential is handed over that nothing reads, or read that is not handed over."""
    credentials = [value.split(":")[0] for value in values(SERVICE, "LoadCredential")]
    read = [
        path
        for listener in listeners()
        for certificate in listener.get("tls", {}).get("certificates", ())
        for path in certificate.values()
    ]
    assert read == [f"/run/credentials/{SERVICE.name}/{name}" for name in credentials]


@pytest.mark.parametrize(
    "breaks",
    ["MemoryDenyWriteExecute", "ProcSubset", "AmbientCapabilities=CAP_NET_BIND_SERVICE"],
)
def test_the_service_does_without_what_breaks_the_daemon(breaks: str) -> None:
    """pyOpenSSL's callbacks, the process metrics, and PrivateUsers= beside capabilities."""
    assert not [pair for pair in directives(SERVICE) if "=".join(pair).startswith(breaks)]
