"""What is asked of the servers, and under which settings."""

from collections.abc import Callable
from dataclasses import dataclass

from . import rulesets
from .rulesets import Rules

CONNECTIONS = 32
TARGET = "/v2/library/postgres/manifests/12-alpine"


@dataclass(frozen=True)
class Workload:
    """Requests over 32 connections, each as soon as the one before it is answered."""

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


WORKLOADS = (
    Workload("keepalive", "keep-alive"),
    Workload("paths", "keep-alive, 500 paths", targets=500),
    Workload("new", "new connection", is_new=True),
    Workload("tls", "TLS keep-alive", tls=True),
    Workload("tls-new", "TLS new connection", tls=True, is_new=True),
    Workload("tls-resumed", "TLS resumed", tls=True, is_new=True, resumes=True, once=True),
)


@dataclass(frozen=True)
class Setting:
    """What the servers have to do beside answering."""

    name: str
    title: str
    rules: Callable[[], Rules]
    logs: bool


SETTINGS = (
    Setting("plain", "Two rules, access log off", rulesets.two, logs=False),
    Setting("log", "Two rules, access log on, and regroute's metrics", rulesets.two, logs=True),
    Setting("many", "300 rules and 16,000 prefixes, access log off", rulesets.many, logs=False),
)
