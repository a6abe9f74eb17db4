"""What it takes to ask a registry or its realm something of our own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from twisted.internet.defer import Deferred

from ...registry import Registry

LONGEST_REPLY = 64 * 1024
"""How long a body may be that answers a question, in bytes; who asks need not read on."""

Fields: TypeAlias = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Question:
    """A request of our own on behalf of `registry`, whose terms say how long it may take and whom
    to trust. `origin` is the registry's, or its realm's. Fields may hold credentials.
    """

    registry: Registry
    origin: str
    method: bytes
    target: bytes
    fields: Fields = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Reply:
    """What comes back; names of fields are in lower case. Redirects are not followed.

    Its body may be a token.
    """

    status: int
    fields: Fields = ()
    body: bytes = field(default=b"", repr=False)

    def lines(self, name: bytes) -> list[bytes]:
        """The values of all field lines with this name."""
        return [value for key, value in self.fields if key == name]


class Unreachable(Exception):
    """Someone who has to be asked gives no answer that is of use.

    `status` is 502, 503 or 504; `message` is for the client, and names no credentials.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


Ask: TypeAlias = Callable[[Question], Deferred[Reply]]
"""Asks a question; fails with `Unreachable`. A Deferred that is cancelled asks no more."""
