"""What a scrape says, beside what the clients and the access log say, over two workers."""

import json
import os
import signal
from collections import Counter
from http.client import HTTPConnection
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from regroute.answers import Refusal
from regroute.query import Query

from ..ports import free_ports
from .daemon import PATIENCE, Daemon, eventually, launched
from .mixed import RULES, Got, crowd
from .test_workers import workers_of

REQUESTS = 2_000
"""How many of each of the six visitors."""

Labels = tuple[str, str, str, str]


def configuration(workers: int, port: int, admin: int) -> str:
    return (
        f"workers: {workers}\nlisten: [{{port: {port}}}]\nadmin: {{port: {admin}}}\n"
        f"access_log: {{path: access.log}}\n{RULES}"
    )


def scrape(port: int) -> dict[str, Counter[tuple[str, ...]]]:
    """The values of all samples by their names, each by the values of its labels."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, text
    found: dict[str, Counter[tuple[str, ...]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values = found.setdefault(sample.name, Counter())
            values[tuple(sample.labels[name] for name in sorted(sample.labels))] = int(sample.value)
    return found


def labels_of(rule: str | None, registry: str | None, status: int, kind: str) -> Labels:
    """The labels of a request in the order of their names."""
    return (str(status), kind, registry or "", rule or "")


def kind_of(got: Got) -> str:
    """The kind of what a client has asked for, where it is asked in a way that can be read."""
    if got.rule is None and got.status not in (404, 405):
        return "other"
    try:
        query = Query.of(IPv4Address(0), got.method, got.path.encode("latin-1"), b"h", "")
    except Refusal:
        return "other"
    return query.kind


@pytest.mark.parametrize("workers", [1, 2])
def test_clients_log_and_metrics_agree_about_every_request(tmp_path: Path, workers: int) -> None:
    port, admin = free_ports(2)
    log = tmp_path / "access.log"
    with launched(configuration(workers, port, admin), tmp_path, port) as daemon:
        before = scrape(admin)["regroute_requests_total"]
        got = [each for one in crowd(port, lambda done: done < REQUESTS) for each in one]
        told = scrape(admin)
        counted = told["regroute_requests_total"] - before
        daemon.terminate()
        assert daemon.status() == 0
    asked = Counter(labels_of(one.rule, one.registry, one.status, kind_of(one)) for one in got)
    assert counted == asked
    total = sum(told["regroute_requests_total"].values())
    assert told["regroute_request_seconds_count"] == {(): total}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == total
    logged = Counter((line["rule"], line["registry"], line["status"]) for line in lines)
    by_line: Counter[tuple[str | None, str | None, int]] = Counter()
    for (status, _, registry, rule), number in told["regroute_requests_total"].items():
        by_line[rule or None, registry or None, int(status)] += number
    assert by_line == logged
    refused = sum(line["rule"] is None for line in lines)
    assert sum(told["regroute_refusals_total"].values()) == refused


def test_counts_never_go_backwards_when_a_worker_is_killed(tmp_path: Path) -> None:
    port, admin = free_ports(2)
    with launched(configuration(2, port, admin), tmp_path, port) as daemon:
        assert eventually(lambda: scrape(admin)["regroute_workers"] == {(): 2})
        total, asked = 0, 0
        for killed in range(3):
            for _ in range(30):
                daemon.ask("/v2/a/manifests/1")
                asked += 1
                before, total = total, sum(scrape(admin)["regroute_requests_total"].values())
                assert total >= before
            os.kill(workers_of(daemon.process.pid)[0], signal.SIGKILL)
            assert daemon.logs("serves again", times=killed + 1)
        # Whether it has begun to answer was asked as well.
        pulls = labels_of("pulls", "hub", 302, "manifests")
        assert scrape(admin)["regroute_requests_total"][pulls] == asked
        assert scrape(admin)["regroute_worker_restarts_total"] == {(): 3}
        assert eventually(lambda: scrape(admin)["regroute_connections"] == {(): 0})


def status_of(daemon: Daemon, admin: int) -> dict[str, object]:
    connection = HTTPConnection("127.0.0.1", admin, timeout=PATIENCE)
    connection.request("GET", "/status.json")
    told: dict[str, object] = json.loads(connection.getresponse().read())
    connection.close()
    return told


def test_the_status_names_every_worker(tmp_path: Path) -> None:
    port, admin = free_ports(2)
    with launched(configuration(2, port, admin), tmp_path, port) as daemon:
        assert eventually(lambda: status_of(daemon, admin)["state"] == "serving")
        workers = status_of(daemon, admin)["workers"]
        assert isinstance(workers, list)
        assert {each["pid"] for each in workers} == set(workers_of(daemon.process.pid))
        assert all(each["serving"] for each in workers)
