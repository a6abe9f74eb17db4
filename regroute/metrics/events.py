"""What is counted besides requests: a name for each, and how to say that it has happened."""

from enum import Enum
from typing import Protocol


class Event(Enum):
    """Something that happens: what it counts towards, and as what."""

    CONNECTION = ("connections",)
    """A connection has begun; counted back when it ends."""

    HANDSHAKE_DONE = ("tls_handshakes", "success")
    HANDSHAKE_FAILED = ("tls_handshakes", "failure")
    """What the client says is no TLS, or none that is spoken here; or it refuses ours."""
    HANDSHAKE_LATE = ("tls_handshakes", "timeout")
    HANDSHAKE_LEFT = ("tls_handshakes", "closed")
    """The connection has ended in the middle of it, as that of a health check does."""

    PROXY_UNTRUSTED = ("proxy_refusals", "untrusted")
    PROXY_MALFORMED = ("proxy_refusals", "malformed")
    PROXY_LATE = ("proxy_refusals", "timeout")

    IDLE = ("limits_hit", "idle")
    BODY = ("limits_hit", "body")
    """A body that is too long to be read to its end."""
    UNREAD = ("limits_hit", "unread")
    """A client that does not take its answers."""
    LINGER = ("limits_hit", "linger")
    """A client that leaves its half open when we have closed ours."""
    NO_ROOM = ("limits_hit", "connections")
    """Accepting pauses: there are as many connections as there may be."""
    NO_DESCRIPTORS = ("limits_hit", "descriptors")
    """Accepting pauses: the system has no more descriptors or memory."""
    DRAIN = ("limits_hit", "drain")
    """A connection that is not done when the daemon stops."""

    UPSTREAM = ("upstream_connections",)
    """A connection to a registry has begun; counted back when it ends."""
    UPSTREAM_FAILED = ("upstream_failures", "failure")
    UPSTREAM_LATE = ("upstream_failures", "timeout")
    UPSTREAM_FULL = ("upstream_failures", "connections")
    """There are as many connections to a registry as there may be, and none gets free."""

    LINE_LOST = ("access_log_lines_lost",)


class Count(Protocol):
    """Says that something has happened, so many times."""

    def __call__(self, event: Event, times: int = 1, /) -> None: ...


def uncounted(event: Event, times: int = 1, /) -> None:
    """Where nobody counts."""
