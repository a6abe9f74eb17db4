"""The metrics that a scrape gets: all counts of all blocks, and what is known of the daemon.

The names are fixed: programs read them. `docs/metrics.md` says what each of them means.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

import twisted

from ..answers import Reason
from ..check import Checked
from ..outcome import History
from .counters import OVERFLOW, Counters
from .events import Event
from .tally import BOUNDS, BUCKETS, MICROSECONDS, REQUESTS

_MICRO = 1e6  # a second
_REQUEST_LABELS = ("rule", "registry", "code", "kind")
# Limits that bite by a refusal or by the end of a connection, which are counted as that.
_OTHER_LIMITS: Mapping[str, Sequence[Reason | Event]] = {
    "head": [Reason.TIMEOUT],
    "head_size": [Reason.LINE_SIZE, Reason.HEAD_SIZE],
    "tls_handshake": [Event.HANDSHAKE_LATE],
    "proxy_header": [Event.PROXY_LATE],
}


@dataclass(frozen=True)
class Facts:
    """What is to be told besides counts.

    `config_hash` is that of the configuration in force; `workers` are the processes that serve, and
    `worker_restarts` how many have been started again after they had ended by themselves.
    """

    config_hash: str
    reloads: History
    certificates: Mapping[str, datetime] = field(default_factory=dict)
    """When each name's certificate expires."""
    networks: Mapping[str, int] = field(default_factory=dict)
    """How many spans of addresses each network has; those that touch or overlap are one."""
    workers: int = 1
    worker_restarts: int = 0

    @classmethod
    def of(
        cls,
        checked: Checked,
        reloads: History,
        workers: int = 1,
        worker_restarts: int = 0,
    ) -> "Facts":
        """The facts of the configuration in force."""
        return cls(
            checked.sha256,
            reloads,
            _expiries(checked),
            {name: len(ranges.spans) for name, ranges in checked.networks.items()},
            workers,
            worker_restarts,
        )


def _expiries(checked: Checked) -> dict[str, datetime]:
    """A name that several certificates are good for is in trouble when the first one expires."""
    expiries: dict[str, datetime] = {}
    for certificates in checked.certificates:
        for certificate in certificates:
            for name in certificate.names or [certificate.leaf.subject.rfc4514_string()]:
                expiries[name] = min(certificate.expires, expiries.get(name, certificate.expires))
    return expiries


class Metrics:
    """Tells what `counters` have counted, blocks of processes that are gone included, and `facts`.

    Both are asked for whenever someone scrapes.
    """

    def __init__(
        self, counters: Callable[[], Iterable[Counters]], facts: Callable[[], Facts]
    ) -> None:
        self._counters = counters
        self._facts = facts
        self._build = {
            "version": version("regroute"),
            "python": platform.python_version(),
            "twisted": twisted.__version__,
        }
        # Not the one that all of a process share: nobody else shall speak in our name.
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """All metrics and their media type: Prometheus' text, or OpenMetrics for who accepts it."""
        try:
            encode, media_type = choose_encoder(accept)
        except TypeError:
            # A version that is none.
            encode, media_type = choose_encoder("")
        return media_type, encode(self._registry)

    def collect(self) -> Iterator[Metric]:
        """All metrics but the process's own."""
        totals = _Totals.of(self._counters())
        yield from _request_metrics(totals)
        yield from _event_metrics(totals)
        yield from _facts_metrics(self._facts())
        yield InfoMetricFamily("regroute_build", "What the daemon is made of.", self._build)


def connections(blocks: Iterable[Counters]) -> int:
    """How many connections are open."""
    return _Totals.of(blocks).value(*Event.CONNECTION.value)


@dataclass(frozen=True)
class _Totals:
    """The sums over all blocks."""

    by_key: Mapping[tuple[str, ...], int]

    @classmethod
    def of(cls, blocks: Iterable[Counters]) -> "_Totals":
        totals: Counter[tuple[str, ...]] = Counter()
        for counters in blocks:
            for name, labels, value in counters.items():
                totals[name, *labels] += value
        return cls(totals)

    def labelled(self, name: str) -> Iterator[tuple[tuple[str, ...], int]]:
        """The labels and values of all counts of a name."""
        for key, value in self.by_key.items():
            if key[0] == name:
                yield key[1:], value

    def value(self, name: str, *labels: str) -> int:
        """One count."""
        return self.by_key.get((name, *labels), 0)

    def refusals(self) -> dict[str, int]:
        """How many requests have been refused for each reason."""
        refusals = dict.fromkeys(map(str, Reason), 0)
        for (*_, reason), value in self.labelled(REQUESTS):
            if reason:
                refusals[reason] = refusals.get(reason, 0) + value
        return refusals


