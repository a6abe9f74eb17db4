"""The load generators: wrk, and hey where no TLS session may be resumed.

wrk keeps a session for each of its connections and resumes it whenever the server lets it; hey
shakes hands anew each time. Both run as one thread on the client's core, which they inherit.
"""

import re
import subprocess
from dataclasses import dataclass
from math import nan
from pathlib import Path

from .running import Failed, Running
from .tools import Tools
from .workloads import CONNECTIONS, Workload

SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Figures:
    """What a load generator saw."""

    requests: int
    seconds: float
    p50: float = nan
    """Of the latencies, in microseconds."""
    p99: float = nan

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def run(tools: Tools, running: Running, workload: Workload, seconds: int) -> Figures:
    """As much load as the server takes."""
    if workload.tls and workload.is_new and not workload.resumes:
        return _hey(tools, running.url(workload), seconds)
    return _wrk(tools, running, workload, seconds, CONNECTIONS, 0)


# How long a connection of a paced load waits before each of its requests, in milliseconds: at most,
# and so twice of what it is on average.
_PAUSE = 16


def run_paced(
    tools: Tools, running: Running, workload: Workload, seconds: int, rate: float
) -> Figures:
    """About this rate, by many connections that each wait a random time before each request."""
    connections = max(1, round(rate * _PAUSE / 2 / 1000))
    return _wrk(tools, running, workload, seconds, connections, _PAUSE)


def _wrk(
    tools: Tools, running: Running, workload: Workload, seconds: int, connections: int, pause: int
) -> Figures:
    said = _output(
        str(tools.paths["wrk"]),
        *("-t1", f"-c{connections}", f"-d{seconds}", "-s", str(SCRIPT)),
        *(("-H", "Connection: close") if workload.is_new else ()),
        running.url(workload),
        *("--", str(workload.targets), str(pause)),
    )
    figures = dict(re.findall(r"(\w+)=([\d.]+)", said.partition("figures ")[2]))
    if not figures or int(figures["errors"]):
        raise Failed(f"wrk met errors: {said[-500:]}")
    return Figures(
        int(figures["requests"]),
        float(figures["seconds"]),
        float(figures["p50"]),
        float(figures["p99"]),
    )


def _hey(tools: Tools, url: str, seconds: int) -> Figures:
    said = _output(
        str(tools.paths["hey"]),
        *("-z", f"{seconds}s", "-c", str(CONNECTIONS), "-cpus", "1"),
        *("-disable-keepalive", "-disable-redirects", url),
    )
    answers = re.findall(r"\[(\d+)\]\s+(\d+) responses", said)
    total = re.search(r"Total:\s+([\d.]+) secs", said)
    if [status for status, _ in answers] != ["302"] or total is None:
        raise Failed(f"hey met errors: {said[-500:]}")
    return Figures(int(answers[0][1]), float(total[1]))


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
