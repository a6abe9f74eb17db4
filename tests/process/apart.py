"""The daemon as a process whose standard output and standard error go different ways."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .daemon import TWISTD, Daemon, eventually


@contextmanager
def apart(
    text: str,
    directory: Path,
    port: int,
    *,
    stdout: int | None = None,
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[Daemon]:
    """A daemon with a whole configuration, from when it answers on `port` until the block ends.

    Its log is standard error alone. Standard output is the descriptor `stdout`, or else the file
    that `printed` reads; `options` are twistd's.
    """
    file = directory / "rules.yaml"
    file.write_text(text)
    error = directory / "stderr"
    with error.open("wb") as written, (directory / "stdout").open("wb") as printed:
        process = subprocess.Popen(
            [TWISTD, "-n", "--pidfile=", *options, "regroute", "--config", file],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=printed if stdout is None else stdout,
            stderr=written,
            env={**os.environ, **(environ or {})},
        )
    daemon = Daemon(process, port, file, error)
    try:
        assert eventually(lambda: process.poll() is not None or daemon.answers()), daemon.log()
        assert process.poll() is None, daemon.log()
        yield daemon
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def printed(daemon: Daemon) -> list[dict[str, Any]]:
    """The access log on standard output so far; whatever else is printed there is an error."""
    return read_json(daemon.file.with_name("stdout"))


def read_json(file: Path) -> list[dict[str, Any]]:
    """All lines of an access log; an incomplete one is an error."""
    text = file.read_bytes().decode("ascii")
    assert text == "" or text.endswith("\n"), text[-200:]
    return [json.loads(line) for line in text.split("\n")[:-1]]


def paths(file: Path) -> list[str]:
    """The paths of an access log's lines; none while there is no such file."""
    return [line["path"] for line in read_json(file)] if file.exists() else []


def replace(daemon: Daemon, text: str) -> None:
    """Give the daemon another file, in one step as deployments do."""
    new = daemon.file.with_suffix(".new")
    new.write_text(text)
    new.rename(daemon.file)