def _request_metrics(totals: _Totals) -> Iterator[Metric]:
    requests: Counter[tuple[str, ...]] = Counter()
    for labels, value in totals.labelled(REQUESTS):
        requests[labels[: len(_REQUEST_LABELS)]] += value
    yield _counter("regroute_requests", "Requests answered.", _REQUEST_LABELS, requests)

    buckets, count = [], 0
    for bound in BOUNDS:
        count += totals.value(BUCKETS, str(bound))
        buckets.append((str(bound / _MICRO), float(count)))
    buckets.append(("+Inf", float(count + totals.value(BUCKETS, ""))))
    yield HistogramMetricFamily(
        "regroute_request_seconds",
        "How long a request took, from its whole head until its answer was ready or relayed.",
        buckets,
        totals.value(MICROSECONDS) / _MICRO,
    )

    refusals: dict[tuple[str, ...], int] = {(why,): n for why, n in totals.refusals().items()}
    text = "Requests that no rule has judged, by reason."
    yield _counter("regroute_refusals", text, ["reason"], refusals)


def _event_metrics(totals: _Totals) -> Iterator[Metric]:
    events = {event: totals.value(*event.value) for event in Event}

    def of(name: str) -> dict[tuple[str, ...], int]:
        return {event.value[1:]: value for event, value in events.items() if event.value[0] == name}

    yield GaugeMetricFamily(
        "regroute_connections", "Connections that are open.", events[Event.CONNECTION]
    )
    handshakes = of("tls_handshakes")
    yield _counter("regroute_tls_handshakes", "TLS handshakes, by outcome.", ["result"], handshakes)
    yield _counter(
        "regroute_proxy_refusals",
        "Connections closed for what comes before the PROXY header's end.",
        ["reason"],
        of("proxy_refusals"),
    )
    refusals = totals.refusals()
    limits = of("limits_hit")
    for limit, causes in _OTHER_LIMITS.items():
        limits[limit,] = sum(
            refusals[cause] if isinstance(cause, Reason) else events[cause] for cause in causes
        )
    yield _counter("regroute_limits_hit", "How often a limit was hit.", ["limit"], limits)
    yield GaugeMetricFamily(
        "regroute_upstream_connections",
        "Connections to registries that are open.",
        events[Event.UPSTREAM],
    )
    yield _counter(
        "regroute_upstream_failures",
        "Relayed requests, and those for tokens, without an answer or its end.",
        ["reason"],
        of("upstream_failures"),
    )
    yield _counter(
        "regroute_access_log_lines_lost",
        "Lines of the access log that could not be written.",
        [],
        {(): events[Event.LINE_LOST]},
    )
    yield _counter(
        "regroute_metrics_overflow",
        "Requests that have no labels of their own, for there are too many.",
        [],
        {(): totals.value(OVERFLOW)},
    )


def _facts_metrics(facts: Facts) -> Iterator[Metric]:
    reloads = facts.reloads
    yield _counter(
        "regroute_config_reloads",
        "Reloads of the configuration.",
        ["result"],
        {("success",): reloads.succeeded, ("failure",): reloads.failed},
    )
    yield GaugeMetricFamily(
        "regroute_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was loaded.",
        reloads.last_success,
    )
    yield InfoMetricFamily(
        "regroute_config", "The configuration in force.", {"hash": facts.config_hash}
    )
    yield _gauge(
        "regroute_certificate_expiry_timestamp_seconds",
        "When the certificate of a name expires.",
        "name",
        {name: moment.timestamp() for name, moment in facts.certificates.items()},
    )
    yield _gauge(
        "regroute_network_prefixes",
        "How many spans of addresses a network has.",
        "network",
        facts.networks,
    )
    yield GaugeMetricFamily("regroute_workers", "Processes that serve.", facts.workers)
    yield _counter(
        "regroute_worker_restarts",
        "Processes started again after they had ended by themselves.",
        [],
        {(): facts.worker_restarts},
    )


def _counter(
    name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], int]
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for each, value in values.items():
        family.add_metric(each, value)
    return family


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family
