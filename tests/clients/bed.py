"""The network: machines that are network namespaces on one switch, each with its view of names."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..processes import ProgramError, missing, run, succeeds

NAMESPACE_FILES = Path("/etc/netns")

# The Debian package of every program that the bed itself runs.
NEEDS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}

# `ip netns exec` mounts a new /sys and hides the cgroups, without which dockerd does not start;
# this sets up the same view of names and leaves /sys alone.
_ENTER_KEEPING_CGROUPS = """
namespace=$1; shift
for file in hosts resolv.conf nsswitch.conf; do
    mount --bind "/etc/netns/$namespace/$file" "/etc/$file" || exit
done
exec nsenter --net="/run/netns/$namespace" -- "$@"
"""


@dataclass(frozen=True)
class Machine:
    """A place on the network to run programs in: one address, and names from one hosts file."""

    namespace: str
    address: str

    def command(self, *argv: str) -> list[str]:
        """The command line that runs argv on this machine."""
        return ["ip", "netns", "exec", self.namespace, *argv]

    def command_with_cgroups(self, *argv: str) -> list[str]:
        """The same for a program that needs the cgroups, as a container engine does."""
        script = ["sh", "-c", _ENTER_KEEPING_CGROUPS, "enter", self.namespace]
        return ["unshare", "--mount", *script, *argv]

    def run(self, *argv: str, env: Mapping[str, str] | None = None) -> str:
        return run(self.command(*argv), env)

    def answers(self, port: int) -> bool:
        """Whether something on this machine accepts connections at the port."""
        connect = f"import socket; socket.create_connection(({self.address!r}, {port}), 5)"
        return succeeds(self.command(sys.executable, "-I", "-S", "-c", connect))


def impossible() -> str | None:
    """Why this computer cannot have a bed, in words for a skip; None when it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    if reason := missing(NEEDS):
        return reason
    try:
        with bed({"trial": "192.0.2.1"}, {}) as machines:
            machines["trial"].run("true")
    except (OSError, ProgramError) as refused:
        return f"network namespaces are refused here: {refused}"
    return None


@contextmanager
def bed(addresses: Mapping[str, str], names: Mapping[str, str]) -> Iterator[dict[str, Machine]]:
    """One machine for each address, by its label, on one switch; everything is gone afterwards.

    All of them know the names, a mapping from host names to labels, and no other name."""
    hosts = {host: addresses[label] for host, label in names.items()}
    # The process id keeps two runs at the same time apart.
    prefix = f"regroute-{os.getpid()}"
    with ExitStack() as stack:
        switch = stack.enter_context(_switch(f"{prefix}-switch"))
        yield {
            label: stack.enter_context(
                _machine(switch, Machine(f"{prefix}-{label}", address), label, hosts)
            )
            for label, address in addresses.items()
        }


@contextmanager
def _switch(namespace: str) -> Iterator[str]:
    with _namespace(namespace):
        _ip(namespace, "link", "add", "bridge", "type", "bridge")
        _ip(namespace, "link", "set", "bridge", "up")
        yield namespace


@contextmanager
def _machine(
    switch: str, machine: Machine, port: str, hosts: Mapping[str, str]
) -> Iterator[Machine]:
    with _names(machine.namespace, hosts), _namespace(machine.namespace):
        cable = ["link", "add", port, "type", "veth", "peer", "name", "eth0"]
        _ip(switch, *cable, "netns", machine.namespace)
        _ip(switch, "link", "set", port, "master", "bridge", "up")
        _ip(machine.namespace, "link", "set", "lo", "up")
        _ip(machine.namespace, "link", "set", "eth0", "up")
        _ip(machine.namespace, "address", "add", f"{machine.address}/32", "dev", "eth0")
        # Every address is a neighbour, so that machines of different networks need no router.
        _ip(machine.namespace, "route", "add", "default", "dev", "eth0")
        yield machine


@contextmanager
def _namespace(name: str) -> Iterator[None]:
    # A run that was killed may have left one of this name, when its process had the same id.
    _remove(name)
    try:
        run(["ip", "netns", "add", name])
        yield
    finally:
        _remove(name)


def _remove(namespace: str) -> None:
    if not Path("/run/netns", namespace).exists():
        return
    # What a daemon started and did not end itself is still in there, and would keep it alive.
    for process in run(["ip", "netns", "pids", namespace]).split():
        with suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)
    run(["ip", "netns", "delete", namespace])


@contextmanager
def _names(namespace: str, hosts: Mapping[str, str]) -> Iterator[None]:
    """The files that `ip netns exec` puts in the place of those in /etc."""
    directory = NAMESPACE_FILES / namespace
    directory.mkdir(parents=True, exist_ok=True)
    try:
        lines = ["127.0.0.1 localhost", *(f"{address} {host}" for host, address in hosts.items())]
        _write_lines(directory / "hosts", lines)
        _write_lines(directory / "nsswitch.conf", ["hosts: files"])
        # Nobody asks a name server; the file keeps this computer's own out of sight.
        _write_lines(directory / "resolv.conf", [])
        yield
    finally:
        shutil.rmtree(directory)


def _write_lines(file: Path, lines: Sequence[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines))


def _ip(namespace: str, *argv: str) -> None:
    run(["ip", "-n", namespace, *argv])
