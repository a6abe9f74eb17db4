"""What a server's processes have used, by /proc, and the cores and ports they run on."""

import os
import resource
import socket
from contextlib import ExitStack
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _fields(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, new = [pid], [pid]
    while new:
        new = [child for parent in new for child in parents.get(parent, [])]
        found += new
    return found


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of all their threads."""
    ticks = 0
    for pid in pids:
        if fields := _fields(pid):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def resident(pids: list[int]) -> int:
    """Their resident memory in bytes; what they share counts for each."""
    pages = 0
    for pid in pids:
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * _PAGE


def _fields(pid: int) -> list[str]:
    """A process's stat from its state on; nothing if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # A name in brackets comes before, and may hold spaces and brackets.
    return stat.rpartition(")")[2].split()


def take_cores() -> tuple[int, int]:
    """A core for the server, and one for the client, to which this process goes itself."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the server and its client need a core each: this machine has one")
    os.sched_setaffinity(0, {cores[1]})
    return cores[0], cores[1]


def take_descriptors() -> int:
    """Allow as many descriptors as may be, for the servers too; returns how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
