"""What forty clients notice of restarts and reloads: nothing."""

import pytest

from .load import CLIENTS, load
from .service import Service, rules_to

RESTARTS = 10
RELOADS = 100


def serve_by(service: Service, workers: int) -> None:
    """Let as many processes serve from now on."""
    service.write_rules(rules_to("https://r0.example", workers))
    service.systemctl("restart")
    # The parent serves nobody.
    assert len(service.processes()) == (1 if workers == 1 else 1 + workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_ten_restarts_lose_no_request(service: Service, workers: int) -> None:
    """Not one is refused, reset or answered by an empty close, by TLS or plain."""
    serve_by(service, workers)
    pids = {service.main_pid}
    with load(service.bed, service.trust) as clients:
        for _ in range(RESTARTS):
            service.systemctl("restart")
            pids.add(service.main_pid)
            assert clients.goes_on()
    account = clients.account()
    print(account)
    assert account.lost == {}
    assert len(pids) == RESTARTS + 1
    assert service.show("NRestarts") == "0"
    assert min(account.answered.values()) >= CLIENTS / 4 * RESTARTS


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hundred_reloads_lose_no_request(service: Service, workers: int) -> None:
    """The rules are others each time, so that each reload brings something."""
    serve_by(service, workers)
    pid = service.main_pid
    with load(service.bed, service.trust) as clients:
        for number in range(1, RELOADS + 1):
            service.write_rules(rules_to(f"https://r{number}.example", workers))
            service.systemctl("reload")
            assert service.sends_to(f"https://r{number}.example")
        assert clients.goes_on()
    assert clients.account().lost == {}
    assert service.main_pid == pid
