"""regroute.service lives as its unit says: it starts, reloads, restarts and stops under systemd."""

import pytest

from ..processes import ProgramError
from .service import (
    DEFAULT_RULES,
    ELSEWHERE,
    RULES,
    SOCKETS,
    UNIT,
    Answer,
    Service,
    ask,
    rules_to,
)

OTHER = "https://other.example"
FAULTY = DEFAULT_RULES.replace("\n  - to: ", "\n  - too: ")
FAULT = f"{RULES}:20:5: "
OWN_PORT = "listen: [{port: 8080}]\nrules: [{to: 'https://own.example'}]\n"


def listening_sockets(service: Service) -> set[tuple[str, str]]:
    """The ports that are listened to on the machine, in hexadecimal, and the sockets' inodes."""
    table = service.bed.run("cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
    rows = [line.split() for line in table if not line.lstrip().startswith("sl")]
    return {(row[1].rpartition(":")[2], row[9]) for row in rows if row[3] == "0A"}


def test_a_start_is_over_when_the_daemon_answers(installed: Service) -> None:
    """Here it listens by itself: before that, a client is refused, and waits at no socket."""
    installed.write_rules(OWN_PORT)
    with pytest.raises(ConnectionRefusedError):
        installed.ask(port=8080)
    installed.systemctl("start")
    assert installed.ask(port=8080) == Answer(302, "https://own.example/v2/")
    assert (installed.show("ActiveState"), installed.show("StatusText")) == ("active", "serving")


def test_a_reload_brings_new_rules_and_ends_nothing(service: Service) -> None:
    pid = service.main_pid
    with service.client(443) as client:
        assert ask(client).location == f"{ELSEWHERE}/v2/"
        service.write_rules(rules_to(OTHER))
        service.systemctl("reload")
        assert service.sends_to(OTHER)
        assert ask(client).location == f"{OTHER}/v2/"
    assert service.has(StatusText=f"reloaded {RULES}: rule rule-2 changed")
    assert (service.show("ActiveState"), service.main_pid) == ("active", pid)


def test_a_reload_with_faults_leaves_the_old_rules_in_force(service: Service) -> None:
    pid = service.main_pid
    service.write_rules(FAULTY)
    service.systemctl("reload")
    assert service.has(StatusText=f"{RULES} is not reloaded: the old rules stay in force")
    assert (service.show("ActiveState"), service.main_pid) == ("active", pid)
    assert service.ask().location == f"{ELSEWHERE}/v2/"


def test_a_restart_keeps_the_sockets(service: Service) -> None:
    """They are systemd's: the same ones, with whoever waits at them."""
    pid, sockets = service.main_pid, listening_sockets(service)
    assert {port for port, _ in sockets} == {"0050", "01BB"}
    service.systemctl("restart")
    assert service.main_pid != pid
    assert listening_sockets(service) == sockets
    assert service.ask(port=443).status == 302


def test_a_stop_is_a_success(service: Service) -> None:
    service.bed.run("systemctl", "stop", *SOCKETS, UNIT)
    assert service.show("ActiveState") == "inactive"
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    assert listening_sockets(service) == set()


def test_a_stop_is_for_the_daemon_to_hear_and_what_it_leaves_behind_is_killed(
    service: Service,
) -> None:
    heard = "/var/log/regroute/heard"
    child = f"trap 'touch {heard}' TERM; while :; do sleep 0.1; done"
    service.add_settings(f'[Service]\nExecStartPost=/bin/sh -c "({child}) &"\n')
    service.systemctl("restart")
    _, *left_behind = service.processes()
    assert left_behind != []
    service.systemctl("stop")
    assert service.processes() == []
    assert not service.bed.succeeds("test", "-e", heard)
    assert service.show("Result") == "success"


def test_a_connection_starts_a_service_that_has_been_stopped(service: Service) -> None:
    service.systemctl("stop")
    assert service.show("ActiveState") == "inactive"
    assert service.ask(port=443) == Answer(302, f"{ELSEWHERE}/v2/")
    assert service.has(ActiveState="active")


def test_a_daemon_that_crashes_is_started_again(service: Service) -> None:
    """Whoever comes in between waits at the socket."""
    pid = service.main_pid
    service.systemctl("kill", "--kill-whom=main", "--signal=KILL")
    assert service.ask() == Answer(302, f"{ELSEWHERE}/v2/")
    assert service.has(ActiveState="active", NRestarts="1")
    assert service.main_pid != pid


def test_a_reactor_that_hangs_is_ended_and_started_again(service: Service) -> None:
    """By the watchdog, after two seconds here; a process that has stopped hangs for good."""
    service.add_settings("[Service]\nWatchdogSec=2s\n")
    service.systemctl("restart")
    pid = service.main_pid
    service.systemctl("kill", "--kill-whom=main", "--signal=STOP")
    assert service.has(ActiveState="active", NRestarts="1")
    assert service.main_pid != pid
    assert "Watchdog timeout (limit 2s)!" in service.log()
    assert service.ask() == Answer(302, f"{ELSEWHERE}/v2/")


class TestAStartThatFails:
    """It is tried again each second, so that it is enough to mend what was wrong."""

    def test_the_journal_has_every_fault_with_its_place(self, installed: Service) -> None:
        installed.write_rules(FAULTY)
        with pytest.raises(ProgramError):
            installed.systemctl("start")
        assert installed.says(FAULT, priority=3, times=2)
        installed.write_rules(DEFAULT_RULES)
        assert installed.sends_to(ELSEWHERE)
        assert installed.has(ActiveState="active")

    def test_a_certificate_that_is_not_there_yet_is_waited_for(self, installed: Service) -> None:
        installed.bed.run("mv", "/etc/regroute/tls", "/etc/regroute/later")
        with pytest.raises(ProgramError, match="Failed to set up credentials"):
            installed.systemctl("start")
        installed.bed.run("mv", "/etc/regroute/later", "/etc/regroute/tls")
        assert installed.has(ActiveState="active")
        assert installed.ask(port=443) == Answer(302, f"{ELSEWHERE}/v2/")
