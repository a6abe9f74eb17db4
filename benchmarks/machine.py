"""What a run ran on."""

import os
import platform
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend

from .tools import ROOT, Tools


@dataclass(frozen=True)
class Machine:
    """The circumstances, and whose versions took part."""

    facts: Mapping[str, str]
    versions: Mapping[str, str]
    missing: Mapping[str, str]


def describe(tools: Tools, server_core: int, client_core: int) -> Machine:
    """The machine as it is now."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    facts = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": _commit(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{_system()}, Linux {platform.release()}, {platform.machine()}",
        "cores": f"server on {server_core}, client on {client_core}{_shared(server_core)}",
        "load before": load,
    }
    versions = {name: tools.version(name) for name in tools.paths}
    versions["regroute"] = ", ".join(
        [
            f"Python {platform.python_version()}",
            *(f"{name} {version(name)}" for name in ("Twisted", "pyOpenSSL", "cryptography")),
            f"its {backend.openssl_version_text()}",
            f"ssl's {ssl.OPENSSL_VERSION}",
        ]
    )
    return Machine(facts, versions, tools.missing)


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD") or "unknown"
    changed = git("status", "--porcelain", "--", "regroute", "twisted")
    return f"{commit}, with changes" if changed else commit


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return "unknown"


def _shared(core: int) -> str:
    """A warning where the first two cores are one, as far as the system knows."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    siblings = path.read_text().strip() if path.exists() else str(core)
    return "" if siblings == str(core) else f" (threads {siblings} share a core)"
