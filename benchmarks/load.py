"""The load generators: wrk, hey where no TLS session may be resumed, and we ourselves for blobs.

wrk keeps a session for each of its connections and resumes it whenever the server lets it; hey
shakes hands anew each time. All run as one thread on the client's core, which they inherit.
"""

import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from math import nan
from pathlib import Path

from .registry import BLOB_SIZE
from .running import Failed, Running
from .tools import Tools
from .workloads import CONNECTIONS, RELAY, TARGET, Workload

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
    if workload.is_blob:
        return _blobs(running, workload, seconds)
    if workload.beside:
        with _beside(tools, running, workload, seconds):
            return _wrk(tools, running, workload, seconds, CONNECTIONS, 0)
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
    with _beside(tools, running, workload, seconds):
        return _wrk(tools, running, workload, seconds, connections, _PAUSE)


@contextmanager
def _beside(tools: Tools, running: Running, workload: Workload, seconds: int) -> Iterator[None]:
    """Have manifests relayed at the same time, as many a second as the workload says."""
    if not workload.beside:
        yield
        return
    with ThreadPoolExecutor(1) as pool:
        relayed = pool.submit(run_paced, tools, running, RELAY, seconds, workload.beside)
        yield
        if not relayed.result().requests:
            raise Failed("it relayed nothing beside its redirects")


def _wrk(
    tools: Tools, running: Running, workload: Workload, seconds: int, connections: int, pause: int
) -> Figures:
    said = _output(
        str(tools.paths["wrk"]),
        *("-t1", f"-c{connections}", f"-d{seconds}", "-s", str(SCRIPT)),
        *(("-H", "Connection: close") if workload.is_new else ()),
        running.url(workload),
        *("--", str(workload.targets), str(pause)),
        *((running.token(workload.target),) if workload.target != TARGET else ()),
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


def _blobs(running: Running, workload: Workload, seconds: int) -> Figures:
    """Whole blobs until the time is up; one at least."""
    room = memoryview(bytearray(1 << 20))
    count, start = 0, time.monotonic()
    with closing(running.connection(is_tls=workload.tls)) as connection:
        while not count or time.monotonic() < start + seconds:
            headers = {"Authorization": f"Bearer {running.token(workload.target)}"}
            try:
                connection.request("GET", workload.target, headers=headers)
                answer = connection.getresponse()
                size = sum(iter(partial(answer.readinto, room), 0))
            except (OSError, HTTPException) as error:
                raise Failed(f"a blob broke off: {error!r}") from error
            if (answer.status, size) != (200, BLOB_SIZE):
                raise Failed(f"a blob came with {answer.status} and {size} bytes")
            count += 1
    return Figures(count, time.monotonic() - start)


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
