"""The front that clients pull from, and the daemon under test, started as anyone starts it."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..processes import Daemon, daemon
from .authority import Certificate
from .bed import Machine

TWISTD = Path(sys.executable).with_name("twistd")

# The names are what the access log calls them.
RULES = """\
rules:
  - name: office
    client: 192.168.0.1
    to: https://registry-1.docker.io
  - name: everyone
    to: https://k8s.gcr.io
"""


@dataclass(frozen=True)
class Front:
    """Where the front is reached: by TLS, or by plain HTTP, which clients must be told of."""

    name: str
    port: int
    secure: bool

    @property
    def host(self) -> str:
        """What image references begin with.

        docker and podman take a first part without a dot or a port for the name of somebody at
        Docker Hub, so it has a port where a full name does not need one."""
        if (self.port, self.secure) == (443, True) and "." in self.name:
            return self.name
        return f"{self.name}:{self.port}"

    @property
    def scheme(self) -> str:
        return "https" if self.secure else "http"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}"


@contextmanager
def regroute(
    fronts: Sequence[Front],
    certificate: Certificate,
    machine: Machine,
    directory: Path,
    rules: str = RULES,
) -> Iterator[Daemon]:
    """regroute on the machine, at each of these fronts, until the block ends.

    `rules` is the rest of its configuration; files in it are relative to the directory."""
    directory.mkdir()
    file = directory / "rules.yaml"
    # Fronts of several names may share a port.
    ports = {front.port: front for front in fronts}
    listeners = (_listener(front, certificate) for front in ports.values())
    file.write_text(f"listen:\n{''.join(listeners)}{rules}")
    command = [str(TWISTD), "-n", "--pidfile=", "regroute", "--config", str(file)]

    def ready() -> bool:
        return all(machine.answers(port) for port in ports)

    with daemon("regroute", machine.command(*command), directory, ready, os.environ) as running:
        yield running


def _listener(front: Front, certificate: Certificate) -> str:
    listener = f"  - port: {front.port}\n"
    if not front.secure:
        return listener
    return (
        f"{listener}"
        "    tls:\n"
        "      certificates:\n"
        f"        - certificate: {certificate.certificate}\n"
        f"          key: {certificate.key}\n"
    )
