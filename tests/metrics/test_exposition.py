"""What a scrape gets: every metric, in both formats, summed over all processes."""

import platform
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import Metric, parser
from prometheus_client.openmetrics import parser as openmetrics_parser

import twisted
from regroute.answers import Reason
from regroute.metrics.counters import Counters
from regroute.metrics.events import Event
from regroute.metrics.exposition import Facts, Metrics
from regroute.metrics.tally import BOUNDS, Tally
from regroute.oci import Kind
from regroute.outcome import History

from ..issuers import DAY, NOW, new_key, new_root, pem, pem_key
from ..logs.test_access_log import PULL
from ..making import Books, checked

OPENMETRICS = "application/openmetrics-text"
# As Prometheus 3 asks.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"
)
DOCUMENT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
DOCUMENTED = Facts("c0ffee", History(1.0), {"a.example": NOW}, {"office": 1})
FACTS = Facts("c0ffee", History(1_792_834_567.5))
REQUESTS_TOTAL = "regroute_requests_total"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(exposed: tuple[str, bytes]) -> list[Metric]:
    """The families in an exposition, by the reader of its own format."""
    media_type, body = exposed
    read = parser if media_type.startswith("text/plain") else openmetrics_parser
    return list(read.text_string_to_metric_families(body.decode()))


