"""What large blobs cost a relay in memory: `python -m benchmarks.streams`, with nginx as registry.

As many clients as are wanted pull one blob at once, and check its digest; then a single one pulls a
blob that is longer than the machine's memory may be. `--help` says what can be varied.
"""

import os
import selectors
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from time import perf_counter

import click

from .processes import cpu_seconds, family, free_ports, resident, take_descriptors
from .tools import provide

MIB = 1 << 20
CHUNK = 1 << 18
PATIENCE = 10.0

NGINX = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log warn;
events {{ worker_connections 20000; }}
http {{
    access_log off; sendfile on; client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    server {{ listen 127.0.0.1:{port}; location / {{ root {directory}; }} }}
}}
"""
REGROUTE = """
listen: [{{port: {port}, host: 127.0.0.1}}]
access_log: none
registries: {{r: {{url: 'http://127.0.0.1:{there}', mode: relay, challenge: keep}}}}
rules: [{{to: r}}]
"""


class Pull:
    """One client's download."""

    def __init__(self, port: int, path: str) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n".encode()
        )
        self.digest = sha256()
        self.size = 0
        self._head: bytes | None = b""

    def read(self) -> bool:
        """Take what has come; whether there may be more."""
        data = self.connection.recv(CHUNK)
        if not data:
            self.connection.close()
            return False
        if self._head is not None:
            self._head += data
            head, separator, data = self._head.partition(b"\r\n\r\n")
            if not separator:
                return True
            if not head.startswith(b"HTTP/1.1 200 "):
                raise SystemExit(f"the answer is {head.decode()}")
            self._head = None
        self.digest.update(data)
        self.size += len(data)
        return True


@contextmanager
def _running(command: list[str], port: int, directory: Path) -> Iterator[int]:
    """A server, from when it listens; its process."""
    with (directory / "output").open("ab") as output:
        server = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output)
        try:
            deadline = perf_counter() + PATIENCE
            while not _listens(port):
                if server.poll() is not None or perf_counter() > deadline:
                    raise SystemExit((directory / "output").read_text())
            yield server.pid
        finally:
            server.terminate()
            server.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _pull(port: int, path: str, clients: int) -> tuple[list[Pull], int]:
    """Let so many clients pull at once; the fewest bytes that one had when the first was done."""
    pulls = [Pull(port, path) for _ in range(clients)]
    slowest = -1
    with selectors.DefaultSelector() as selector:
        for pull in pulls:
            selector.register(pull.connection, selectors.EVENT_READ, pull)
        while selector.get_map():
            for key, _ in selector.select():
                connection = key.fileobj
                if not key.data.read():
                    selector.unregister(connection)
                    if slowest < 0:
                        slowest = min(each.size for each in pulls)
    return pulls, slowest


def _measure(port: int, pid: int, path: str, clients: int, size: int, digest: str | None) -> None:
    pids = family(pid)
    for each in pids:
        # proc(5): the peak counts from here.
        Path(f"/proc/{each}/clear_refs").write_text("5")
    before, began, used = resident(pids), perf_counter(), cpu_seconds(pids)
    pulls, slowest = _pull(port, path, clients)
    seconds, used = perf_counter() - began, cpu_seconds(pids) - used
    grown = sum(map(_peak, pids)) - before
    wrong = [pull for pull in pulls if pull.size != size]
    if digest is not None:
        wrong += [pull for pull in pulls if pull.digest.hexdigest() != digest]
    total = clients * size / MIB
    click.echo(
        f"{clients} x {size / MIB:,.0f} MiB in {seconds:,.1f} s: {total / seconds:,.0f} MiB/s, "
        f"{used / total * 1024:.2f} s CPU a GiB; resident {before / MIB:.1f} MiB, "
        f"at the most {grown / MIB:+.1f} MiB ({grown / clients / 1024:,.0f} KiB a client); "
        f"{len(wrong)} wrong; the slowest had {slowest / size:.0%} when the first was done"
    )
    if wrong:
        raise SystemExit(1)


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


@click.command()
@click.option("--clients", default=200, show_default=True, help="How many pull at once.")
@click.option("--size", default=200, show_default=True, help="What they pull, in MiB.")
@click.option("--alone", default=10 * 1024, show_default=True, help="What one pulls, in MiB.")
def main(clients: int, size: int, alone: int) -> None:
    """Measure a relay's memory under large blobs."""
    take_descriptors()
    nginx = provide(["nginx"]).paths["nginx"]
    port, there = free_ports(2)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.chmod(0o755)
        digest = sha256()
        with (directory / "blob").open("wb") as blob:
            for _ in range(size):
                piece = os.urandom(MIB)
                digest.update(piece)
                blob.write(piece)
        with (directory / "sparse").open("wb") as sparse:
            sparse.truncate(alone * MIB)
        (directory / "nginx.conf").write_text(NGINX.format(directory=directory, port=there))
        (directory / "rules.yaml").write_text(REGROUTE.format(port=port, there=there))
        command = [str(nginx), "-c", str(directory / "nginx.conf")]
        stack.enter_context(_running(command, there, directory))
        twistd = str(Path(sys.executable).with_name("twistd"))
        rules = str(directory / "rules.yaml")
        command = [twistd, "-n", "--pidfile=", "regroute", "--config", rules]
        pid = stack.enter_context(_running(command, port, directory))
        _measure(port, pid, "/blob", 1, size * MIB, digest.hexdigest())
        _measure(port, pid, "/blob", clients, size * MIB, digest.hexdigest())
        _measure(port, pid, "/sparse", 1, alone * MIB, None)


if __name__ == "__main__":
    main()
