"""What is asked of the servers, and under which settings."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import rulesets
from .rulesets import Rules

CONNECTIONS = 32
TARGET = "/v2/library/postgres/manifests/12-alpine"
MANIFEST = "/v2/private/postgres/manifests/12-alpine"
BLOB = f"/v2/private/postgres/blobs/sha256:{'0' * 64}"
"""What is under /v2/private/ is relayed; the registry sends the same bytes for every digest."""
SEALED_MANIFEST = MANIFEST.replace("private", "sealed")
SEALED_BLOB = BLOB.replace("private", "sealed")
"""What is under /v2/sealed/ is relayed from there over TLS."""


@dataclass(frozen=True)
class Workload:
    """Requests over 32 connections, each as soon as the one before it is answered.

    Those for relayed things have the head that docker sends.
    """

    name: str
    title: str
    tls: bool = False
    targets: int = 1
    """How many paths, in turn."""
    is_new: bool = False
    """A new connection for each request."""
    resumes: bool = False
    """The new connections resume a TLS session."""
    once: bool = False
    """Measured under the first setting alone."""
    target: str = TARGET
    relays: bool = False
    """Measured where servers relay too, and nowhere else."""
    is_blob: bool = False
    """Whole blobs of 1 GB, one after the other over one connection."""
    beside: int = 0
    """How many relayed manifests a second others ask for at the same time."""
    goal: float | None = None
    """At most how many times of nginx's CPU time regroute shall take."""


_relayed = partial(Workload, relays=True, target=MANIFEST, goal=2.0)
RELAY = _relayed("relay", "relayed manifest")
RELAY_PATHS = _relayed("relay-paths", "relayed manifest, 500 paths", targets=500)
BESIDE = Workload("beside", "redirect beside relays", relays=True, beside=1000)

WORKLOADS = (
    Workload("keepalive", "keep-alive"),
    Workload("paths", "keep-alive, 500 paths", targets=500),
    Workload("new", "new connection", is_new=True),
    Workload("tls", "TLS keep-alive", tls=True),
    Workload("tls-new", "TLS new connection", tls=True, is_new=True),
    Workload("tls-resumed", "TLS resumed", tls=True, is_new=True, resumes=True, once=True),
    RELAY,
    RELAY_PATHS,
    _relayed("relay-tls", "relayed manifest, TLS", tls=True),
    _relayed("relay-sealed", "relayed manifest, TLS twice", tls=True, target=SEALED_MANIFEST),
    _relayed("blob", "relayed blob", is_blob=True, target=BLOB),
    _relayed("blob-tls", "relayed blob, TLS", is_blob=True, target=BLOB, tls=True),
    _relayed("blob-sealed", "relayed blob, TLS twice", is_blob=True, target=SEALED_BLOB, tls=True),
    BESIDE,
)


@dataclass(frozen=True)
class Setting:
    """What the servers have to do beside answering."""

    name: str
    title: str
    rules: Callable[[], Rules]
    logs: bool
    relays: bool = False
    """Whether they have a registry to relay to."""


SETTINGS = (
    Setting("plain", "Two rules, access log off", rulesets.two, logs=False),
    Setting("log", "Two rules, access log on, and regroute's metrics", rulesets.two, logs=True),
    Setting("many", "300 rules and 16,000 prefixes, access log off", rulesets.many, logs=False),
    Setting("relay", "Relays, two rules, access log off", rulesets.two, logs=False, relays=True),
)
