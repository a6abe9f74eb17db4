"""What ``pip install .`` puts where, and the one command that installs and serves by itself."""

import base64
import csv
import hashlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from ..ports import free_port
from ..tree import ROOT, clone

# What would lead a child to the environment of these tests instead of its own.
OURS = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in OURS}
SECONDS = 120


class Installed(NamedTuple):
    """A virtual environment, with regroute in it sooner or later."""

    bin: Path
    packages: Path

    @property
    def plugins(self) -> Path:
        return self.packages / "twisted" / "plugins"

    def record(self) -> list[list[str]]:
        """The rows of RECORD, which names every file that pip has installed; no bytecode."""
        (record,) = self.packages.glob("regroute-*.dist-info/RECORD")
        rows = csv.reader(record.read_text().splitlines())
        return [row for row in rows if not row[0].endswith(".pyc")]


def environment(path: Path) -> Installed:
    """A new virtual environment, as empty as can be: pip works on it from outside."""
    venv.create(path, symlinks=True)
    (packages,) = path.glob("lib/python*/site-packages")
    return Installed(path / "bin", packages)


def output(*argv: str | Path) -> str:
    """What a program prints, on both its outputs; it must succeed."""
    done = subprocess.run(
        argv,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{argv} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def pip(where: Installed, *arguments: str | Path) -> None:
    output(sys.executable, "-m", "pip", "-q", "--python", where.bin / "python", *arguments)


def commands(program: Path) -> list[str]:
    """The names that a program's --help lists as its commands."""
    listed = output(program, "--help").partition("Commands:")[2]
    return [line.split()[0] for line in listed.splitlines() if line.strip()]


def files_under(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if not file.is_dir())


def location(port: int) -> str | None:
    """Where the server on this port sends a request; None where nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/v2/pause/manifests/3.9")
        return connection.getresponse().getheader("Location")
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


@contextmanager
def serving(argv: Sequence[str | Path], port: int, log: Path, cwd: Path) -> Iterator[None]:
    """A program in the foreground that serves on this port, ended as by Ctrl-C."""
    with (
        log.open("wb") as printed,
        subprocess.Popen(
            argv,
            cwd=cwd,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + SECONDS
            while location(port) is None:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, f"nobody on {port}:\n{log.read_text()}"
                time.sleep(0.05)
            yield
            os.killpg(process.pid, signal.SIGINT)
            process.wait(SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert location(port) is None


def unprivileged(*argv: str | Path) -> list[str | Path]:
    """The command line of a process that file modes hold off, whoever runs these tests."""
    if os.geteuid() != 0:
        return [*argv]
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv here (package util-linux) to drop root's privileges with")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *argv]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, from a tree where a module has been deleted since an earlier build."""
    scratch = tmp_path_factory.mktemp("wheel")
    tree = clone(scratch / "tree")
    stale = tree / "build" / "lib" / "regroute" / "deleted.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    output(sys.executable, "-m", "pip", "-q", "wheel", "--no-deps", "--wheel-dir", scratch, tree)
    (built,) = scratch.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A fresh virtual environment with regroute and all that it depends on."""
    fresh = environment(tmp_path_factory.mktemp("installed"))
    pip(fresh, "install", wheel)
    return fresh


def test_nothing_is_installed_but_what_belongs_there(installed: Installed) -> None:
    """No tests, no ``twisted/__init__.py``, no module that was deleted since the last build."""
    files = {path for path, *_ in installed.record() if ".dist-info/" not in path}
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "regroute").rglob("*.py")}
    assert files == modules | {
        "regroute/py.typed",
        "twisted/plugins/regroute_plugin.py",
        "twisted/plugins/dropin.cache",
        "../../../bin/regroute",
    }


def test_record_tells_the_truth(installed: Installed) -> None:
    """Every file that RECORD names is there, with the size and the hash that it says."""
    for path, digest, size in installed.record():
        content = (installed.packages / path).read_bytes()
        if path.endswith(".dist-info/RECORD"):
            continue
        sha256 = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
        assert (path, digest, size) == (path, f"sha256={sha256.rstrip('=')}", str(len(content)))


def test_the_plugin_cache_is_newer_than_every_plugin(installed: Installed) -> None:
    """Else Twisted takes it for outdated and writes it anew."""
    written = (installed.plugins / "dropin.cache").stat().st_mtime_ns
    modified = {plugin.name: plugin.stat().st_mtime_ns for plugin in installed.plugins.glob("*.py")}
    assert "regroute_plugin.py" in modified
    assert [name for name, time_ns in modified.items() if time_ns >= written] == []


def test_twistd_lists_regroute(installed: Installed) -> None:
    assert "regroute" in commands(installed.bin / "twistd")


def test_the_regroute_command_is_there(installed: Installed) -> None:
    assert {"check", "explain", "hosts", "schema"} <= {*commands(installed.bin / "regroute")}


@pytest.mark.parametrize("cached", [True, False], ids=["as installed", "without the cache"])
def test_an_unprivileged_twistd_complains_only_without_the_plugin_cache(
    cached: bool, installed: Installed, tmp_path: Path
) -> None:
    """As installed, it starts without a word about the directory that it may not write to."""
    port = free_port()
    rules = tmp_path / "rules.yaml"
    rules.write_text(f"listen: [{{port: {port}}}]\nrules: [{{to: https://registry.example}}]\n")
    twistd = unprivileged(installed.bin / "twistd", "-n", "--pidfile=", "regroute", "-c", rules)

    cache, elsewhere = installed.plugins / "dropin.cache", tmp_path / "dropin.cache"
    if not cached:
        cache.rename(elsewhere)
    installed.plugins.chmod(0o555)
    try:
        with serving(twistd, port, log := tmp_path / "log", tmp_path):
            pass
    finally:
        installed.plugins.chmod(0o755)
        if not cached:
            elsewhere.rename(cache)
    assert ("plugin cache" in log.read_text()) is not cached, log.read_text()


def test_an_uninstallation_leaves_nothing_behind(wheel: Path, tmp_path: Path) -> None:
    bare = environment(tmp_path / "bare")
    before = files_under(tmp_path)
    pip(bare, "install", "--no-deps", wheel)
    assert (bare.plugins / "dropin.cache").exists()
    pip(bare, "uninstall", "--yes", "regroute")
    assert files_under(tmp_path) == before


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_run_serves_from_a_fresh_clone(tmp_path: Path) -> None:
    """It sets up all that it needs, and the next time it has nothing left to do."""
    port = free_port()
    tree = clone(tmp_path / "clone")
    rules = tree / "etc" / "rules.yaml"
    text = rules.read_text()
    assert "port: 10000" in text
    rules.write_text(text.replace("port: 10000", f"port: {port}"))
    command = ["make", "run", f"PYTHON={sys.executable}"]

    for log, installs in (tmp_path / "first", True), (tmp_path / "second", False):
        with serving(command, port, log, tree):
            assert location(port) == "https://k8s.gcr.io/v2/pause/manifests/3.9"
        assert ("installing" in log.read_text()) is installs, log.read_text()
