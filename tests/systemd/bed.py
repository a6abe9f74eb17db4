"""A machine of its own that a real systemd has booted, with the daemon installed in it."""

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..processes import ProgramError, clean_environment, daemon, eventually, missing, run, succeeds

NEEDS = {
    "ip": "iproute2",
    "journalctl": "systemd",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "systemctl": "systemd",
    "systemd-analyze": "systemd",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}
PYTHON = Path("/usr/bin/python3")
"""Debian's: the service sees no home directory, where another one may be."""

_BOOT = Path(__file__).with_name("boot.sh")
_CGROUPS = Path("/sys/fs/cgroup")
_PREFIX = "regroute-systemd-"
# What ends with its process: no mount, no process and no interface can outlive the tests.
_APART = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
_TIME_TO_INSTALL = 300
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Bed:
    """The booted machine. `leader` is its systemd, by the process id that it has out here."""

    leader: int
    _network: Executor

    def command(self, *argv: str) -> list[str]:
        """The command line that runs argv on the machine."""
        return ["nsenter", "--target", str(self.leader), "--all", "--", *argv]

    def run(self, *argv: str) -> str:
        """What a program prints there; raises `ProgramError` unless it ends with 0."""
        return run(self.command(*argv))

    def shell(self, script: str, **environ: str) -> str:
        """What a script prints that is run in the machine's source tree."""
        settings = [f"{name}={value}" for name, value in environ.items()]
        inside = ["env", "--chdir=/usr/src/regroute", *settings, "sh", "-euc", script]
        return self.run(*inside)

    def succeeds(self, *argv: str) -> bool:
        """Whether a program ends with 0 there."""
        return succeeds(self.command(*argv))

    def version(self) -> int:
        """Which systemd it is."""
        _, number, *_ = self.run("systemctl", "--version").split()
        return int(number)

    def path(self, name: str) -> Path:
        """A file of the machine, as it is reached from here."""
        return Path(f"/proc/{self.leader}/root") / name.lstrip("/")

    def write(self, name: str, text: str) -> None:
        """Give the machine a file, in one step as deployments do."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.new")
        new.write_text(text)
        new.rename(path)

    def enter_network(self) -> None:
        """Let this thread, and no other, open its sockets on the machine."""
        with open(f"/proc/{self.leader}/ns/net") as namespace:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error))

    def connect(self, port: int, host: str = "127.0.0.1", patience: float = 20) -> socket.socket:
        """A new connection of a client on the machine; nothing may take longer than `patience`."""
        return self._network.submit(socket.create_connection, (host, port), patience).result()


def impossible() -> str | None:
    """Why this computer cannot have such a machine, in words for a skip; None when it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a systemd of the tests' own needs Linux and root"
    if reason := missing(NEEDS):
        return reason
    if not succeeds([str(PYTHON), "-c", "import ensurepip, venv"]):
        return "not installed: Debian's python3-venv; tests/provision.sh installs it as root"
    if not _hierarchies():
        return f"no cgroup2 is mounted at {_CGROUPS} or in it"
    try:
        with _cgroups(f"{_PREFIX}trial-{os.getpid()}"):
            run([*_APART, "sh", "-euc", _TRIAL])
    except (OSError, ProgramError) as refused:
        return f"namespaces, overlays or cgroups are refused here: {refused}"
    return None


_TRIAL = """
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
unshare --net ip link set lo up
"""


@contextmanager
def booted(tree: Path, install: str, directory: Path) -> Iterator[Bed]:
    """A machine with a source tree at /usr/src/regroute, after the commands that install from it.

    All of it ends with the block, or with this process.
    """
    scratch = directory / "bed"
    scratch.mkdir()
    # pip's own settings too: where it finds packages here is nobody's business but this machine's.
    others = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment = {**others, **clean_environment()}
    name = f"{_PREFIX}{os.getpid()}"
    with _cgroups(name) as cgroups:

        def ready() -> bool:
            return (leader := _leader(cgroups)) is not None and _has_booted(leader)

        boot = [*_APART, "sh", _BOOT, scratch, tree, install, name, *cgroups]
        outer = daemon(
            *("systemd", [str(word) for word in boot], directory, ready, environment),
            seconds=_TIME_TO_INSTALL,
            # It ends its child, the first of its PID namespace, and the kernel all others in there.
            end=signal.SIGKILL,
        )
        with outer, ThreadPoolExecutor(max_workers=1) as network:
            leader = _leader(cgroups)
            assert leader is not None
            bed = Bed(leader, network)
            network.submit(bed.enter_network).result()
            yield bed


def _leader(cgroups: Sequence[Path]) -> int | None:
    """The systemd that is the first process of the machine with these cgroups."""
    scope = cgroups[0] / "payload/init.scope/cgroup.procs"
    try:
        first, *_ = scope.read_text().split()
    except (OSError, ValueError):
        return None
    return int(first)


def _has_booted(leader: int) -> bool:
    state = ["systemctl", "show", "--property=SystemState", "--value"]
    try:
        shown = run(["nsenter", "--target", str(leader), "--all", "--", *state])
    except ProgramError:
        return False
    # It is degraded where a unit has failed that is none of ours.
    return shown.strip() in ("running", "degraded")


def _hierarchies() -> list[Path]:
    """Where a machine needs a cgroup of its own; cgroup2 first.

    A systemd of today has this one hierarchy, or it keeps its processes in two.
    """
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    if (_CGROUPS / "unified/cgroup.controllers").exists():
        both = (_CGROUPS / "unified", _CGROUPS / "systemd")
        return [hierarchy for hierarchy in both if hierarchy.exists()]
    return []


@contextmanager
def _cgroups(name: str) -> Iterator[list[Path]]:
    """A cgroup of this name in each hierarchy, and none of a run that was killed before."""
    for hierarchy in _hierarchies():
        for cgroup in hierarchy.glob(f"{_PREFIX}*"):
            if not Path("/proc", cgroup.name.rpartition("-")[2]).exists():
                _remove(cgroup)
    cgroups = [hierarchy / name for hierarchy in _hierarchies()]
    try:
        for cgroup in cgroups:
            cgroup.mkdir()
        yield cgroups
    finally:
        for cgroup in cgroups:
            # The last processes may be on their way out.
            eventually(partial(_remove, cgroup))


def _remove(cgroup: Path) -> bool:
    """Remove a cgroup with all that are in it, if no process is; says whether it is gone."""
    for within in sorted(cgroup.glob("**"), reverse=True):
        with suppress(OSError):
            within.rmdir()
    return not cgroup.exists()
