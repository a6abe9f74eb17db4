"""A daemon that relays, beside the registries of the tests' own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..ports import free_port
from .daemon import Daemon, eventually, launched

ELSEWHERE = "https://elsewhere.example"


def configuration(
    port: int,
    registries: Mapping[str, str],
    terms: str = "",
    more: str = "access_log: none",
    listen: str = "",
    challenge: str = "keep",
) -> str:
    """One that relays ``/v2/NAME/…`` and ``/NAME/…`` to each registry, by names and URLs, and
    redirects the rest.
    """
    named = "".join(
        f"  {name}: {{url: '{url}', mode: relay, challenge: {challenge}, {terms}}}\n"
        for name, url in registries.items()
    )
    rules = "".join(
        f"  - {{path: ['/v2/{name}/*', '/{name}/*'], "
        f"method: [GET, HEAD, POST, PUT, PATCH, DELETE], to: {name}}}\n"
        for name in registries
    )
    return (
        f"listen: [{{port: {port}}}{listen}]\n{more}\nregistries:\n{named}"
        f"rules:\n{rules}  - {{to: '{ELSEWHERE}'}}\n"
    )


@contextmanager
def relaying(
    directory: Path,
    registries: Mapping[str, str],
    terms: str = "",
    more: str = "access_log: none",
    listen: str = "",
    challenge: str = "keep",
) -> Iterator[Daemon]:
    """A daemon with such a configuration, in which nothing fails that should not."""
    port = free_port()
    text = configuration(port, registries, terms, more, listen, challenge)
    with launched(text, directory, port) as daemon:
        yield daemon
        assert "Traceback" not in daemon.log(), daemon.log()
        assert "Unhandled" not in daemon.log(), daemon.log()


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def comes_to_have(pid: int, most: int) -> bool:
    """Whether a process comes to have so few descriptors open."""
    return eventually(lambda: descriptors(pid) <= most)
