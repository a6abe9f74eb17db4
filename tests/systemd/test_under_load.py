"""What forty clients notice of restarts and reloads: nothing."""

from .load import CLIENTS, load
from .service import Service, rules_to

RESTARTS = 10
RELOADS = 100


def test_ten_restarts_lose_no_request(service: Service) -> None:
    """Not one is refused, reset or answered by an empty close, by TLS or plain."""
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


def test_a_hundred_reloads_lose_no_request(service: Service) -> None:
    """The rules are others each time, so that each reload brings something."""
    pid = service.main_pid
    with load(service.bed, service.trust) as clients:
        for number in range(1, RELOADS + 1):
            service.write_rules(rules_to(f"https://r{number}.example"))
            service.systemctl("reload")
            assert service.sends_to(f"https://r{number}.example")
        assert clients.goes_on()
    assert clients.account().lost == {}
    assert service.main_pid == pid
