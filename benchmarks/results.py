"""What a run found, and how it is summed up."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median

from .servers import NGINX


@dataclass(frozen=True)
class Spread:
    """A median, and the least and the most that it is of."""

    middle: float
    least: float
    most: float


def spread(values: Iterable[float]) -> Spread | None:
    """Sum values up; nothing if there are none."""
    found = sorted(values)
    return Spread(median(found), found[0], found[-1]) if found else None


@dataclass(frozen=True)
class Sample:
    """One server under one workload in one round."""

    setting: str
    workload: str
    server: str
    round: int
    cpu: float
    """The server's CPU time a request, in microseconds."""
    rate: float
    """Requests a second."""


@dataclass(frozen=True)
class Latency:
    """One server at half of nginx's rate, in microseconds."""

    workload: str
    server: str
    round: int
    rate: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Memory:
    """A server's resident memory in bytes: idle, and what each open connection adds."""

    setting: str
    server: str
    idle: int
    plain: float | None = None
    tls: float | None = None


@dataclass
class Results:
    """All that a run found."""

    samples: list[Sample] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def cpu(self, setting: str, workload: str, server: str) -> Spread | None:
        """CPU time a request, over the rounds."""
        return spread(sample.cpu for sample in self._of(setting, workload, server))

    def rate(self, setting: str, workload: str, server: str) -> Spread | None:
        """Requests a second, over the rounds."""
        return spread(sample.rate for sample in self._of(setting, workload, server))

    def ratio(self, setting: str, workload: str, server: str) -> Spread | None:
        """CPU time a request as a multiple of nginx's in the same round."""
        nginx = {sample.round: sample.cpu for sample in self._of(setting, workload, NGINX)}
        return spread(
            sample.cpu / nginx[sample.round]
            for sample in self._of(setting, workload, server)
            if nginx.get(sample.round)
        )

    def latency(self, workload: str, server: str, of: Callable[[Latency], float]) -> Spread | None:
        """A figure of the paced load, over the rounds."""
        return spread(map(of, self._paced(workload, server)))

    def p99_ratio(self, workload: str, server: str) -> Spread | None:
        """The 99th percentile as a multiple of nginx's in the same round."""
        nginx = {one.round: one.p99 for one in self._paced(workload, NGINX)}
        return spread(
            one.p99 / nginx[one.round]
            for one in self._paced(workload, server)
            if nginx.get(one.round)
        )

    def _paced(self, workload: str, server: str) -> list[Latency]:
        return [one for one in self.latencies if (one.workload, one.server) == (workload, server)]

    def _of(self, setting: str, workload: str, server: str) -> list[Sample]:
        wanted = (setting, workload, server)
        return [one for one in self.samples if (one.setting, one.workload, one.server) == wanted]
