"""Real registries behind TLS, and what their access logs say about who fetched what."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..processes import clean_environment, daemon, eventually
from .authority import Authority
from .bed import Machine
from .images import Image

NEEDS = {"docker-registry": "docker-registry", "skopeo": "skopeo"}

_PORT = 443
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(rf'(\S+) - \S+ \[[^]]*\] "(\S+) (\S+) [^"]*" (\d+) \d+ {_QUOTED} {_QUOTED}')


@dataclass(frozen=True)
class Request:
    """One line of a registry's access log."""

    client: str
    method: str
    target: str
    status: int
    referer: str
    user_agent: str


@dataclass(frozen=True)
class Registry:
    """A running registry, known by its host name, and the log of its requests."""

    name: str
    machine: Machine
    authority: Authority
    access_log: Path

    def push(self, image: Image) -> None:
        """Put the image into this registry, byte for byte as it was built."""
        self.machine.run(
            *("skopeo", "--insecure-policy", "copy", "--preserve-digests"),
            f"oci:{image.layout}:{image.tag}",
            f"docker://{self.name}/{image.reference}",
            env=clean_environment(SSL_CERT_FILE=str(self.authority.certificate)),
        )
        # A request is logged after its answer. Whoever reads the log next must not find this one.
        last = ("PUT", f"/v2/{image.repository}/manifests/{image.tag}")
        eventually(lambda: last in [(entry.method, entry.target) for entry in self.requests()])

    def position(self) -> int:
        """Where the access log ends now; what `requests` takes to see only what came later."""
        return self.access_log.stat().st_size

    def requests(self, since: int = 0) -> list[Request]:
        with self.access_log.open("rb") as log:
            log.seek(since)
            text = log.read().decode()
        # The last line may still be in the middle of being written.
        whole, _, _ = text.rpartition("\n")
        return [_request(line) for line in whole.splitlines()]


@dataclass(frozen=True)
class Stock:
    """A registry and the one image that it holds."""

    registry: Registry
    image: Image


@contextmanager
def registry(
    name: str, machine: Machine, authority: Authority, directory: Path
) -> Iterator[Registry]:
    """An empty registry that anyone can pull from and push to, with its files in the directory."""
    directory.mkdir()
    settings = directory / "config.yml"
    settings.write_text(json.dumps(_settings(name, authority, directory), indent=2))
    command = machine.command("docker-registry", "serve", str(settings))
    # The access log is all that it prints on its standard output.
    with daemon(name, command, directory, lambda: machine.answers(_PORT)) as running:
        yield Registry(name, machine, authority, running.stdout)


def _settings(name: str, authority: Authority, directory: Path) -> dict[str, object]:
    issued = authority.issue(name)
    return {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}},
        "http": {
            "addr": f":{_PORT}",
            "secret": "one registry, so nobody shares it",
            "tls": {"certificate": str(issued.certificate), "key": str(issued.key)},
        },
    }


def _request(line: str) -> Request:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"not a line of an access log: {line!r}")
    client, method, target, status, referer, user_agent = found.groups()
    return Request(client, method, target, int(status), referer, user_agent)
