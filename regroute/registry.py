"""A registry: where it is, and on what terms clients get at it."""

from dataclasses import dataclass, field
from enum import StrEnum

from .pattern import Pattern


class Mode(StrEnum):
    """How a client gets at a registry."""

    REDIRECT = "redirect"
    RELAY = "relay"
    AUTO = "auto"
    """A redirect where one is enough, or else a relay."""


class Visitors(StrEnum):
    """Whose credentials a relayed registry sees, where it is no account of ours."""

    CLIENT = "client"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Account:
    """regroute's own account at a registry."""

    username: str
    password: str = field(repr=False)


# Who asks anew at every hop, and so gets along with redirects to a registry that wants credentials.
FOLLOWERS = ("containerd/*",)


@dataclass(frozen=True)
class Terms:
    """How requests are relayed to a registry. Times are in seconds.

    One that `takes_logins` may see the passwords of clients that log in here.
    `authorities` are PEM certificates that its TLS is checked by, the system's if there are none.
    `redirected` are the user agents that `Mode.AUTO` redirects in any case.
    """

    mode: Mode = Mode.REDIRECT
    auth: Visitors | Account = Visitors.CLIENT
    takes_logins: bool = True
    keeps_challenge: bool = False
    redirects_blobs: bool = False
    forwarded: bool = False
    redirected: tuple[Pattern, ...] = ()
    connect: float = 5.0
    idle: float = 60.0
    connections: int = 1024
    authorities: str | None = None

    @property
    def challenges(self) -> bool:
        """Whether its clients get their tokens from us."""
        return self.mode is not Mode.REDIRECT and not self.keeps_challenge


@dataclass(frozen=True)
class Registry:
    """A destination: scheme, host and port in `origin`, and the prefix of its repositories."""

    name: str
    origin: str
    prefix: str = ""
    terms: Terms = Terms()

    def repository(self, asked: str) -> str:
        """The name that a repository has there, by the one that it has here.

        The prefix stands before it, unless it is under it already, as it is where a client follows
        the registry's own ``Link`` to the next page of tags.
        """
        if not self.prefix or asked.startswith(self.prefix + "/"):
            return asked
        return f"{self.prefix}/{asked}"
