"""The daemon under test, started as anyone starts it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .bed import Machine
from .processes import Daemon, daemon

TWISTD = Path(sys.executable).with_name("twistd")


@contextmanager
def regroute(config: str, machine: Machine, port: int, directory: Path) -> Iterator[Daemon]:
    """regroute on the machine with this configuration, until the block ends."""
    directory.mkdir()
    file = directory / "rules.yaml"
    file.write_text(config)
    command = [str(TWISTD), "-n", "--pidfile=", "regroute", "--config", str(file)]

    def ready() -> bool:
        return machine.answers(port)

    with daemon("regroute", machine.command(*command), directory, ready, os.environ) as running:
        yield running
