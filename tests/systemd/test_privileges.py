"""The daemon may do nothing but its work, and does all of that."""

import pytest

from ..processes import ProgramError
from .service import ELSEWHERE, UNIT, Answer, Service

CREDENTIALS = f"/run/credentials/{UNIT}"
DYNAMIC_USERS = range(61184, 65520)
"""What systemd takes for DynamicUser=."""
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def test_its_user_exists_for_it_alone_and_has_no_capability(service: Service) -> None:
    status = service.status_of_process()
    [user] = set(status["Uid"].split())
    [group] = set(status["Gid"].split())
    assert int(user) in DYNAMIC_USERS
    assert int(group) in DYNAMIC_USERS
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert [name for name in sets if int(status[name], 16) != 0] == []
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("port", [80, 443])
def test_it_answers_on_a_port_that_it_could_not_open(
    service: Service, port: int, host: str
) -> None:
    assert service.ask("/v2/a/manifests/1", port, host) == Answer(
        302, f"{ELSEWHERE}/v2/a/manifests/1"
    )


def test_the_key_is_for_the_service_alone(service: Service) -> None:
    """It is served with; nobody else reads it, where it comes from or where it is handed over."""
    assert service.ask(port=443).status == 302
    bed = service.bed
    for key in ("/etc/regroute/tls/privkey.pem", f"{CREDENTIALS}/privkey.pem"):
        assert "PRIVATE KEY" in bed.run("cat", key)
        with pytest.raises(ProgramError, match="Permission denied"):
            bed.run(*NOBODY, "cat", key)


def test_the_exposure_is_at_most_one_and_a_half(service: Service) -> None:
    """As systemd judges the service that runs, by all that holds for it."""
    service.bed.run("systemd-analyze", "security", "--threshold=15", UNIT)


def test_the_access_log_is_the_services_own_file(service: Service) -> None:
    service.ask("/v2/a/manifests/1")
    [line] = service.access_log()
    assert (line["path"], line["status"]) == ("/v2/a/manifests/1", 302)


def test_a_unix_socket_in_its_runtime_directory_is_served(service: Service) -> None:
    """To every user of the machine, as to a proxy that stands in front."""
    socket = "/run/regroute/http.sock"
    service.write_rules(f"listen: [{{unix: {socket}}}]\nrules: [{{to: 'https://a.example'}}]\n")
    service.systemctl("restart")
    client = ["curl", "--silent", "--unix-socket", socket, "--write-out", "%{redirect_url}"]
    shown = service.bed.run(*NOBODY, *client, "http://h/v2/")
    assert shown.endswith("https://a.example/v2/")
