"""The changes that docs/installation.md tells of work as it tells them."""

import ssl

import pytest

from ..processes import eventually
from .guide import commands, inline, settings
from .service import (
    DEFAULT_RULES,
    ELSEWHERE,
    NAME,
    UNIT,
    Answer,
    Service,
    ask,
    rules_to,
)

HOOK = "/etc/letsencrypt/renewal-hooks/deploy/regroute"
RENEWED_LINEAGE = f"/etc/letsencrypt/live/{NAME}"


def served_certificate(service: Service) -> str:
    """What is served on port 443, in PEM."""
    with service.client(443) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        served = client.sock.getpeercert(binary_form=True)
        assert served is not None
        return ssl.DER_cert_to_PEM_cert(served)


def certificate(service: Service) -> str:
    """What certbot has got last."""
    return service.bed.path(f"{RENEWED_LINEAGE}/fullchain.pem").read_text()


class TestRenewal:
    """What certbot's hook does with a renewed certificate."""

    @pytest.fixture
    def service(self, service: Service) -> Service:
        """With the hook of section 3."""
        service.bed.run("mkdir", "-p", "/etc/letsencrypt/renewal-hooks/deploy")
        service.bed.shell(commands("The service is handed its certificate when it starts."))
        return service

    @staticmethod
    def renew(service: Service) -> str:
        """Let certbot come with a new certificate; returns what its hook prints."""
        service.renew()
        return service.bed.shell(HOOK, RENEWED_LINEAGE=RENEWED_LINEAGE)

    def test_it_is_served_after_a_restart(self, service: Service) -> None:
        before = certificate(service)
        assert served_certificate(service) == before
        self.renew(service)
        assert served_certificate(service) == certificate(service) != before

    def test_there_is_no_restart_into_rules_with_faults(self, service: Service) -> None:
        pid, before = service.main_pid, certificate(service)
        service.write_rules("rules: []\n")
        assert "expected at least one entry" in self.renew(service)
        assert service.main_pid == pid
        assert served_certificate(service) == before


def test_certificates_can_be_renewed_without_a_restart(service: Service) -> None:
    service.add_settings(settings("### Certificates without a restart"))
    service.write_rules(DEFAULT_RULES.replace(f"/run/credentials/{UNIT}/", "/etc/regroute/tls/"))
    service.bed.run("mkdir", "-p", "/etc/letsencrypt/renewal-hooks/deploy")
    service.bed.shell(commands("### Certificates without a restart"))
    pid, before = service.main_pid, certificate(service)
    with service.client(443) as client:
        assert ask(client).status == 302
        service.renew()
        service.bed.shell(HOOK, RENEWED_LINEAGE=RENEWED_LINEAGE)
        assert eventually(lambda: served_certificate(service) == certificate(service) != before)
        assert ask(client).status == 302
    assert service.main_pid == pid


def test_port_80_can_be_left_to_another_program_and_taken_back(service: Service) -> None:
    service.bed.shell(inline("systemctl mask --now regroute-http.socket"))
    service.write_rules(DEFAULT_RULES.replace("  - socket: http\n", "", 1))
    service.systemctl("restart")
    assert service.ask(port=443) == Answer(302, f"{ELSEWHERE}/v2/")
    with pytest.raises(ConnectionRefusedError):
        service.ask(port=80)
    service.bed.shell(inline("systemctl unmask regroute-http.socket"))
    service.write_rules(DEFAULT_RULES)
    service.systemctl("restart")
    assert service.ask(port=80) == Answer(302, f"{ELSEWHERE}/v2/")


def test_a_stop_with_the_sockets_lasts(service: Service) -> None:
    service.bed.shell(
        inline("systemctl stop regroute.socket regroute-http.socket regroute.service")
    )
    with pytest.raises(ConnectionRefusedError):
        service.ask(port=443)
    assert service.show("ActiveState") == "inactive"


def test_a_reload_lasts_until_it_is_over_where_systemd_can_wait_for_it(service: Service) -> None:
    """A systemd that cannot says that it does not know the drop-in's type."""
    service.bed.shell(commands("**Reloads that are waited for.**"))
    if service.bed.version() < 253:
        assert "Failed to parse service type, ignoring: notify-reload" in service.log()
        return
    service.systemctl("restart")
    for number in range(10):
        service.write_rules(rules_to(f"https://r{number}.example"))
        service.systemctl("reload")
        assert service.ask().location == f"https://r{number}.example/v2/"
