"""A small question of our own to a registry or its realm, and its whole answer."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from twisted.internet.defer import Deferred

from ..answers import Fields
from ..registry import Registry


class Question(NamedTuple):
    """What is asked, and of whom.

    `registry` says by which terms, and `origin` where, for its realm may be elsewhere.
    """

    registry: Registry
    origin: str
    method: bytes
    target: bytes
    fields: Fields = ()
    body: bytes = b""


class Reply(NamedTuple):
    """A whole answer; names of fields are in lower case."""

    status: int
    fields: Fields
    body: bytes


class Unreachable(Exception):
    """There is no answer to be had: `status` is 502, 503 or 504."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


Ask: TypeAlias = Callable[[Question], Deferred[Reply]]
"""Asks; fails with `Unreachable`. No redirect is followed."""
