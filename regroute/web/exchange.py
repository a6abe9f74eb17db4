"""What a connection and the one who answers a request over time have to say to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..answers import Fields, Refusal
    from ..logs.access_log import Again, Entry


class Exchange(Protocol):
    """Answers one request over time, with its body as it comes.

    It ends with `Asking.finish` or `Asking.break_off`, or because it is told to by `lose`.
    """

    wants_continue: bool
    """Whether a client that waits for it before it sends its body is told to go on (RFC 9110
    §10.1.1): not where the answer itself says so."""

    def begin(self) -> None:
        """The request's head has come."""

    def take(self, content: bytes) -> None:
        """Take a part of its body."""

    def end(self, trailers: Fields) -> None:
        """The body is whole, or there is none."""

    def pause(self) -> None:
        """The client does not take its answer."""

    def resume(self) -> None:
        """The client has taken all of it so far."""

    def refuse(self, refusal: Refusal) -> None:
        """The request cannot be read to its end: refuse it, or break off what has begun."""

    def lose(self) -> None:
        """The client has left."""


class Asking(Protocol):
    """The client's end of an exchange."""

    @property
    def may_persist(self) -> bool:
        """Whether the connection may go on after the answer."""

    @property
    def is_recording(self) -> bool:
        """Whether answers are recorded."""

    @property
    def is_secure(self) -> bool:
        """Whether the client speaks TLS with us."""

    def hold_body(self) -> None:
        """Give no more of the body on."""

    def resume_body(self) -> None:
        """Go on with the body."""

    def send(self, data: bytes) -> None:
        """Send a part of the answer."""

    def finish(self, *, persists: bool) -> None:
        """The answer is sent to its end."""

    def break_off(self) -> None:
        """The answer cannot be sent to its end."""

    def remember(self, entry: Entry) -> Again:
        """How to record an answer, this time and until the next reload."""