def samples(families: Iterable[Metric]) -> Samples:
    """All samples but the process's own, which change by themselves."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        if not family.name.startswith("process_")
        for sample in family.samples
    }


def scrape(*blocks: Counters, facts: Facts = FACTS, accept: str = "") -> Samples:
    """What is told of blocks and facts."""
    return samples(parse(Metrics(lambda: blocks, lambda: facts).exposition(accept)))


def value(told: Samples, name: str, **labels: str) -> float:
    """One sample."""
    return told[name, frozenset(labels.items())]


def by_label(told: Samples, name: str) -> dict[str, float]:
    """The samples of a metric that has one label, by its value."""
    return {
        next(iter(labels))[1]: number for (sample, labels), number in told.items() if sample == name
    }


def mixed() -> Counters:
    """A block in which a little of all has been counted."""
    counters = Counters.private()
    tally = Tally(counters)
    for times, event in enumerate(Event, start=1):
        tally.count(event, times)
    for number, reason in enumerate(Reason):
        refused = PULL._replace(rule=None, registry=None, status=400, reason=reason)
        for _ in range(number):
            tally.record(refused._replace(microseconds=10**number))
    tally.record(PULL._replace(rule='a"b\\c\nd', registry="\u20ac", kind=Kind.BLOBS))
    return counters


# Formats.


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html, image/png", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            PROMETHEUS,
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        ),
        (f"{OPENMETRICS};version=nonsense", "text/plain; version=0.0.4; charset=utf-8"),
        (f"{OPENMETRICS};version=1.x", "text/plain; version=0.0.4; charset=utf-8"),
        (";;=,=;,", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_both_formats_say_the_same(accept: str, media_type: str) -> None:
    block = mixed()
    metrics = Metrics(lambda: [block], lambda: FACTS)
    exposed = metrics.exposition(accept)
    assert exposed[0] == media_type
    assert samples(parse(exposed)) == samples(parse(metrics.exposition(OPENMETRICS)))
    assert exposed[1].endswith(b"# EOF\n") is media_type.startswith(OPENMETRICS)


def test_labels_keep_whatever_a_name_has() -> None:
    labels = {"rule": 'a"b\\c\nd', "registry": "\u20ac", "code": "302", "kind": "blobs"}
    for accept in ("", OPENMETRICS):
        told = scrape(mixed(), accept=accept)
        assert value(told, REQUESTS_TOTAL, **labels) == 1


def test_the_process_itself_is_told_of() -> None:
    told = parse(Metrics(list, lambda: FACTS).exposition(""))
    names = {family.name for family in told if family.name.startswith("process_")}
    assert names >= {"process_cpu_seconds", "process_open_fds", "process_resident_memory_bytes"}


# Counts.


def test_requests_are_counted_by_rule_registry_code_and_kind() -> None:
    """What there is none of is empty; a reason is told by another metric."""
    books = Books()
    for entry in [PULL, PULL, PULL._replace(kind=Kind.TAGS)]:
        books.record(entry)
    nobody = PULL._replace(rule=None, registry=None, status=404, reason=Reason.NO_RULE)
    books.record(nobody)
    books.record(nobody._replace(reason=Reason.INTERNAL))
    told = scrape(books.counters)
    requests = {
        labels: n for (name, labels), n in told.items() if name == "regroute_requests_total"
    }
    assert requests == {
        frozenset({("rule", "office"), ("registry", "hub"), ("code", "302"), ("kind", "other")}): 2,
        frozenset({("rule", "office"), ("registry", "hub"), ("code", "302"), ("kind", "tags")}): 1,
        frozenset({("rule", ""), ("registry", ""), ("code", "404"), ("kind", "other")}): 2,
    }


def test_durations_are_a_histogram_in_seconds() -> None:
    books = Books()
    for microseconds in (0, 10, 11, 1_000, 2_000_000, 60_000_000):
        books.record(PULL._replace(microseconds=microseconds))
    told = scrape(books.counters)
    buckets = by_label(told, "regroute_request_seconds_bucket")
    assert {bound: buckets[bound] for bound in ("1e-05", "2.5e-05", "0.0005", "0.001", "1.0")} == {
        "1e-05": 2,
        "2.5e-05": 3,
        "0.0005": 3,
        "0.001": 4,
        "1.0": 4,
    }
    assert (buckets["2.5"], buckets["10.0"], buckets["+Inf"]) == (5, 5, 6)
    assert len(buckets) == len(BOUNDS) + 1
    assert value(told, "regroute_request_seconds_count") == 6
    assert value(told, "regroute_request_seconds_sum") == pytest.approx(62.001021)


def test_every_reason_is_told_from_the_beginning() -> None:
    assert by_label(scrape(Books().counters), "regroute_refusals_total") == dict.fromkeys(Reason, 0)
    told = by_label(scrape(mixed()), "regroute_refusals_total")
    assert told == {reason: number for number, reason in enumerate(Reason)}


def test_every_limit_is_told_and_those_that_refuse_or_close_count_as_that() -> None:
    told = scrape(mixed())
    limits = by_label(told, "regroute_limits_hit_total")
    refusals = by_label(told, "regroute_refusals_total")
    handshakes = by_label(told, "regroute_tls_handshakes_total")
    assert limits["head"] == refusals["timeout"] > 0
    assert limits["head_size"] == refusals["line_size"] + refusals["head_size"] > 0
    assert limits["tls_handshake"] == handshakes["timeout"] > 0
    assert limits["proxy_header"] == by_label(told, "regroute_proxy_refusals_total")["timeout"] > 0
    own = {event.value[1]: n for n, event in enumerate(Event, 1) if event.value[0] == "limits_hit"}
    assert {limit: limits[limit] for limit in own} == own
    assert len(limits) == len(own) + 4


def test_lines_connections_and_handshakes_are_told() -> None:
    told = scrape(mixed())
    numbers = {event: number for number, event in enumerate(Event, start=1)}
    assert value(told, "regroute_connections") == numbers[Event.CONNECTION]
    assert value(told, "regroute_access_log_lines_lost_total") == numbers[Event.LINE_LOST]
    assert by_label(told, "regroute_tls_handshakes_total") == {
        "success": numbers[Event.HANDSHAKE_DONE],
        "failure": numbers[Event.HANDSHAKE_FAILED],
        "timeout": numbers[Event.HANDSHAKE_LATE],
        "closed": numbers[Event.HANDSHAKE_LEFT],
    }


def test_all_blocks_are_one_daemon() -> None:
    one, two = mixed(), mixed()
    Tally(two).record(PULL)
    alone, both = scrape(one), scrape(one, two)
    # The second one's connections have ended with the one who counted them.
    assert value(both, "regroute_connections") == value(alone, "regroute_connections")
    labels = {"rule": "office", "registry": "hub", "code": "302", "kind": "other"}
    assert value(both, REQUESTS_TOTAL, **labels) == 1
    for name, label in [
        ("refusals", "path"),
        ("tls_handshakes", "success"),
        ("limits_hit", "idle"),
    ]:
        key = f"regroute_{name}_total"
        assert by_label(both, key)[label] == 2 * by_label(alone, key)[label] > 0


def test_what_has_no_cell_is_told_too() -> None:
    counters = Counters.private(cells=64, directory=65_536)
    tally = Tally(counters)
    for number in range(100):
        tally.record(PULL._replace(rule=f"rule-{number}"))
    told = scrape(counters)
    requests = sum(n for (name, _), n in told.items() if name == REQUESTS_TOTAL)
    overflow = value(told, "regroute_metrics_overflow_total")
    assert 0 < overflow < 100
    assert requests + overflow == 100 == value(told, "regroute_request_seconds_count")


# Facts.


def test_the_configuration_in_force_is_told_of() -> None:
    root, key = new_root(), new_key()
    soon, late = NOW + DAY, NOW + 9 * DAY
    files = {
        "a.pem": pem(root.sign(key, "a.example", "b.example", ends=late)),
        "b.pem": pem(root.sign(key, "b.example", "*.c.example", ends=soon)),
        "c.pem": pem(root.sign(key, ends=late)),
        "key.pem": pem_key(key),
    }
    text = """
        listen:
          - {port: 1, tls: {certificates: [{certificate: a.pem, key: key.pem}]}}
          - {port: 2, tls: {certificates: [{certificate: b.pem, key: key.pem}]}}
          - {port: 3, tls: {certificates: [{certificate: c.pem, key: key.pem}]}}
        networks: {office: [10.0.0.0/25, 10.0.0.128/25, 10.2.0.1, "2001:db8::/32"], one: [10.1.2.3]}
        rules: [{client: office, to: "https://a.example"}, {to: "https://b.example"}]
    """
    reloads = History(7.25, succeeded=2, failed=2)
    told = scrape(facts=Facts.of(after := checked(text, files), reloads, 4, worker_restarts=2))
    assert by_label(told, "regroute_certificate_expiry_timestamp_seconds") == {
        "a.example": late.timestamp(),
        "b.example": soon.timestamp(),
        "*.c.example": soon.timestamp(),
        "CN=a server": late.timestamp(),
    }
    assert by_label(told, "regroute_network_prefixes") == {"office": 3, "one": 1}
    assert by_label(told, "regroute_config_reloads_total") == {"success": 2, "failure": 2}
    assert value(told, "regroute_config_last_reload_success_timestamp_seconds") == 7.25
    assert by_label(told, "regroute_config_info") == {after.sha256: 1}
    assert value(told, "regroute_workers") == 4
    assert value(told, "regroute_worker_restarts_total") == 2


def test_the_build_is_told() -> None:
    [labels] = [labels for name, labels in scrape() if name == "regroute_build_info"]
    assert dict(labels) == {
        "version": "0.1.0",
        "python": platform.python_version(),
        "twisted": twisted.__version__,
    }


def test_each_metric_is_in_the_documents_table_and_nothing_else_is() -> None:
    """By its name, its type and its labels; those of the process are its library's."""
    families = [
        family
        for family in parse(Metrics(lambda: [mixed()], lambda: DOCUMENTED).exposition(""))
        if not family.name.startswith("process_")
    ]
    exposed = {
        family.samples[0].name.removesuffix("_bucket"): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in families
    }
    table = re.findall(r"^\| `(regroute_\w+)` \| (\w+) \| (.*?) \|", DOCUMENT, re.MULTILINE)
    assert exposed == {name: (kind, set(re.findall(r"`(\w+)`", to))) for name, kind, to in table}
    assert len(table) == len(exposed)


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("regroute_refusals_total", "reason"),
        ("regroute_limits_hit_total", "limit"),
        ("regroute_tls_handshakes_total", "result"),
        ("regroute_proxy_refusals_total", "reason"),
        ("regroute_config_reloads_total", "result"),
    ],
)
def test_the_document_names_each_value_of_a_label(metric: str, label: str) -> None:
    section = DOCUMENT.partition(f"\n## `{metric}`\n")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(named) == sorted(by_label(scrape(), metric))


def test_facts_are_asked_for_at_every_scrape() -> None:
    facts = [FACTS]
    metrics = Metrics(list, lambda: facts[0])
    hashes: list[str] = []
    for name in ("one", "two"):
        facts[0] = Facts(name, History(1.0))
        hashes += by_label(samples(parse(metrics.exposition(""))), "regroute_config_info")
    assert hashes == ["one", "two"]
