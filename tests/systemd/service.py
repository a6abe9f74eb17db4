"""The daemon as a service of the machine, and clients of it on the machine."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from typing import Any

from ..clients.authority import Authority
from ..processes import ProgramError, eventually
from ..tree import ROOT
from .bed import Bed
from .guide import commands

UNIT = "regroute.service"
SOCKETS = ("regroute.socket", "regroute-http.socket")
RULES = "/etc/regroute/rules.yaml"
NAME = "registry.example"
"""The name that docs/installation.md has for the reader's own."""
DEFAULT_RULES = (ROOT / "systemd/rules.yaml").read_text()
ELSEWHERE = "https://registry.k8s.io"
"""Where these rules send a client that they do not name."""

_LETSENCRYPT = f"/etc/letsencrypt/live/{NAME}"
_DROP_INS = f"/etc/systemd/system/{UNIT}.d"


@dataclass(frozen=True)
class Answer:
    """What a client reads of an answer."""

    status: int
    location: str | None


@dataclass(frozen=True)
class Entry:
    """One message of the journal."""

    priority: int
    text: str


class Service:
    """regroute.service, which the machine's systemd runs, with the files that it is made of."""

    def __init__(self, bed: Bed, authority: Authority) -> None:
        self.bed = bed
        self._authority = authority
        self.since = ""
        """journalctl's option for all that has been said since `install`."""

    @cached_property
    def trust(self) -> ssl.SSLContext:
        """What a client believes."""
        return ssl.create_default_context(cafile=str(self._authority.certificate))

    # What an administrator does.

    def install(self) -> None:
        """Put the units, the rules and the certificate where docs/installation.md has them."""
        self.bed.run("rm", "-rf", "/etc/regroute", "/etc/letsencrypt", _DROP_INS)
        self.renew()
        self.bed.shell(commands("## 2. The units"))
        self.bed.run("systemctl", "unmask", "--quiet", *SOCKETS, UNIT)
        self.bed.run("systemctl", "stop", *SOCKETS, UNIT)
        self.bed.run("systemctl", "reset-failed")
        self.bed.run("rm", "-rf", "/var/log/regroute", "/var/log/private/regroute")
        self.bed.run("journalctl", "--sync")
        last = json.loads(self.bed.run("journalctl", "--lines=1", "--output=json"))
        # By the time and no cursor: --after-cursor= skips the first entry that matches a filter.
        microseconds = int(last["__REALTIME_TIMESTAMP"]) + 1
        self.since = f"--since=@{microseconds // 1_000_000}.{microseconds % 1_000_000:06}"

    def renew(self) -> None:
        """Get a new certificate and key, as certbot does."""
        issued = self._authority.issue(NAME)
        self.bed.write(f"{_LETSENCRYPT}/fullchain.pem", issued.certificate.read_text())
        self.bed.write(f"{_LETSENCRYPT}/privkey.pem", issued.key.read_text())
        self.bed.path(f"{_LETSENCRYPT}/privkey.pem").chmod(0o600)

    def enable(self) -> None:
        """Start it as docs/installation.md says."""
        self.bed.run("sh", "-euc", commands("## 4. The rules"))

    def write_rules(self, text: str) -> None:
        """Give it other rules, of which nothing comes yet."""
        self.bed.write(RULES, text)

    def add_settings(self, text: str) -> None:
        """Change the unit as ``systemctl edit`` does; it takes force at the next start."""
        self.bed.write(f"{_DROP_INS}/ours.conf", text)
        self.systemctl("daemon-reload")

    def systemctl(self, *verb: str) -> None:
        """Run ``systemctl`` for the service; raises `ProgramError`, which has the journal."""
        try:
            self.bed.run("systemctl", *verb, *(() if verb[0] == "daemon-reload" else (UNIT,)))
        except ProgramError as failed:
            raise ProgramError(f"{failed}\n{self.log()}") from None

    # What systemd says.

    def show(self, name: str) -> str:
        """A property of the service."""
        return self.bed.run("systemctl", "show", UNIT, f"--property={name}", "--value").strip()

    def has(self, **properties: str) -> bool:
        """Whether properties come to be these."""
        return eventually(lambda: all(self.show(name) == properties[name] for name in properties))

    @property
    def main_pid(self) -> str:
        """The daemon's process id on the machine."""
        return self.show("MainPID")

    def processes(self) -> list[str]:
        """The process ids of all that runs for the service, the daemon's first."""
        try:
            listed = self.bed.run("cat", f"/sys/fs/cgroup/system.slice/{UNIT}/cgroup.procs")
        except ProgramError:
            return []
        return sorted(listed.split(), key=lambda pid: pid != self.main_pid)

    def status_of_process(self) -> dict[str, str]:
        """The daemon's /proc/PID/status."""
        text = self.bed.run("cat", f"/proc/{self.main_pid}/status")
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    def journal(self) -> list[Entry]:
        """What the daemon itself has said since the unit was installed."""
        self.bed.run("journalctl", "--sync")
        printed = self.bed.run(
            *("journalctl", "--output=json", self.since, f"_SYSTEMD_UNIT={UNIT}")
        )
        entries = [json.loads(line) for line in printed.splitlines()]
        return [Entry(int(entry["PRIORITY"]), _text(entry["MESSAGE"])) for entry in entries]

    def says(self, text: str, priority: int, times: int = 1) -> bool:
        """Whether it comes to say a text at this priority so often."""

        def said() -> list[Entry]:
            return [each for each in self.journal() if each.priority == priority]

        return eventually(lambda: sum(text in each.text for each in said()) >= times)

    def log(self) -> str:
        """All that is in the journal since then, of systemd too, for a reader of a failed test."""
        return self.bed.run("journalctl", "--no-pager", self.since)

    def access_log(self) -> list[dict[str, Any]]:
        """The lines of the access log, once there is one."""
        file = self.bed.path("/var/log/private/regroute/access.log")
        assert eventually(lambda: file.exists() and file.read_text().endswith("\n"))
        return [json.loads(line) for line in file.read_text().splitlines()]

    # What a client does.

    @contextmanager
    def client(self, port: int, host: str = "127.0.0.1") -> Iterator[HTTPConnection]:
        """A client with one connection: TLS on port 443, else plain."""
        with self.bed.connect(port, host) as connected:
            client = HTTPConnection(NAME)
            client.sock = connected
            if port == 443:
                client.sock = self.trust.wrap_socket(connected, server_hostname=NAME)
            try:
                yield client
            finally:
                client.close()

    def ask(self, path: str = "/v2/", port: int = 80, host: str = "127.0.0.1") -> Answer:
        """The answer to a GET over a new connection."""
        with self.client(port, host) as client:
            return ask(client, path)

    def sends_to(self, origin: str) -> bool:
        """Whether it comes to send clients there."""

        def sent() -> bool:
            try:
                return self.ask().location == f"{origin}/v2/"
            except (OSError, HTTPException):
                return False

        return eventually(sent)


def ask(client: HTTPConnection, path: str = "/v2/") -> Answer:
    """The answer to a GET over a client's connection; the body is read."""
    client.request("GET", path)
    answer = client.getresponse()
    answer.read()
    return Answer(answer.status, answer.getheader("Location"))


def rules_to(origin: str, workers: int = 1) -> str:
    """The rules that come with the units, but for where they send who is not named in them."""
    replaced = DEFAULT_RULES.replace(ELSEWHERE, origin)
    assert replaced != DEFAULT_RULES
    return f"{replaced}\nworkers: {workers}\n"


def _text(message: Any) -> str:
    # journald gives what it cannot print as a list of bytes.
    return message if isinstance(message, str) else bytes(message).decode(errors="replace")
