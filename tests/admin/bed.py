"""An admin listener in memory, and its clients."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from twisted.internet.defer import Deferred

from regroute.admin.site import Site
from regroute.admin.subject import Exposition, Subject
from regroute.life import Life
from regroute.outcome import Outcome, Past
from regroute.reactor import Reactor
from regroute.server import Process
from regroute.web import tree

from ..making import checked
from ..web.answers import Received
from ..web.memory import Client, Turns

RULES = """
networks: {office: 192.168.0.0/24}
registries: {hub: https://hub.example}
listen: [{port: 80}, {unix: r.sock, proxy_protocol: true}, {socket: http}]
rules:
  - {name: home, client: office, to: hub}
  - {name: docker, user_agent: "docker/*", to: https://docker.example}
  - {name: named, host: r.example, to: https://named.example}
  - {name: pushes, method: PUT, to: https://pushes.example}
  - {path: /v2/*, to: https://else.example}
"""


@dataclass
class Bed:
    """A daemon that is told of, and an admin listener that tells."""

    is_local: bool = False
    clock: Turns = field(default_factory=Turns)
    reloads: list[Deferred[Outcome]] = field(default_factory=list)
    last: Past | None = None
    known_open: frozenset[str] = frozenset()
    connections: int = 0
    workers: Sequence[Process] = ()
    accepted: list[str] = field(default_factory=list)
    exposition: Exposition | None = None

    def __post_init__(self) -> None:
        self.clock.advance(1_700_000_000)
        self.life = Life(self.clock.seconds())
        self.checked = checked(RULES)
        self.subject = Subject(
            file="rules.yaml",
            life=self.life,
            checked=lambda: self.checked,
            known_open=lambda: self.known_open,
            exposition=self.exposition or self._exposition,
            reload=self._reload,
            last_reload=lambda: self.last,
            connections=lambda: self.connections,
            workers=lambda: self.workers,
        )
        self.site = Site(self.subject, self.is_local, cast("Reactor", self.clock))

    def _exposition(self, accept: str) -> tuple[str, bytes]:
        self.accepted.append(accept)
        return "text/plain; version=0.0.4", b"a_total 1\n"

    def _reload(self) -> Deferred[Outcome]:
        self.reloads.append(Deferred())
        return self.reloads[-1]

    def client(self) -> Client:
        """A new connection."""
        client = Client(site=cast("tree.Site", self.site))
        client.clock = self.clock
        return client

    def ask(self, method: str, target: str, *fields: str, host: str = "127.0.0.1") -> Received:
        """The answer to one request on a connection of its own."""
        raw = f"{method} {target} HTTP/1.1\r\n"
        raw += "".join(f"{each}\r\n" for each in (f"Host: {host}", *fields))
        return self.client().send(raw.encode() + b"\r\n").answer(method.encode())

    def get(self, target: str, *fields: str, host: str = "127.0.0.1") -> Received:
        """The answer to a GET."""
        return self.ask("GET", target, *fields, host=host)
