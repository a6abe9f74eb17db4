"""What a container client is here: where it runs, what it can do, and how one is asked to."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...processes import clean_environment
from ..bed import Machine
from ..front import Front
from ..images import Image


@dataclass(frozen=True)
class Credentials:
    """Who somebody says they are."""

    user: str
    password: str

    def __str__(self) -> str:
        """As most of HTTP and some of the programs write it."""
        return f"{self.user}:{self.password}"


@dataclass(frozen=True)
class Place:
    """Where a client runs: its machine, the authority it trusts, and an empty directory."""

    machine: Machine
    authority: Path
    directory: Path

    def environment(self) -> dict[str, str]:
        """Nothing in it comes from this computer's own settings, so that those do not matter."""
        containers = self.directory / "containers.conf"
        # Locks in files are in podman's own directory, those in shared memory are everybody's.
        containers.write_text('[engine]\nlock_type = "file"\n')
        registries = self.directory / "registries.conf"
        registries.touch()
        logins = self.directory / "auth.json"
        if not logins.exists():
            logins.write_text("{}")
        return clean_environment(
            HOME=str(self.directory),
            TMPDIR=str(self.directory),
            SSL_CERT_FILE=str(self.authority),
            REQUESTS_CA_BUNDLE=str(self.authority),
            CONTAINERS_CONF=str(containers),
            CONTAINERS_REGISTRIES_CONF=str(registries),
            REGISTRY_AUTH_FILE=str(logins),
        )

    def run(self, *argv: str) -> str:
        """What the program printed that ran here to its end; ProgramError if that was a bad one."""
        return self.machine.run(*argv, env=self.environment())

    def unsigned(self) -> str:
        """A policy file for images that nobody has signed, as these are."""
        policy = self.directory / "policy.json"
        policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        return str(policy)


class Session(Protocol):
    """A client that has its storage and knows its credentials. What fails is a ProgramError."""

    def pull(self, name: str) -> str:
        """Pull `repository:tag` or `repository@digest`; the digest of the manifest it has got."""

    def push(self, image: Image, name: str) -> str:
        """Push the image as `repository:tag`; the digest of the manifest as it was pushed.

        Some clients push an image as they got it, others pack its layers anew."""

    def copy(self, name: str, new: str) -> str:
        """Push an image of the front to it by another name; the digest of what was pushed.

        Most clients remember where layers came from, and ask the registry to mount them."""


OpenSession = Callable[[Place, Front, Credentials | None], AbstractContextManager[Session]]


@dataclass(frozen=True)
class Program:
    """A client: what it needs (programs and their Debian packages), and how a session is opened.

    Clients that log in do so at its beginning; the others send credentials when they are asked.
    Only a front that speaks plain HTTP is used with a flag that allows it."""

    name: str
    needs: Mapping[str, str]
    version: Callable[[Place], str]
    logs_in: bool
    session: OpenSession
    distrusts: tuple[str, ...] = (
        "x509: certificate signed by unknown authority",
        '"{front.origin}/v2/',
    )
    """What it says of a front whose certificate it does not trust; the default is that of Go."""
    refers: bool = True
    """Whether it tells where it is redirected to who has redirected it, as all of Go does."""

    def pull(
        self, place: Place, front: Front, name: str, credentials: Credentials | None = None
    ) -> str:
        """Pull into storage that holds nothing, and forget it all; the manifest's digest."""
        with self.session(place, front, credentials) as opened:
            return opened.pull(name)

    def push(
        self, place: Place, front: Front, image: Image, name: str, credentials: Credentials | None
    ) -> str:
        """Push an image from storage that holds nothing else; the digest that it has there."""
        with self.session(place, front, credentials) as opened:
            return opened.push(image, name)


def if_plain(front: Front, *flags: str) -> tuple[str, ...]:
    """The flags, if they are needed."""
    return () if front.secure else flags
