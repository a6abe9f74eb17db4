"""Programs: where they are, running one to its end, and keeping one alive while it is needed."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Debian's own programs, wherever the caller's PATH points: a newer docker in /usr/local/bin would
# be another client than the one that the test names.
SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class ProgramError(Exception):
    """A program ended badly, early or too late; the message holds what it printed."""


@dataclass(frozen=True)
class Daemon:
    """A program that runs in the background and writes what it prints to two files."""

    name: str
    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    def log(self) -> str:
        """All that it has printed so far."""
        return "".join(file.read_text(errors="replace") for file in (self.stdout, self.stderr))


def missing(needs: Mapping[str, str]) -> str | None:
    """Which of these programs (with their packages) are not installed, in words for a skip."""
    absent = [
        f"{program} (package {package})"
        for program, package in needs.items()
        if shutil.which(program, path=SEARCH_PATH) is None
    ]
    if not absent:
        return None
    return f"not installed: {', '.join(absent)}; tests/provision.sh installs it as root"


def clean_environment(**more: str) -> dict[str, str]:
    """An environment without the caller's proxies, certificates and settings."""
    return {"PATH": SEARCH_PATH, "LANG": "C.UTF-8", **more}


def run(argv: Sequence[str], env: Mapping[str, str] | None = None, seconds: float = 60) -> str:
    """What the program printed on its standard output; ProgramError unless it ends with 0."""
    command = " ".join(argv)
    try:
        done = subprocess.run(
            argv,
            env=clean_environment() if env is None else env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        printed = _text(late.stdout) + _text(late.stderr)
        raise ProgramError(f"{command}\nstill ran after {seconds:g} s\n{printed}") from None
    if done.returncode != 0:
        printed = _text(done.stdout) + _text(done.stderr)
        raise ProgramError(f"{command}\nended with {done.returncode}\n{printed}")
    return _text(done.stdout)


def succeeds(argv: Sequence[str], env: Mapping[str, str] | None = None) -> bool:
    """Whether the program ends with 0."""
    try:
        run(argv, env)
    except ProgramError:
        return False
    return True


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """True as soon as the condition holds, False when it has not within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def daemon(
    name: str,
    argv: Sequence[str],
    directory: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    *,
    seconds: float = 40,
    end: signal.Signals = signal.SIGTERM,
) -> Iterator[Daemon]:
    """Run the program for as long as the block lasts, which begins when it is ready.

    It may take so many seconds to be ready, and ends by a signal. What it prints goes to the files
    NAME.out and NAME.err in the directory."""
    stdout, stderr = directory / f"{name}.out", directory / f"{name}.err"
    with stdout.open("ab") as printed, stderr.open("ab") as errors:
        process = subprocess.Popen(
            # The kernel ends the daemon if this process dies without a chance to do it.
            ["setpriv", "--pdeathsig", "KILL", *argv],
            env=clean_environment() if env is None else env,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=errors,
            # A ^C at the terminal must not end it before those who still talk to it.
            process_group=0,
        )
    running = Daemon(name, process, stdout, stderr)
    try:
        _await_start(running, ready, seconds)
        yield running
    finally:
        _end(process, end)


def _await_start(running: Daemon, ready: Callable[[], bool], seconds: float) -> None:
    def settled() -> bool:
        return running.process.poll() is not None or ready()

    in_time = eventually(settled, seconds)
    if running.process.returncode is not None:
        status = running.process.returncode
        raise ProgramError(f"{running.name} ended with {status}\n{running.log()}")
    if not in_time:
        raise ProgramError(f"{running.name} is not ready after {seconds} s\n{running.log()}")


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    process.send_signal(number)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace")
